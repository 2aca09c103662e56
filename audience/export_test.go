package audience

// Sizes counts what a machine keeps.
func (m *Machine) Sizes() map[string]int {
	s := map[string]int{
		"outputs": len(m.queue), "offers": len(m.offers), "groups": len(m.groups), "tokens": len(m.tokens), "openings": len(m.direct),
		"bodies": len(m.bodies.list), "body bytes": m.bodies.size, "statements": len(m.known), "seqs": len(m.seqs),
	}
	most := func(what string, n int) { s[what] = max(s[what], n) }
	for _, g := range m.groups {
		most("waiting", len(g.waiting))
		most("answers", len(g.answers))
		most("log", len(g.log))
		most("log bytes", g.logSize)
		most("digests", len(g.digests))
		most("former", len(g.former))
		most("branches", len(g.heal.views))
		most("reports", len(g.reports))
		for _, r := range g.reports {
			most("reporters", len(r))
		}
	}
	for _, p := range m.places {
		most("foreign", len(p.foreign))
	}
	return s
}
