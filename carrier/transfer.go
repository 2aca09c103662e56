package carrier

import (
	"bytes"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// transfer is an object under way: some of its parts have left. Parts are made
// from the body when they leave, so that a transfer costs little more than it.
type transfer struct {
	waiting
	way
	id    envelope.ID
	parts []partState
	next  int       // the first part that never left
	begun time.Time // when the first one left
	left  int       // parts whose echo is awaited or that never left
	held  bool      // the same object is under way for somebody else
}

type partState struct {
	sends int
	done  bool
	at    time.Time // of the last time it was sent
	first time.Time // when it was sent first
	due   time.Time // when its echo is overdue
}

// bytes returns part i of the body.
func (t *transfer) bytes(i int) []byte {
	return t.object.Body[i*t.size : min((i+1)*t.size, len(t.object.Body))]
}

// output returns the Mumble message that carries part i.
func (t *transfer) output(i int) (Output, error) {
	if t.path == pathPlugin {
		data, err := envelope.Fragment{
			Kind: t.object.Kind, ID: t.id, Index: uint8(i), Count: uint8(t.count), Part: t.bytes(i),
		}.Append(nil)
		return PluginOut{To: t.to, Data: data}, err
	}
	message, err := envelope.AppendText(nil, envelope.TextPart{
		Kind: t.object.Kind, ID: t.id, Index: i, Count: t.count, Part: t.bytes(i),
	}, t.image)
	return TextOut{Token: t.token, To: t.to, Message: string(message)}, err
}

// start puts w under way.
func (c *Carrier) start(w waiting, how way) {
	t := &transfer{waiting: w, way: how, id: w.object.Ref().ID(), parts: make([]partState, how.count), left: how.count}
	if how.echo {
		t.to = append(slices.Clip(t.to), c.session)
		// Two Sends of one object have one echo between them: the second waits, or
		// the first one's echo would speak for it.
		t.held = slices.ContainsFunc(c.open, func(o *transfer) bool { return o.same(t) })
	}
	c.open = append(c.open, t)
}

// same reports whether an echo for t could be taken for one of o.
func (t *transfer) same(o *transfer) bool {
	return t.echo && o.echo && t.path == o.path && t.id == o.id && t.count == o.count && t.object.Kind == o.object.Kind
}

// launch sends part i of t, again or for the first time.
func (c *Carrier) launch(t *transfer, i int) {
	out, err := t.output(i)
	if err != nil { // our own sizes are wrong: say so instead of losing it
		c.drop(t)
		c.fail(t.token, err)
		return
	}
	p := &t.parts[i]
	c.buckets[t.path].spend(c.now, 1)
	if p.sends == 0 {
		p.first = c.now
	}
	p.sends++
	p.at = c.now
	p.due = c.now.Add(c.echoWait())
	if p.sends == 1 {
		if t.next == 0 {
			t.begun = c.now
		}
		t.next = i + 1
		if t.echo {
			c.flying++
		}
	}
	c.out(out)
	if !t.echo {
		if t.left--; t.left == 0 {
			c.drop(t)
			c.out(Delivered{Token: t.token})
		}
	}
}

// drop takes t out of what is under way and lets the next one of the same
// object go.
func (c *Carrier) drop(t *transfer) {
	i := slices.Index(c.open, t)
	c.open = slices.Delete(c.open, i, i+1)
	if t.echo {
		for i := range t.parts {
			if t.parts[i].sends > 0 && !t.parts[i].done {
				c.flying--
			}
		}
	}
	if !t.held {
		if i := slices.IndexFunc(c.open, t.same); i >= 0 {
			c.open[i].held = false
		}
	}
}

// echo takes a part of ours that came back. Its bytes must be those we sent: a
// server that alters them has not acknowledged anything. The part that
// completes the object gives it its point in the order (Sotto protocol §1.2).
func (c *Carrier) echo(p path, kind envelope.Kind, id envelope.ID, index, count int, part []byte) bool {
	for _, t := range c.open {
		if !t.echo || t.path != p || t.id != id || t.object.Kind != kind || t.count != count || !bytes.Equal(t.bytes(index), part) {
			continue
		}
		s := &t.parts[index]
		if s.sends == 0 || s.done {
			continue
		}
		s.done = true
		c.flying--
		if s.sends == 1 {
			// The echo of a repeated message may belong to any of its copies (RFC 6298 §3).
			c.measure(c.now.Sub(s.at))
		} else {
			c.late(c.now.Sub(s.first))
		}
		if t.left--; t.left == 0 {
			c.drop(t)
			c.out(Delivered{Token: t.token, Ordered: true})
		}
		return true
	}
	return false
}
