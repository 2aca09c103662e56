package e2ee_test

// Beginnings of the sequences of mustNot, from a new gate under prefer.
var (
	arrived = []vevent{{"connect", []string{"groups", "ownarrival"}}}
	priv    = append(arrived[:1:1], vevent{"findends", []string{"groups"}}, vevent{"groupready", []string{"groups"}})
	typed   = []vevent{{"connect", []string{"ownarrival"}}, {"ready", []string{"met"}}}
	moved   = append(arrived[:1:1], vevent{"moved", []string{"groups"}})
	alarmed = append(priv[:3:3], vevent{"identity", []string{"groups"}})
)

// none is that no fact is so.
var none = []string{}

// open are the facts under which the end of Find goes clear.
var open = []string{"groups", "ownarrival"}

// mustNot are the ways on which a server, a bug or a slip of the hand would open
// the gate.
var mustNot = []vnever{
	{"a gate nobody told of an own arrival does not go clear by itself", "Find", []vevent{},
		[]vevent{{"findwithout", open}, {"late", open}, {"wait", open}, {"findwithout", open}}, "clear"},
	{"the server moves us to people without Sotto", "Held", moved,
		[]vevent{{"findwithout", open}, {"withoutleft", open}, {"findwithout", open}, {"late", open}}, "clear"},
	{"the server empties the channel and fills it with people without Sotto", "Priv", priv,
		[]vevent{{"membersleft", open}, {"nobody", open}, {"enters", open}, {"findwithout", open}}, "clear"},
	{"the group is lost and only people without Sotto are left", "Priv", priv,
		[]vevent{{"grouplost", open}, {"findwithout", open}, {"nobody", open}, {"enters", open}, {"findwithout", open}}, "clear"},
	{"the connection is cut, and people without Sotto are there afterwards", "Priv", priv,
		[]vevent{{"lost", open}, {"connect", []string{"groups", "moving"}}, {"connect", []string{"groups"}}, {"findwithout", open}}, "clear"},
	{"an own move that the server does not carry out", "Priv", priv,
		[]vevent{{"connect", []string{"groups", "ownarrival", "moving"}}, {"findwithout", open}, {"nobody", open}, {"peer", open}, {"findwithout", open}}, "clear"},
	{"one act of the user in a protected group", "Priv", priv,
		[]vevent{{"userclear", []string{"groups"}}, {"peer", []string{"groups"}}, {"userclear", []string{"groups"}}}, "clear"},
	{"the server makes the group fail between the two acts", "Priv", priv,
		[]vevent{{"userclear", []string{"groups"}}, {"grouplost", []string{"groups"}}, {"userclear", []string{"groups"}}}, "clear"},
	{"one act of the user after the server made the group fail", "Priv", priv,
		[]vevent{{"grouplost", []string{"groups"}}, {"userclear", []string{"groups"}}}, "clear"},
	{"two acts under require", "Priv", priv,
		[]vevent{{"userclear", []string{"groups", "require"}}, {"userclear", []string{"groups", "require"}}}, "clear"},
	{"people without Sotto under require", "Find", arrived,
		[]vevent{{"findwithout", append(open[:2:2], "require")}, {"userclear", append(open[:2:2], "require")}, {"late", append(open[:2:2], "require")}}, "clear"},
	{"an audience remembered as protected", "Find", arrived,
		[]vevent{{"findwithout", append(open[:2:2], "sticky")}, {"withoutleft", open}, {"findwithout", open}}, "clear"},
	{"somebody without Sotto enters before Find has ended", "Find", arrived,
		[]vevent{{"enters", open}, {"enters", open}}, "clear"},
	{"the user wanted protection, and people without Sotto are there", "Find", arrived,
		[]vevent{{"userprotect", open}, {"findwithout", open}, {"late", open}}, "clear"},
	{"the policy changed to require while clear", "Clear", append(arrived[:1:1], vevent{"findwithout", open}),
		[]vevent{{"policy", append(open[:2:2], "require")}, {"findwithout", open[:1]}}, "clear"},
	{"a changed identity, and the group is ready", "Asked", alarmed,
		[]vevent{{"groupready", []string{"groups"}}, {"nobody", []string{"groups"}}, {"wait", []string{"groups"}}, {"lost", none}, {"groupready", []string{"groups"}}}, "ciphertext"},
	{"a typed secret alone, and the end of Find", "Find", []vevent{{"connect", []string{"ownarrival"}}},
		[]vevent{{"findends", []string{"ownarrival"}}, {"findwithout", []string{"ownarrival"}}, {"late", none}, {"userclear", none}}, "clear"},
	{"one act of the user with a typed secret", "Typed", typed,
		[]vevent{{"userclear", none}, {"moved", none}, {"userclear", none}}, "clear"},
}
