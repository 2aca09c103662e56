package e2ee

import "github.com/sotto-voip/sotto/envelope"

// Output is something to do or to tell. The types below are all there are.
type Output interface{ output() }

// SendObject asks the carrier to bring an object to these sessions. It is key
// traffic, never content, and leaves in any state of the gate.
type SendObject struct {
	To     []uint32 // ascending, never empty
	Object envelope.Object
	Label  string // what it is, for a log
}

// SendVoice asks for a voice packet of 20 ms to the own channel, without
// terminator, that holds no sound: where servers pass nothing but voice it
// announces the own stream. It is key traffic and leaves in any state of the gate.
type SendVoice struct {
	FrameNumber uint64 // of the Mumble packet; authenticated, so keep it
	Body        []byte // vk and what follows it
}

// GateChanged says that the gate moved, and what may leave now.
type GateChanged struct {
	From, To State
	Leave    Leave
	Reason   string // for people, a few words
}

// Holder says that a session proved to hold the secret (Holds), or that one that
// had is gone.
type Holder struct {
	Session uint32
	Name    string
	Holds   bool
}

// OtherSecret says, once per session, that a session uses a typed secret that is
// not ours, or sees another server certificate.
type OtherSecret struct {
	Session uint32
	Name    string
}

// TextReceived is a text that opened. Its author is a holder of the secret; which
// one is the server's word. The HTML is as the author wrote it and not yet
// filtered.
type TextReceived struct {
	From uint32
	Text Text
}

// Codes of Notice.
const (
	NoticeHeld  = "held"  // nobody here holds the secret
	NoticeMoved = "moved" // the server moved us to where nobody holds it
	NoticeAsked = "asked" // the question: wait or leave
	NoticeClock = "clock" // a peer's clock is too far from ours
)

// Notice is one plain sentence for the person. It may hold names as the server
// gives them.
type Notice struct {
	Code string
	Text string
}

func (SendObject) output()   {}
func (SendVoice) output()    {}
func (GateChanged) output()  {}
func (Holder) output()       {}
func (OtherSecret) output()  {}
func (TextReceived) output() {}
func (Notice) output()       {}
