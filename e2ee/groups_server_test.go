package e2ee_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
)

// Somebody sees another certificate of the server.
func TestGroupsCertificate(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob")
	alice := list[0]
	alice.took()
	eve := h.groups("eve", e2ee.PolicyPrefer)
	eve.cfg.Server = [32]byte{9}
	h.enter(eve, 3)
	h.until(20*time.Second, "three", func() bool { return together(append(list, eve)...) })
	alice.want("another certificate", "line gate")
	if len(alice.Health().OtherServer) != 1 {
		t.Errorf("%+v", alice.Health())
	}
	if eve.want("all others see another", "Find > Held, line held, line gate, Held > Priv"); len(eve.Health().OtherServer) != 2 {
		t.Errorf("%+v", eve.Health())
	}
}

// A server that is worse than remembered.
func TestGroupsWorse(t *testing.T) {
	for what, worsen := range map[string]func(h *hall){
		"version": func(h *hall) { h.version-- },
		"regime":  func(h *hall) { h.regime = groupRegimes["N"] },
	} {
		t.Run(what, func(t *testing.T) {
			h, list := meet(t, "E", "alice", "bob")
			alice := list[0]
			for _, g := range list {
				h.leave(g, false)
			}
			worsen(h)
			alice.took()
			h.enter(alice, 9)
			h.bare("carol", 9)
			h.run(5 * time.Second)
			alice.closed()
			if script := strings.Join(alice.took(), ", "); !strings.HasSuffix(script, "> Asked, ask worse") {
				t.Errorf("%s", script)
			}
			alice.handle(e2ee.UserProtect{})
			h.run(5 * time.Second)
			alice.want("go on", "Asked > Held, line held")
			h.move(alice, 3)
			h.run(5 * time.Second)
			alice.want("accepted", "Held > Find, Find > Alone")
		})
	}
}

// A reconnect is own only where nothing bound the gate.
func TestGroupsReconnect(t *testing.T) {
	again := func(h *hall, g *guest, channel uint32) {
		h.leave(g, false)
		h.run(time.Second)
		h.connect(g, channel)
	}
	t.Run("after Priv", func(t *testing.T) {
		h, list := meet(t, "E", "alice", "bob")
		alice := list[0]
		h.bare("carol", 9)
		h.run(time.Second)
		alice.took()
		again(h, alice, 9)
		h.run(15 * time.Second)
		alice.want("cut, and put elsewhere", "Priv > Held, line held, Held > Asked, ask clear")
		alice.closed()
	})
	t.Run("with an open question", func(t *testing.T) {
		h := newHall(t, "E")
		h.bare("bob", 3)
		h.bare("carol", 4)
		alice := h.join("alice", 5)
		h.run(4 * time.Second)
		h.shift(alice, 3)
		h.run(15 * time.Second)
		alice.want("moved", "Find > Alone, Alone > Held, line moved, Held > Asked, ask clear")
		again(h, alice, 4)
		h.run(15 * time.Second)
		alice.want("cut", "")
		alice.closed()
	})
	t.Run("in Clear", func(t *testing.T) {
		h := newHall(t, "E")
		h.bare("bob", 3)
		alice := h.join("alice", 3)
		h.run(4 * time.Second)
		again(h, alice, 3)
		h.run(4 * time.Second)
		alice.want("cut", "Find > Clear, Clear > Held, Held > Find, Find > Clear")
	})
	t.Run("in Clear, and put elsewhere", func(t *testing.T) {
		for what, elsewhere := range map[string]func(h *hall) uint32{
			"another channel": func(*hall) uint32 { return 4 },
			"another name":    func(h *hall) uint32 { h.names[3] = "Lobby"; return 3 },
			"another link":    func(h *hall) uint32 { h.links = [][2]uint32{{3, 4}}; return 3 },
		} {
			t.Run(what, func(t *testing.T) {
				h := newHall(t, "E")
				h.bare("bob", 3)
				h.bare("carol", 4)
				alice := h.join("alice", 3)
				h.run(4 * time.Second)
				alice.want("before", "Find > Clear")
				again(h, alice, elsewhere(h))
				alice.closed()
				h.run(15 * time.Second)
				alice.want("cut", "Clear > Held, line held, Held > Asked, ask clear")
				alice.closed()
			})
		}
	})
	t.Run("without a word that the last one ended", func(t *testing.T) {
		_, list := meet(t, "E", "alice", "bob")
		alice := list[0]
		alice.took()
		alice.handle(e2ee.Connected{Session: 77})
		alice.want("connected", "Priv > Held")
		alice.closed()
	})
}
