package e2ee

import (
	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// Input is something that happened. The types below are all there are. A nil
// Input says that time passed and nothing else; Handle looks at its clocks first
// with any input.
type Input interface{ input() }

// Connected begins a connection. It forgets who holds the secret, draws a new
// stream for the own voice, and puts the gate to StateFind. Streams of others are
// kept, so that what was heard before cannot be played again.
type Connected struct {
	Session uint32 // own session id, from ServerSync
}

// World says who is where. Give it after Connected and after each change, whole.
type World struct {
	Channel uint32 // the channel that the own user is in
	Own     bool   // this change is the person's own act (§11)
	Peers   []Peer // everybody else on the server, in any order

	// Of a Groups only.
	ChannelName string           // of Channel, as the server gives it
	Places      []audience.Place // the own channel first, then those listened to
	Version     uint64           // of the server, a number that grows; 0: not said
}

// Peer is somebody else on the server.
type Peer struct {
	Session uint32
	Channel uint32
	Name    string // as the server gives it
	Label   string // the same, fit to be quoted in a sentence
	Where   string // stands behind Label if they hear us from another channel; or empty
	Hears   bool   // belongs to the own audience: channel, link closure, listeners

	// Of a Groups only, and the server's word.
	CertHash      string // of the Mumble certificate
	Registered    uint32 // user id
	HasRegistered bool
}

// LocalMove says that the own client asked to be moved. The gate closes until a
// World confirms it, a World with Own set says otherwise, or 10 s pass.
type LocalMove struct {
	Channel uint32
}

// Regime is what the carrier found out about the server (§1.4).
type Regime struct {
	Known bool // false: no object is sent yet, announcements in voice are
	Echo  bool // regime E or T; false: regime N
	// TextEcho: regime T, where only text comes back.
	TextEcho bool
}

// Received is an object that the carrier delivered. Only SecretReady and
// SecretText are looked at.
type Received struct {
	From   uint32 // session the server names
	Object envelope.Object
	Bulk   bool // came beside the order, where there is one
}

// PluginContext is the plugin_context of the own client. People with the same
// one may exchange positions. Nil: none, and no position leaves or arrives.
type PluginContext struct {
	Context []byte
}

// Wait is the person's answer "wait" to the question of StateAsked.
type Wait struct{}

// Disconnected ends a connection. The gate closes.
type Disconnected struct{}

func (Connected) input()     {}
func (World) input()         {}
func (LocalMove) input()     {}
func (Regime) input()        {}
func (Received) input()      {}
func (PluginContext) input() {}
func (Wait) input()          {}
func (Disconnected) input()  {}
