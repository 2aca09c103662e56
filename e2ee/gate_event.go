package e2ee

// Event is a row of the table of Sotto protocol §11, or an act of the user in it.
// An event is said when it happens, once: each event but a second EventUserClear
// undoes the first of the two acts that clear needs.
type Event uint8

const (
	// EventConnect: connect, or a move that is the user's own act. Said when the
	// request is under way (Facts.Moving) and again on arrival. Without
	// Facts.OwnArrival it is a reconnect, which counts as caused by the server.
	EventConnect Event = iota
	// EventMoved: a change of the audience made by the server: move, rename, link,
	// unlink, ACL, listener.
	EventMoved
	// EventPeer: somebody new hears, or a Presence or Hello came.
	EventPeer
	// EventNobody: nobody else hears.
	EventNobody
	// EventReady: the condition of the typed secret alone (§10.3) holds.
	EventReady
	// EventFindEnds: 3 s passed or all have answered; others hear, and all of them
	// have Sotto. With a typed secret alone: others hear.
	EventFindEnds
	// EventLate: held for 10 s; no group came of it.
	EventLate
	// EventWait: the user answers the question: wait.
	EventWait
	// EventLost: the connection is gone.
	EventLost
	// EventBeacon: a valid Beacon of another group of this audience came.
	EventBeacon
	// EventFindWithout: as EventFindEnds, with some or all without Sotto.
	EventFindWithout
	// EventGroupReady: the own leaf is in a group of this audience, in its current
	// epoch, the own Beacon is sent, and no Remove is overdue in it.
	EventGroupReady
	// EventEnters: a person without Sotto enters.
	EventEnters
	// EventMembersLeft: the last other member left, and others stay.
	EventMembersLeft
	// EventWithoutLeft: the last person without Sotto left.
	EventWithoutLeft
	// EventGroupLost: removed, fork without the own branch, carrier failed, or
	// something that cannot be processed.
	EventGroupLost
	// EventRemoveOverdue: a Remove has not taken effect for 10 s.
	EventRemoveOverdue
	// EventIdentity: a known person with a new or changed identity, or the user
	// said "different words".
	EventIdentity
	// EventCertificate: a leaf states another certificate of the server.
	EventCertificate
	// EventWorse: suite, regime or server version are worse than remembered.
	EventWorse
	// EventUserClear: the user wants to speak in clear.
	EventUserClear
	// EventUserProtect: the user wants protection, or goes on in spite of an alarm.
	EventUserProtect
	// EventUserSecret: the user typed a secret.
	EventUserSecret
	// EventUserLeave: the user answers the question: leave.
	EventUserLeave
	// EventClearOver: 30 min of clear are over, or the people present changed.
	EventClearOver
	// EventPolicy: the user changed between prefer and require. To and from off is
	// a new gate.
	EventPolicy
)

var eventNames = [...]string{
	EventConnect: "connect", EventMoved: "moved", EventPeer: "peer", EventNobody: "nobody",
	EventReady: "ready", EventFindEnds: "findends", EventLate: "late", EventWait: "wait",
	EventLost: "lost", EventBeacon: "beacon", EventFindWithout: "findwithout",
	EventGroupReady: "groupready", EventEnters: "enters", EventMembersLeft: "membersleft",
	EventWithoutLeft: "withoutleft", EventGroupLost: "grouplost",
	EventRemoveOverdue: "removeoverdue", EventIdentity: "identity",
	EventCertificate: "certificate", EventWorse: "worse", EventUserClear: "userclear",
	EventUserProtect: "userprotect", EventUserSecret: "usersecret",
	EventUserLeave: "userleave", EventClearOver: "clearover", EventPolicy: "policy",
}

// String returns the word for ev, that of the test vectors.
func (ev Event) String() string {
	if int(ev) < len(eventNames) {
		return eventNames[ev]
	}
	return "unknown event"
}

// Facts are what a cell of the table looks at besides state and event. The zero
// value is that of a typed secret alone under prefer, with nobody ready.
type Facts struct {
	// Met: the people named, or with none named one holder at least, hear and
	// have proved to hold the secret.
	Met bool
	// Moving: the person's own move is under way; who will hear is not known.
	Moving bool
	// Require: the policy is PolicyRequire.
	Require bool
	// Groups: the audience is protected by MLS groups. Without it a typed secret
	// alone protects it (§10.3): the gate does not enter StatePriv, nor StateClear
	// but by two acts of the user.
	Groups bool
	// Sticky: the audience or somebody present is remembered as protected.
	Sticky bool
	// OwnArrival: that we are here, on this connection, is the user's own act, and
	// nothing the server caused has happened since. With EventConnect: this connect
	// or move is the user's own act.
	OwnArrival bool
	// Closure: the anchor of the group is in the closure of the own channel.
	Closure bool
	// AllSotto: everybody who hears has Sotto.
	AllSotto bool
}
