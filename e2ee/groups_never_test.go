package e2ee_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// hostile does one thing that a server can do to alice's view of it.
func (h *hall) hostile(alice *guest) string {
	others := h.guests[1:] // alice is the first
	some := func() *guest { return others[h.rng.IntN(len(others))] }
	channel := uint32(3 + h.rng.IntN(3))
	switch k := h.rng.IntN(13); {
	case k == 0 && alice.up:
		h.shift(alice, channel)
		return fmt.Sprint("moves alice to ", channel)
	case k == 1 && len(h.guests) < 8:
		h.bare(fmt.Sprint("bare", h.last), channel)
		return fmt.Sprint("shows somebody in ", channel)
	case k == 2 && len(h.guests) < 8:
		h.join(fmt.Sprint("sotto", h.last), channel)
		return fmt.Sprint("somebody joins ", channel)
	case k == 3 && len(others) > 0:
		h.leave(some(), true)
		return "somebody leaves"
	case k == 4 && len(others) > 0:
		h.shift(some(), channel)
		return fmt.Sprint("somebody goes to ", channel)
	case k == 5:
		h.names[channel] = fmt.Sprint(h.rng.IntN(3))
		h.tell(nil)
		return "renames"
	case k == 6:
		if h.links = nil; h.rng.IntN(2) == 0 {
			h.links = [][2]uint32{{3, channel}}
		}
		h.tell(nil)
		return fmt.Sprint("links ", h.links)
	case k == 7:
		h.drop = !h.drop
		return fmt.Sprint("drops: ", h.drop)
	case k == 8:
		h.regime = []e2ee.Regime{groupRegimes["E"], groupRegimes["T"], groupRegimes["N"]}[h.rng.IntN(3)]
		h.version = uint64(h.rng.IntN(8))
		alice.handle(h.regime)
		h.tell(nil)
		return fmt.Sprintf("becomes %+v, version %d", h.regime, h.version)
	case k == 9 && len(others) > 0:
		g := some()
		g.name, g.cert = "bob", certOf("bob")
		h.tell(nil)
		return "calls somebody bob"
	case k == 10:
		h.cut(alice, h.rng.IntN(2) == 0)
		h.again(alice, channel)
		return fmt.Sprint("cuts the connection; back in ", channel)
	case k == 11 && len(others) > 0:
		o := envelope.Object{Kind: envelope.Kind(1 + h.rng.IntN(13)), Body: make([]byte, h.rng.IntN(80))}
		alice.handle(e2ee.Received{From: some().session, Object: o})
		return "sends nonsense"
	}
	return "waits"
}

// cut ends alice's connection, of which its engine may hear nothing; again makes a
// new one. Alice stays the first of the list.
func (h *hall) cut(alice *guest, silent bool) {
	if !silent {
		alice.handle(e2ee.Disconnected{})
	}
	alice.up = false
}

func (h *hall) again(alice *guest, channel uint32) {
	h.guests = h.guests[1:]
	h.connect(alice, channel)
	last := len(h.guests) - 1
	h.guests = append([]*guest{alice}, h.guests[:last]...)
}

// I3: no act of the server leads to clear speech. I13: under require nothing does.
func TestGroupsNeverClear(t *testing.T) {
	acts := []e2ee.Input{e2ee.Wait{}, e2ee.UserProtect{}, e2ee.UserLeave{}}
	anything := append([]e2ee.Input{e2ee.UserClear{}, e2ee.LocalMove{Channel: 4}, e2ee.LocalMove{Channel: 5}}, acts...)
	for _, c := range []struct {
		name   string
		policy e2ee.Policy
		acts   []e2ee.Input
		begin  func(h *hall, alice *guest)
	}{
		{"from Priv", e2ee.PolicyPrefer, nil, func(h *hall, alice *guest) {
			h.until(20*time.Second, "Priv", func() bool { return alice.State() == e2ee.StatePriv })
		}},
		{"from Priv, the user acts", e2ee.PolicyPrefer, acts, func(h *hall, alice *guest) {
			h.until(20*time.Second, "Priv", func() bool { return alice.State() == e2ee.StatePriv })
		}},
		{"after a move by the server", e2ee.PolicyPrefer, acts, func(h *hall, alice *guest) {
			h.run(100 * time.Millisecond)
			h.shift(alice, 5)
			h.run(100 * time.Millisecond)
		}},
		{"after protect", e2ee.PolicyPrefer, acts, func(h *hall, alice *guest) {
			h.run(100 * time.Millisecond)
			alice.handle(e2ee.UserProtect{})
		}},
		{"require", e2ee.PolicyRequire, anything, func(h *hall, alice *guest) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := 40
			if testing.Short() {
				runs = 8
			}
			for seed := range runs {
				h := newHall(t, "E")
				h.rng = rand.New(rand.NewPCG(uint64(seed), 7))
				alice := h.enter(h.groups("alice", c.policy), 3)
				h.join("bob", 3)
				c.begin(h, alice)
				var log []string
				h.step = func(g *guest) {
					if g != alice {
						return
					}
					_, err := alice.seal("x")
					if out := alice.Leave(); out == e2ee.LeaveClear || out == e2ee.LeaveNothing && !errors.Is(err, e2ee.ErrHeld) {
						t.Fatalf("seed %d: %v may leave in %v, %v\n%q\n%s", seed, out, alice.State(), err, log, h.state())
					}
				}
				for range 50 {
					if len(c.acts) > 0 && h.rng.IntN(4) == 0 {
						act := c.acts[h.rng.IntN(len(c.acts))]
						log = append(log, fmt.Sprintf("%T%v", act, act))
						alice.handle(act)
					} else {
						log = append(log, h.hostile(alice))
					}
					h.run(time.Duration(h.rng.IntN(4000)) * time.Millisecond)
				}
			}
		})
	}
}
