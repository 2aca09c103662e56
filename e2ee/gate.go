package e2ee

// State is where the gate of an audience stands (Sotto protocol §11). The zero
// value, StateFind, lets nothing leave.
//
//	own connect or move                  keys in use
//	   any ---------> Find ---> Held ----------------> Priv, Typed
//	                   |  |       |  10 s, or an alarm    |
//	                   |  |       +-------> Asked <-------+ alarm
//	                   |  +--> Alone          |
//	                   |                      | the user: clear
//	                   +------> Clear <-------+
//	                     3 s; prefer, own arrival, nothing remembered
//
// What the server does leads to Held, Asked, Alone or Find, or changes nothing;
// never to Clear.
type State uint8

const (
	StateFind  State = iota // finding out who is here, 3 s at most
	StateOff                // policy off: everything leaves as the client sends it
	StateHeld               // somebody hears, keys are on the way
	StateAsked              // a question stands open, see Gate.Question
	StateAlone              // nobody else hears
	StateTyped              // ciphertext under the typed secret
	StateClear              // not protected, by the rules of prefer or by the user
	StatePriv               // ciphertext in a group of this audience
)

var stateNames = [...]string{
	StateFind: "Find", StateOff: "Off", StateHeld: "Held", StateAsked: "Asked",
	StateAlone: "Alone", StateTyped: "Typed", StateClear: "Clear", StatePriv: "Priv",
}

// String returns the name of the state as in the table of §11.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
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

// Memory is what the gate keeps in mind about its audience since the user's last
// own arrival, besides its state. The zero value is MemoryBound, so a gate that
// was never told of an own arrival does not go clear by itself.
type Memory uint8

const (
	// MemoryBound: nothing goes to StateClear but by the user. The server had a
	// hand in where we are, or a question was asked, or the user wanted keys.
	MemoryBound Memory = iota
	// MemoryFree: the user came here, and nothing that binds has happened since.
	MemoryFree
	// MemoryKept: keys were in use. As MemoryBound, and the user's clear needs two
	// acts in every state, not in StatePriv and StateTyped alone.
	MemoryKept
)

var memoryNames = [...]string{MemoryBound: "bound", MemoryFree: "free", MemoryKept: "kept"}

// String returns the word for m.
func (m Memory) String() string {
	if int(m) < len(memoryNames) {
		return memoryNames[m]
	}
	return "unknown"
}

// Gate is the gate of one audience. It knows no time and nobody's name: its owner
// says what happened. The zero value is a gate in StateFind. It is a value, can be
// compared, and is not safe for concurrent use.
type Gate struct {
	state    State
	question Question // not QuestionNone only in StateAsked
	memory   Memory
	act      bool // the first of two acts for clear has just been done
}

// NewGate returns the gate with which a run begins, and that after a change to or
// from PolicyOff: StateOff under PolicyOff, else StateFind.
func NewGate(p Policy) Gate {
	if p == PolicyOff {
		return Gate{state: StateOff}
	}
	return Gate{}
}

// State returns where the gate stands.
func (g Gate) State() State { return g.state }

// Question returns the question that stands open: QuestionNone but in StateAsked.
func (g Gate) Question() Question { return g.question }

// Memory returns what the gate keeps in mind.
func (g Gate) Memory() Memory { return g.memory }

// Confirming says that EventUserClear would be the second act of two.
func (g Gate) Confirming() bool { return g.act }

// Leave returns what may leave in the gate's state. Everything that sends asks
// this one value, for each packet, before anything else.
func (g Gate) Leave() Leave {
	switch g.state {
	case StateOff, StateClear:
		return LeaveClear
	case StateTyped, StatePriv:
		return LeaveCiphertext
	case StateFind, StateHeld, StateAsked, StateAlone:
		return LeaveNothing
	}
	return LeaveNothing
}
