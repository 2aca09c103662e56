package carrier

import (
	"bytes"

	"github.com/sotto-voip/sotto/envelope"
)

// receivePlugin takes a plugin message: an echo of ours, or a fragment of
// somebody else.
func (c *Carrier) receivePlugin(in PluginData) {
	if !IsOurs(in.ID) || c.anonymous(in.From) {
		return
	}
	if in.From == c.session {
		if !c.echo(in.Data) && !c.probeEcho(in.Data) {
			c.stats.StrayEcho++
		}
		return
	}
	f, err := envelope.ParseFragment(in.Data)
	if err != nil {
		c.stats.Malformed++
		return
	}
	if f.Count != 1 {
		c.stats.MultiPart++
		return
	}
	o, err := envelope.OpenSingle(f)
	if err != nil {
		c.stats.Malformed++
		return
	}
	o.Body = bytes.Clone(o.Body) // it lies in the caller's buffer
	c.deliver(in.From, f.ID, o)
}

// receiveText takes a private text message of somebody else.
func (c *Carrier) receiveText(in Text) {
	if !IsText(in.Message) || c.anonymous(in.From) {
		return
	}
	if in.From == c.session {
		c.stats.StrayEcho++
		return
	}
	p, err := envelope.ParseText(in.Message)
	if err != nil {
		c.stats.Malformed++
		return
	}
	if p.Count != 1 {
		c.stats.MultiPart++
		return
	}
	o := envelope.Object{Kind: p.Kind, Body: p.Part}
	if o.Ref().ID() != p.ID {
		c.stats.Malformed++
		return
	}
	c.deliver(in.From, p.ID, o)
}

// anonymous counts and reports what nobody can be held to have sent.
func (c *Carrier) anonymous(from uint32) bool {
	if from != 0 && c.session != 0 {
		return false
	}
	c.stats.Anonymous++
	return true
}

// deliver gives a complete object to the engine, once. A Hello passes every
// time: its sender repeats it until somebody answers, and taking it twice
// restarts nothing (Sotto protocol §1.2).
func (c *Carrier) deliver(from uint32, id envelope.ID, o envelope.Object) {
	switch o.Kind {
	case envelope.KindProbe:
		c.stats.Misplaced++
		return
	case envelope.KindHello:
	default:
		if c.seen.add(c.now, from, id) {
			c.stats.Duplicate++
			return
		}
	}
	c.out(Received{from, o})
}
