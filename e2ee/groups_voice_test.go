package e2ee_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// seal seals one frame of g for its channel.
func (g *guest) seal(opus string) (airborne, error) {
	f := e2ee.Frame{FrameNumber: g.number, Opus: []byte(opus)}
	body, err := g.SealVoice(nil, g.h.now, limit, &f)
	if err != nil {
		return airborne{}, err
	}
	g.number += 2
	return airborne{from: g.session, vk: body[0], rest: body[1:], number: f.FrameNumber}, nil
}

// say seals and sends one frame.
func (g *guest) say(opus string) error {
	p, err := g.seal(opus)
	if err == nil {
		g.h.send(g, p.number, false, append([]byte{p.vk}, p.rest...))
	}
	return err
}

// send brings a voice packet to all who hear g now. Voice has no order.
func (h *hall) send(g *guest, number uint64, terminator bool, body []byte) {
	session, d := g.session, h.delay()
	h.at(d, func() {
		for _, q := range h.guests {
			late := h.voice()
			if q.session == session || q.Groups == nil || late < 0 || !slices.Contains(h.closure(g.channel), q.channel) {
				continue
			}
			to := q.session
			h.at(late, func() {
				if q.up && q.session == to {
					q.hear(airborne{session, body[0], body[1:], number, terminator, h.now.Add(600 * time.Millisecond)})
				}
			})
		}
	})
}

// hear opens a frame, or keeps it if it came too early.
func (g *guest) hear(p airborne) error {
	f := e2ee.Frame{FrameNumber: p.number, Terminator: p.terminator}
	o, err := g.OpenVoice(nil, g.h.now, p.from, p.vk, p.rest, &f)
	switch {
	case errors.Is(err, e2ee.ErrFuture):
		if g.h.now.Before(p.until) {
			g.waiting = append(g.waiting, p)
		} else {
			g.errs[err.Error()]++
		}
	case err != nil:
		g.errs[err.Error()]++
	default:
		g.heard = append(g.heard, heardFrame{p.from, string(f.Opus), o})
	}
	g.drain()
	return err
}

// again tries what came too early.
func (g *guest) again() {
	list := g.waiting
	g.waiting = nil
	for _, p := range list {
		g.hear(p)
	}
}

// said are the frames of a session that g has heard.
func (g *guest) heardOf(session uint32) (list []string) {
	for _, f := range g.heard {
		if f.from == session {
			list = append(list, f.opus)
		}
	}
	return list
}

// together reports whether exactly these people are in one epoch, in StatePriv.
func together(list ...*guest) bool {
	id, epoch := list[0].Epoch()
	for _, g := range list {
		i, e := g.Epoch()
		if g.State() != e2ee.StatePriv || i != id || e != epoch || len(g.Members()) != len(list) {
			return false
		}
		for _, q := range list {
			if !slices.Contains(g.Members(), q.session) {
				return false
			}
		}
	}
	return true
}

// meet brings people with Sotto together in channel 3.
func meet(t testing.TB, regime string, names ...string) (*hall, []*guest) {
	t.Helper()
	h := newHall(t, regime)
	var list []*guest
	for _, name := range names {
		list = append(list, h.join(name, 3))
	}
	h.until(30*time.Second, "all in one group", func() bool { return together(list...) })
	h.run(2 * time.Second)
	return h, list
}

// Voice of everybody opens at everybody; who comes later hears what comes later,
// who leaves hears nothing more.
func TestGroupsVoice(t *testing.T) {
	for regime := range groupRegimes {
		t.Run(regime, func(t *testing.T) {
			h := newHall(t, regime)
			alice, bob, carol := h.join("alice", 3), h.join("bob", 3), h.join("carol", 3)
			list := []*guest{alice, bob, carol}
			d := h.until(20*time.Second, "three in StatePriv", func() bool { return together(list...) })
			t.Logf("three after %v", d)
			everybody := func(what string) {
				for _, g := range list {
					if err := g.say(what); err != nil {
						t.Fatalf("%s cannot speak: %v\n%s", g.name, err, h.state())
					}
				}
				h.run(700 * time.Millisecond)
				for _, g := range list {
					for _, q := range list {
						if heard := g.heardOf(q.session); g != q && (len(heard) == 0 || heard[len(heard)-1] != what) {
							t.Fatalf("%s heard %q of %s, want %q; %v\n%s", g.name, heard, q.name, what, g.errs, h.state())
						}
					}
				}
			}
			h.run(500 * time.Millisecond)
			everybody("one")
			eve := h.join("eve", 3)
			early, _ := alice.seal("before eve")
			h.run(10 * time.Millisecond)
			d = h.until(20*time.Second, "four in StatePriv", func() bool { return together(append(list, eve)...) })
			t.Logf("the fourth after %v", d)
			if err := eve.hear(early); err == nil {
				t.Error("eve opens what was said before she came")
			}
			list = append(list, eve)
			h.run(500 * time.Millisecond)
			everybody("two")

			h.leave(eve, true) // her engine does not hear of it and keeps its keys
			d = h.until(20*time.Second, "three again", func() bool { return together(alice, bob, carol) })
			t.Logf("three again after %v", d)
			list = list[:3]
			late, err := alice.seal("after eve")
			if err != nil {
				t.Fatal(err)
			}
			if err := eve.hear(late); err == nil {
				t.Error("eve opens what was said after she left")
			}
			everybody("three")
			if n := len(eve.heard); n != 3 {
				t.Errorf("eve heard %d frames, want 3", n)
			}
		})
	}
}

// A frame of an epoch to come is ErrFuture, opens after KeysChanged, and is given
// up after 600 ms (§7.4).
func TestGroupsFuture(t *testing.T) {
	for _, late := range []time.Duration{450 * time.Millisecond, 5 * time.Second} {
		h, list := meet(t, "E", "alice", "bob")
		h.run(15 * time.Second)
		var behind *guest // the one of the two who does not make the Commit
		h.meddle = func(from, to *guest, o envelope.Object) []time.Duration {
			if behind == nil && o.Kind == envelope.KindMLSMessage && slices.Contains(list, to) {
				behind = to
			}
			if to == behind && (o.Kind == envelope.KindMLSMessage || o.Kind == envelope.KindBeacon) {
				return []time.Duration{late}
			}
			return []time.Duration{h.delay()}
		}
		_, before := list[0].Epoch()
		carol := h.join("carol", 3)
		var tick func()
		tick = func() {
			for _, g := range list {
				g.say("x")
			}
			h.at(20*time.Millisecond, tick)
		}
		h.at(0, tick)
		h.until(20*time.Second, "carol is in the next epoch", func() bool { return behind != nil && len(carol.Members()) == 3 })
		if _, epoch := behind.Epoch(); epoch != before {
			t.Fatalf("%s is in epoch %d already", behind.name, epoch)
		}
		behind.heard = nil
		h.run(250 * time.Millisecond) // the other's voice goes over 300 ms after the Commit
		if late > time.Second {
			h.run(2 * time.Second)
			n := len(behind.waiting)
			h.run(time.Second)
			if _, epoch := behind.Epoch(); epoch != before || n == 0 || len(behind.heard) > 20 {
				t.Errorf("epoch %d after %d, %d frames wait, %d heard", epoch, before, n, len(behind.heard))
			}
			continue
		}
		h.run(time.Second)
		if len(behind.waiting) > 0 || len(behind.errs) > 0 || len(behind.heard) < 55 {
			_, epoch := behind.Epoch()
			t.Errorf("epoch %d after %d, %d frames wait, %d heard, %v", epoch, before, len(behind.waiting), len(behind.heard), behind.errs)
		}
	}
}
