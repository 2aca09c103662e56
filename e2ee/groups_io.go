package e2ee

import (
	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Inputs of a Groups, besides those of an Engine.

// Delivered says that the carrier is done with a Carry. Where the server has an
// order and it went that way, this is its point in it.
type Delivered struct {
	Token   uint64
	Ordered bool
}

// Failed says that the carrier gave a Carry up.
type Failed struct{ Token uint64 }

// HeardPresence says that a session announced itself in voice (vk 0x13, §1.5).
type HeardPresence struct{ From uint32 }

// OpenDirect asks for a group of exactly these people; DirectReady or DirectFailed
// answers.
type OpenDirect struct {
	Token    uint64
	Sessions []uint32
}

// Lock closes the own channel's group to newcomers, or opens it.
type Lock struct{ Locked bool }

// Renew has the own keys in all groups renewed at once: the computer was asleep, and
// its memory out of our hands.
type Renew struct{}

// UserClear, UserProtect and UserLeave are acts of the person (§11). Clear needs
// to be said twice where speech is protected.
type (
	UserClear   struct{}
	UserProtect struct{}
	UserLeave   struct{}
)

func (Delivered) input()     {}
func (Failed) input()        {}
func (HeardPresence) input() {}
func (OpenDirect) input()    {}
func (Lock) input()          {}
func (Renew) input()         {}
func (UserClear) input()     {}
func (UserProtect) input()   {}
func (UserLeave) input()     {}

// Outputs of a Groups, besides those of an Engine.

// Carry asks the carrier to bring an object to these sessions and to answer with
// Delivered or Failed. It is key traffic or ciphertext and leaves in any state.
type Carry struct {
	Token    uint64
	To       []uint32
	Object   envelope.Object
	Priority audience.Priority
	Bulk     bool // beside the order
}

// CancelCarry says that a Carry is not wanted any more.
type CancelCarry struct{ Token uint64 }

// Expect says that a session may now send one long object of a kind.
type Expect struct {
	From uint32
	Kind envelope.Kind
}

// RosterChanged says who is in a group now. The first is that of the own channel.
type RosterChanged struct {
	Group envelope.GroupID
	Epoch uint64
	Suite mls.CipherSuite
	// PostQuantum: the keys stand against a quantum computer (§2).
	PostQuantum bool
	Direct      bool
	Home        bool
	// Members are the sessions in the group, ascending, with our own; none: the
	// group is gone.
	Members []uint32
}

// KeysChanged says that frames which came too early may open now.
type KeysChanged struct{}

// MemoryChanged says that the Book is to be written.
type MemoryChanged struct{}

// DirectReady answers OpenDirect.
type DirectReady struct {
	Token uint64
	Group envelope.GroupID
}

// DirectFailed answers OpenDirect: these sessions run no Sotto, or did not answer.
// Unasked: not all of them were asked, so that nothing is known of them.
type DirectFailed struct {
	Token   uint64
	Missing []uint32
	Unasked bool
}

// Question is asked in StateAsked, and answered by an act of the person.
type Asked struct {
	Question Question
	Text     string // one or two plain sentences
}

func (Carry) output()         {}
func (CancelCarry) output()   {}
func (Expect) output()        {}
func (RosterChanged) output() {}
func (KeysChanged) output()   {}
func (MemoryChanged) output() {}
func (DirectReady) output()   {}
func (DirectFailed) output()  {}
func (Asked) output()         {}
