package client

import (
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// Event is something that happened: one of the types of this file.
type Event interface{ clientEvent() }

type (
	// Connected: the server has let us in as Session. First of all events, and
	// again after each reconnect, when everything of the old session is void.
	// Who was there already is in State.
	Connected struct {
		Session uint32
		Server  control.Version
	}
	// Disconnected: the connection is lost. The next attempt follows after
	// Retry; zero means that there will be none and Events closes.
	Disconnected struct {
		Err   error
		Retry time.Duration
	}
	// MirrorEvent: somebody or a channel came, changed or went.
	MirrorEvent struct{ mirror.Event }
	// Voice: one Opus packet somebody sent, in the order of arrival.
	Voice struct {
		From        uint32 // session
		Name        string
		FrameNumber uint64 // counts 10 ms
		Opus        []byte // empty: only the end of speech
		Terminator  bool   // last packet of the spurt
		Whisper     bool
		Encrypted   bool // opened with the secret
		At          time.Time
	}
	// TextMessage: a text, HTML as Mumble clients write it. From 0 is the server.
	TextMessage struct {
		From      uint32
		Name      string
		Scope     uint8 // e2ee.ScopeChannel, ScopeTree or ScopePrivate
		HTML      string
		Encrypted bool
	}
	// Denied: the server, or Sotto before it, refused something.
	Denied struct {
		Type   mumblepb.PermissionDenied_DenyType
		Reason string
		Server bool // the words are the server's, not Sotto's
	}
	// GateChanged: what may leave has changed. Line is StateLine after it.
	GateChanged struct {
		e2ee.GateChanged
		Line string
	}
	// Holder: somebody proved to hold the secret, or left.
	Holder struct{ e2ee.Holder }
	// OtherSecret: somebody here uses another secret.
	OtherSecret struct{ e2ee.OtherSecret }
	// Notice: one plain sentence for the person.
	Notice struct{ e2ee.Notice }
	// Question asks the person something; Client.Wait, Protect and Clear answer.
	Question struct{ e2ee.Asked }
	// Roster says who is in an encrypted group now; no Members: it is gone.
	Roster struct {
		Group [16]byte // its random id
		Epoch uint64
		Suite string // of its keys, by the name that MLS gives it
		// PostQuantum: the keys stand against a quantum computer.
		PostQuantum bool
		Direct      bool // of a private conversation or whisper
		Home        bool // of the own channel
		Members     []string
	}
)

// NoticeBarred is the code of the Notice that UDP is given up, BarredLine its words.
const (
	NoticeBarred = "no-udp"
	BarredLine   = "The server gives keys for voice by UDP that were used before. Voice goes through its TCP connection from now on."
)

func (Connected) clientEvent()    {}
func (Disconnected) clientEvent() {}
func (MirrorEvent) clientEvent()  {}
func (Voice) clientEvent()        {}
func (TextMessage) clientEvent()  {}
func (Denied) clientEvent()       {}
func (GateChanged) clientEvent()  {}
func (Holder) clientEvent()       {}
func (OtherSecret) clientEvent()  {}
func (Notice) clientEvent()       {}
func (Question) clientEvent()     {}
func (Roster) clientEvent()       {}

func (c *Client) emit(ev Event) { c.pending.add(ev) }
