package e2ee

// State is where the gate stands (Sotto protocol §11). The zero value, Find, lets
// nothing leave.
//
//	connect, own move                     condition holds
//	  any ----------> Find -----------------------------------> Typed
//	                   | nobody else hears                        ^
//	                   +------------------> Alone ----------------+
//	                   | others, 3 s          | somebody comes: Find
//	                   +------------------> Held -----------------+
//	                                          | 10 s, require     |
//	                                          +-----> Asked ------+
//	moved by the server: Find, Held, Alone, Typed -> Held
type State uint8

const (
	StateFind  State = iota // finding out who is here, 3 s at most
	StateOff                // policy off: everything leaves as the client sends it
	StateHeld               // somebody hears, the condition does not hold
	StateAsked              // held, and the person was asked to wait or to leave
	StateAlone              // nobody else hears
	StateTyped              // ciphertext under the typed secret
)

// String returns the name of the state as in the table of §11.
func (s State) String() string {
	switch s {
	case StateFind:
		return "Find"
	case StateOff:
		return "Off"
	case StateHeld:
		return "Held"
	case StateAsked:
		return "Asked"
	case StateAlone:
		return "Alone"
	case StateTyped:
		return "Typed"
	}
	return "unknown state"
}

// Leave says what may leave towards the server. The zero value is nothing.
type Leave uint8

const (
	LeaveNothing    Leave = iota // text is refused with a reason
	LeaveClear                   // as the client sends it
	LeaveCiphertext              // what SealVoice and SealText made, nothing else
)

// String returns the word for l.
func (l Leave) String() string {
	switch l {
	case LeaveNothing:
		return "nothing"
	case LeaveClear:
		return "clear"
	case LeaveCiphertext:
		return "ciphertext"
	}
	return "unknown"
}

// Policy is what the person wants of an audience. The zero value is PolicyPrefer.
type Policy uint8

const (
	// PolicyPrefer protects where it can. With a typed secret nothing leaves in
	// clear under it either.
	PolicyPrefer Policy = iota
	// PolicyRequire never lets anything leave in clear.
	PolicyRequire
	// PolicyOff protects nothing.
	PolicyOff
)

// Event is a row of the table of §11, as far as a typed secret can meet it.
type Event uint8

const (
	EventConnect  Event = iota // connect, or a move that is the person's own act
	EventMoved                 // a move made by the server
	EventPeer                  // somebody new hears, not known to hold the secret
	EventNobody                // nobody else hears
	EventReady                 // the condition holds: holders hear
	EventFindEnds              // 3 s passed or all have answered, and others hear
	EventLate                  // held for 10 s
	EventWait                  // the person answers the question: wait
	EventLost                  // the connection is gone
)

// Facts are what a cell of the table looks at besides state and event.
type Facts struct {
	// Met: the people named, or with none named one holder at least, hear and
	// have proved to hold the secret.
	Met bool
	// Moving: the person's own move is under way; who will hear is not known.
	Moving bool
	// Require: the policy is PolicyRequire.
	Require bool
}

// Gate is the gate of one audience. It knows no time and nobody's name: its owner
// says what happened. The zero value is a gate in StateFind.
type Gate struct{ state State }

// NewGate returns the gate with which a run begins: StateOff under PolicyOff,
// else StateFind.
func NewGate(p Policy) Gate {
	if p == PolicyOff {
		return Gate{StateOff}
	}
	return Gate{StateFind}
}

// State returns where the gate stands.
func (g Gate) State() State { return g.state }

// Leave returns what may leave in the gate's state. Everything that sends asks
// this one value, for each packet, before anything else.
func (g Gate) Leave() Leave {
	switch g.state {
	case StateOff:
		return LeaveClear
	case StateTyped:
		return LeaveCiphertext
	case StateFind, StateHeld, StateAsked, StateAlone:
		return LeaveNothing
	}
	return LeaveNothing
}

// Step moves the gate by one event. It reads as the table of §11 reads, row by
// row; a state that a row does not name stays. Off stays Off in each.
func (g *Gate) Step(ev Event, f Facts) {
	if g.state == StateOff {
		return
	}
	switch ev {
	case EventConnect, EventLost:
		g.state = StateFind

	case EventMoved:
		// A question that stands open stands open in the new place.
		if g.state != StateAsked {
			g.state = StateHeld
		}

	case EventPeer:
		// In Typed they hear nothing; in the others they are waited for already.
		if g.state == StateAlone {
			g.state = StateFind
		}

	case EventNobody:
		// Typed stays: who comes next without the secret hears nothing.
		if g.state != StateTyped && !f.Moving {
			g.state = StateAlone
		}

	case EventReady:
		// §10.3: "Find, Held and Alone go to Typed as soon as the condition
		// holds". So does Asked, since with a secret the question is always
		// "wait or leave", never "go clear".
		if f.Met && !f.Moving {
			g.state = StateTyped
		}

	case EventFindEnds:
		if g.state == StateFind && !f.Moving {
			g.state = StateHeld
		}

	case EventLate:
		if g.state == StateHeld && f.Require {
			g.state = StateAsked
		}

	case EventWait:
		if g.state == StateAsked {
			g.state = StateHeld
		}
	}
}
