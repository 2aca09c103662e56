package simnet

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Delivery is one message on its way to one receiver: what a Hook sees and may
// change. Message and Voice are shared with other receivers: a Hook replaces
// them and never writes into them.
type Delivery struct {
	To      uint32        // the receiver
	From    uint32        // the true sender; 0: the server's own message
	Serial  uint64        // the same for all copies of one message
	Message proto.Message // or nil
	Voice   *voice.Packet // or nil

	Drop  bool
	Delay time.Duration // held by the server
	// Overtaken lets what is sent later to this receiver pass a held message;
	// otherwise the receiver's whole stream waits with it. Voice over UDP is
	// always overtaken.
	Overtaken bool
	Again     []time.Duration // further copies, so much after the first

	user *user
}

// Hook decides about one delivery. Hooks run in the order in which they were
// added, before chaos, and see what the server says itself as well.
type Hook func(d *Delivery)

// as returns m with another sender named; messages that name none stay.
func as(m proto.Message, session uint32) proto.Message {
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		return &mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(session), Data: m.Data, DataID: m.DataID}
	case *mumblepb.TextMessage:
		return &mumblepb.TextMessage{Actor: proto.Uint32(session), Session: m.Session, ChannelId: m.ChannelId, TreeId: m.TreeId, Message: m.Message}
	}
	return m
}

// As names another session as the sender, for this receiver.
func (d *Delivery) As(session uint32) {
	if d.Voice != nil {
		p := *d.Voice
		p.Session = session
		d.Voice = &p
		return
	}
	d.Message = as(d.Message, session)
}

// Payload is what a message carries: plugin data, the words of a text, an Opus
// payload; nil for others. It must not be changed.
func (d *Delivery) Payload() []byte {
	if d.Voice != nil {
		return d.Voice.Data
	}
	switch m := d.Message.(type) {
	case *mumblepb.PluginDataTransmission:
		return m.Data
	case *mumblepb.TextMessage:
		return []byte(m.GetMessage())
	}
	return nil
}

// SetPayload replaces the payload, for this receiver.
func (d *Delivery) SetPayload(b []byte) {
	if d.Voice != nil {
		p := *d.Voice
		p.Data = b
		d.Voice = &p
		return
	}
	switch m := d.Message.(type) {
	case *mumblepb.PluginDataTransmission:
		d.Message = &mumblepb.PluginDataTransmission{SenderSession: m.SenderSession, Data: b, DataID: m.DataID}
	case *mumblepb.TextMessage:
		d.Message = &mumblepb.TextMessage{Actor: m.Actor, Session: m.Session, ChannelId: m.ChannelId, TreeId: m.TreeId, Message: proto.String(string(b))}
	}
}

// Truncate cuts the payload to n bytes.
func (d *Delivery) Truncate(n int) {
	if b := d.Payload(); n < len(b) {
		d.SetPayload(b[:max(0, n)])
	}
}

// Flip inverts one bit of the payload; bit counts modulo its length.
func (d *Delivery) Flip(bit int) {
	if b := slices.Clone(d.Payload()); len(b) > 0 {
		bit %= 8 * len(b)
		b[bit/8] ^= 1 << (bit % 8)
		d.SetPayload(b)
	}
}
