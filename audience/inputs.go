package audience

import (
	"github.com/sotto-voip/sotto/envelope"
)

// Input is something that happened. The types below are all there are; nil says
// that time passed.
type Input interface{ input() }

// Connected begins a connection as Session. It forgets everything of an earlier
// one: no secret of a group outlives the connection it was made in.
type Connected struct{ Session uint32 }

// Disconnected ends the connection and erases every group.
type Disconnected struct{}

// Regime is what the carrier found out about the server (Sotto protocol §1.4).
// Nothing is sent before it is known.
type Regime uint8

// The regimes.
const (
	RegimeUnknown  Regime = iota
	RegimeEcho            // E: ordered plugin messages, bulk beside them
	RegimeTextEcho        // T: ordered texts
	RegimeNoEcho          // N: no order
)

// World says who is where, whole, after Connected and after each change.
type World struct {
	// Places are the audiences of channels that we belong to. The first is that of
	// our own channel; the others are those that we only listen to.
	Places []Place
	// People are all sessions on the server but our own, ascending.
	People []uint32
}

// Place is one channel audience as the server shows it.
type Place struct {
	Channel uint32   // that we sit in, or listen to
	Closure []uint32 // the channels that hear each other: Channel and its links; ascending
	Role    envelope.Role
	Hearers []Hearer // all others in it, ascending by session
}

// Hearer is somebody else in a Place.
type Hearer struct {
	Session uint32
	Role    envelope.Role // RoleListener: hears, and does not speak here
}

// Join says whether we want to be a member of the group of our channel, or of
// those we listen to. The gate decides (Sotto protocol §11): who goes clear leaves
// the group.
type Join struct{ Want bool }

// Received is an object that the carrier delivered, in its order.
type Received struct {
	From   uint32 // session that the server names
	Object envelope.Object
	Bulk   bool // came beside the order (regime E: as text)
}

// HeardPresence says that a session announced itself in voice (Sotto protocol
// §1.5), where servers pass nothing else to strangers.
type HeardPresence struct{ From uint32 }

// Proof says that a frame of a leaf opened under a group's epoch, which proves
// that its sender has the same view of it.
type Proof struct {
	Group envelope.GroupID
	Epoch uint64
	Leaf  uint32
}

// Delivered says that the carrier is done with a Send. In regimes with an echo the
// server put what is not Bulk at this point of the order; Ordered says the same of
// something Bulk that the carrier had to send that way.
type Delivered struct {
	Token   uint64
	Ordered bool
}

// Failed says that the carrier gave a Send up.
type Failed struct{ Token uint64 }

// OpenDirect asks for a group of exactly us and these sessions, for a private
// message or a whisper. DirectReady or DirectFailed answers, with the same Token.
type OpenDirect struct {
	Token    uint64
	Sessions []uint32
}

// UseDirect says that a direct group was spoken or written in; it is forgotten
// after ten minutes without.
type UseDirect struct{ Group envelope.GroupID }

// SetLocked closes our channel's group to everybody who is not in it, or opens it.
type SetLocked struct{ Locked bool }

// Renew makes our own keys in all groups due for renewal now, for they may have been
// seen: the computer was asleep, and out of our hands. The pause after another
// Commit with path is kept.
type Renew struct{}

func (Connected) input()     {}
func (Disconnected) input()  {}
func (Regime) input()        {}
func (World) input()         {}
func (Join) input()          {}
func (Received) input()      {}
func (HeardPresence) input() {}
func (Proof) input()         {}
func (Delivered) input()     {}
func (Failed) input()        {}
func (OpenDirect) input()    {}
func (UseDirect) input()     {}
func (SetLocked) input()     {}
func (Renew) input()         {}
