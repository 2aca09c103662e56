package carrier

import (
	"bytes"

	"github.com/sotto-voip/sotto/envelope"
)

// arrived is a part as it came, on either path.
type arrived struct {
	key
	index int
	part  []byte // in the caller's buffer if path is pathPlugin
}

// receivePlugin takes a plugin message: an echo of ours, or a fragment of
// somebody else.
func (c *Carrier) receivePlugin(in PluginData) {
	if !IsOurs(in.ID) || c.anonymous(in.From) {
		return
	}
	f, err := envelope.ParseFragment(in.Data)
	if in.From == c.session {
		if err != nil || !c.echo(pathPlugin, f.Kind, f.ID, int(f.Index), int(f.Count), f.Part) && !c.probeEcho(in.Data) {
			c.stats.StrayEcho++
		}
		return
	}
	if err != nil {
		c.stats.Malformed++
		return
	}
	c.doubt()
	c.receive(arrived{key{in.From, f.ID, f.Kind, pathPlugin, int(f.Count)}, int(f.Index), f.Part})
}

// receiveText takes a private text message: an echo of ours, or a part of
// somebody else.
func (c *Carrier) receiveText(in Text) {
	if !IsText(in.Message) || c.anonymous(in.From) {
		return
	}
	p, err := envelope.ParseText(in.Message)
	if in.From == c.session {
		if err != nil || !c.echo(pathText, p.Kind, p.ID, p.Index, p.Count, p.Part) && !c.textProbeEcho(in.Message) {
			c.stats.StrayEcho++
		}
		return
	}
	if err != nil {
		c.stats.Malformed++
		return
	}
	c.receive(arrived{key{in.From, p.ID, p.Kind, pathText, p.Count}, p.Index, p.Part})
}

// anonymous counts and reports what nobody can be held to have sent.
func (c *Carrier) anonymous(from uint32) bool {
	if from != 0 && c.session != 0 {
		return false
	}
	c.stats.Anonymous++
	return true
}

// receive takes a part of somebody else, and the whole object with the part
// that completes it.
func (c *Carrier) receive(a arrived) {
	if a.kind == envelope.KindProbe {
		c.stats.Misplaced++
		return
	}
	body := a.part
	if a.count > 1 {
		switch {
		case !a.kind.Known():
			c.stats.OverBound++ // no memory for what nobody can use
			return
		case c.seen.has(c.now, a.from, a.id):
			c.stats.Duplicate++
			return
		}
		var whole bool
		if body, whole = c.gather.add(c.now, a, &c.stats); !whole {
			return
		}
	}
	o := envelope.Object{Kind: a.kind, Body: body}
	ref := o.Ref()
	if ref.ID() != a.id {
		c.stats.Malformed++
		return
	}
	// A Hello passes every time: its sender repeats it until somebody answers,
	// and taking it twice restarts nothing (Sotto protocol §1.2). One of several
	// parts does not, for its repeated parts would open it anew.
	if o.Kind != envelope.KindHello || a.count > 1 {
		if c.seen.add(c.now, a.from, a.id) {
			c.stats.Duplicate++
			return
		}
	}
	if a.count == 1 && a.path == pathPlugin {
		o.Body = bytes.Clone(o.Body) // it lies in the caller's buffer
	}
	c.gather.answered(ref)
	c.out(Received{
		From: a.from, Object: o,
		Ordered: a.path == pathPlugin && c.regime <= RegimeEcho || a.path == pathText && c.regime == RegimeText,
	})
}
