package e2ee_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// spoken stands for everything a person says and writes; it must never be seen.
var spoken = []byte("SPOKEN-WORDS-IN-CLEAR")

// watch is a wire tap behind one engine and its restarts.
type watch struct {
	t     interface{ Fatalf(string, ...any) }
	nonce []byte
	used  map[string]bool // every (nonce, KID, CTR) that was sealed under
}

func (w *watch) object(o envelope.Object) {
	if bytes.Contains(o.Body, spoken) {
		w.t.Fatalf("clear text in an object of kind %v", o.Kind)
	}
}

func (w *watch) voice(body []byte) {
	if bytes.Contains(body, spoken) {
		w.t.Fatalf("clear text in a packet")
	}
	vk, rest := body[0], body[1:]
	switch vk {
	case envelope.VoiceTypedKey:
		w.nonce, rest = bytes.Clone(rest[:16]), rest[20:]
	case envelope.VoiceTyped:
		if w.nonce == nil {
			w.t.Fatalf("a stream begins without its nonce")
		}
	default:
		w.t.Fatalf("vk %#x", vk)
	}
	h, _, err := sframe.ParseHeader(rest)
	if err != nil {
		w.t.Fatalf("no SFrame header: %v", err)
	}
	if h.CTR >= 1<<14 || h.KID > 255 {
		w.t.Fatalf("header %+v", h)
	}
	use := fmt.Sprintf("%x %d %d", w.nonce, h.KID, h.CTR)
	if w.used[use] {
		w.t.Fatalf("a second frame under %s", use)
	}
	w.used[use] = true
}

// TestNothingLeaves plays a lying server, lost people, restarts and a wild clock
// to one engine, and checks after each step: what leaves is the gate's word,
// nothing is ever clear, Typed is entered only with proof, and no key and counter
// are used twice.
func TestNothingLeaves(t *testing.T) {
	secret := e2ee.NewSecret()
	typed, sealed := 0, 0
	check := func(t *rapid.T) {
		policy := rapid.SampledFrom([]e2ee.Policy{e2ee.PolicyPrefer, e2ee.PolicyRequire}).Draw(t, "policy")
		var named []string
		if rapid.Bool().Draw(t, "named") {
			named = []string{"p2"}
		}
		parsed, err := e2ee.ParseSecret(secret, testServer)
		if err != nil {
			t.Fatal(err)
		}
		restart := func() *e2ee.Engine {
			e, err := e2ee.New(e2ee.Config{Policy: policy, Secret: parsed, Server: testServer, Named: named})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		w := &watch{t: t, used: map[string]bool{}}
		now := time.Unix(1_800_000_000, 0)
		e := restart()

		// friends hold the secret: they are engines that hear nothing and only
		// make what the server may pass on, at once or much later.
		const people = 5
		var stored []e2ee.Received
		var packets []packet
		world := e2ee.World{}
		pending, moveEnd, target, at := false, time.Time{}, uint32(0), uint32(0)
		connected := false
		friends := []*e2ee.Engine{engine(nopTB{}, secret, e2ee.PolicyPrefer), engine(nopTB{}, secret, e2ee.PolicyPrefer)}
		// prove lets friend i, session i+2 in channel 1, say that it holds the
		// secret, and returns its words.
		prove := func(i uint32) (last e2ee.Received) {
			friend := friends[i]
			friend.Handle(now, e2ee.Connected{Session: i + 2})
			friend.Handle(now, e2ee.World{Channel: 1, Peers: []e2ee.Peer{{Session: 9, Channel: 1, Hears: true}}})
			for _, echo := range []bool{true, false} {
				friend.Handle(now, e2ee.Regime{Known: true, Echo: echo})
			}
			for out, ok := friend.Next(); ok; out, ok = friend.Next() {
				switch out := out.(type) {
				case e2ee.SendObject:
					last = e2ee.Received{From: i + 2, Object: out.Object}
				case e2ee.SendVoice:
					packets = append(packets, packet{from: i + 2, number: out.FrameNumber, vk: out.Body[0], rest: out.Body[1:]})
				}
			}
			stored = append(stored, last)
			return last
		}
		prove(0)
		prove(1)

		drain := func() {
			for out, ok := e.Next(); ok; out, ok = e.Next() {
				switch out := out.(type) {
				case e2ee.SendObject:
					w.object(out.Object)
				case e2ee.SendVoice:
					w.voice(out.Body)
				case e2ee.GateChanged:
					if out.To != e2ee.StateTyped {
						break
					}
					typed++
					met, namedMet := false, len(named) == 0
					for _, p := range world.Peers {
						if p.Hears && e.IsHolder(p.Session) {
							met = true
							namedMet = namedMet || p.Name == "p2"
						}
					}
					if !met || !namedMet || pending || !connected {
						t.Fatalf("entered Typed without proof: %+v, pending %v", world, pending)
					}
				}
			}
			if want := e.State() == e2ee.StateTyped; want != (e.Leave() == e2ee.LeaveCiphertext) || e.Leave() == e2ee.LeaveClear {
				t.Fatalf("in %v %v leaves", e.State(), e.Leave())
			}
			f := e2ee.Frame{FrameNumber: uint64(len(w.used)) * 2, Opus: spoken}
			body, err := e.SealVoice(nil, now, 900, &f)
			if (err == nil) != (e.State() == e2ee.StateTyped) {
				t.Fatalf("in %v SealVoice says %v", e.State(), err)
			}
			if err == nil {
				w.voice(body)
			}
			o, err := e.SealText(now, 900, e2ee.Text{HTML: string(spoken)})
			if (err == nil) != (e.State() == e2ee.StateTyped) {
				t.Fatalf("in %v SealText says %v", e.State(), err)
			}
			w.object(o)
		}
		handle := func(in e2ee.Input) {
			if pending && !now.Before(moveEnd) {
				pending = false
			}
			e.Handle(now, in)
		}
		t.Repeat(map[string]func(*rapid.T){
			"connect": func(t *rapid.T) {
				connected, pending, at = true, false, 0
				world = e2ee.World{}
				handle(e2ee.Connected{Session: rapid.Uint32Range(6, 9).Draw(t, "session")})
				if rapid.Bool().Draw(t, "everybody there") {
					world.Channel, at = 1, 1
					for s := range uint32(people) {
						world.Peers = append(world.Peers, e2ee.Peer{Session: s + 1, Channel: 1, Name: fmt.Sprintf("p%d", s+1), Hears: true})
					}
					handle(world)
				}
			},
			"regime": func(t *rapid.T) {
				handle(e2ee.Regime{Known: rapid.Bool().Draw(t, "known"), Echo: rapid.Bool().Draw(t, "echo")})
			},
			"world": func(t *rapid.T) {
				world = e2ee.World{Channel: rapid.Uint32Range(1, 3).Draw(t, "channel"), Own: rapid.Bool().Draw(t, "own")}
				for s := range uint32(people) {
					if rapid.IntRange(0, 3).Draw(t, "here") > 0 {
						world.Peers = append(world.Peers, e2ee.Peer{
							Session: s + 1, Channel: rapid.Uint32Range(1, 2).Draw(t, "peer channel"),
							Name: fmt.Sprintf("p%d", s+1), Hears: rapid.IntRange(0, 3).Draw(t, "hears") > 0,
						})
					}
				}
				// A World that confirms nothing may end the move as well, if it
				// shows another channel; then it is the server's doing.
				if world.Own || world.Channel == target || world.Channel != at {
					pending = false
				}
				if connected {
					at = world.Channel
				}
				handle(world)
			},
			"move": func(t *rapid.T) {
				target = rapid.Uint32Range(1, 3).Draw(t, "target")
				handle(nil)
				if target == at && !pending {
					handle(e2ee.LocalMove{Channel: target}) // no move at all
					return
				}
				pending, moveEnd = connected, now.Add(10*time.Second)
				handle(e2ee.LocalMove{Channel: target})
				if e.Leave() != e2ee.LeaveNothing {
					t.Fatalf("moving, %v leaves", e.Leave())
				}
			},
			"proof": func(t *rapid.T) {
				handle(prove(rapid.Uint32Range(0, 1).Draw(t, "friend")))
			},
			"object": func(t *rapid.T) {
				handle(rapid.SampledFrom(stored).Draw(t, "object"))
			},
			"voice": func(t *rapid.T) {
				p := rapid.SampledFrom(packets).Draw(t, "packet")
				f := e2ee.Frame{FrameNumber: p.number}
				_ = e.OpenVoice(nil, now, p.from, p.vk, p.rest, &f)
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 100, 3000, 10_000, 61_000, 301_000}).Draw(t, "ms")) * time.Millisecond)
				handle(nil)
			},
			"talk": func(t *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(t, "frames") {
					if body, err := e.SealVoice(nil, now, 900, &e2ee.Frame{Opus: spoken}); err == nil {
						w.voice(body)
					}
				}
			},
			"wait":       func(*rapid.T) { handle(e2ee.Wait{}) },
			"ask":        func(*rapid.T) { e.AskHolders(now, []uint32{1, 2, 3}) },
			"disconnect": func(*rapid.T) { connected, pending, at = false, false, 0; handle(e2ee.Disconnected{}) },
			"restart":    func(*rapid.T) { connected, pending, at, world = false, false, 0, e2ee.World{}; e = restart() },
			"":           func(*rapid.T) { drain() },
		})
		sealed += len(w.used)
	}
	// One run of the checker is 100 scripts of some 30 steps.
	for range 20 {
		rapid.Check(t, check)
	}
	t.Logf("Typed was entered %d times, %d frames were sealed", typed, sealed)
	scripts := 1
	if testing.Short() {
		scripts = 5 // rapid runs a fifth of them
	}
	if typed < 100/scripts || sealed < 1000/scripts {
		t.Error("the scripts hardly ever open the gate, so they prove nothing")
	}
}

// nopTB lets engine be used inside rapid, whose T is no testing.TB.
type nopTB struct{ testing.TB }

func (nopTB) Helper()           {}
func (nopTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// TestNoKeyTwice restarts, reconnects, moves and waits at many points and wants
// every (key, counter) of all of them to be new.
func TestNoKeyTwice(t *testing.T) {
	secret := e2ee.NewSecret()
	w := &watch{t: t, used: map[string]bool{}}
	now := time.Unix(1_800_000_000, 0)
	friend := engine(t, secret, e2ee.PolicyPrefer)
	friend.Handle(now, e2ee.Connected{Session: 2})
	friend.Handle(now, e2ee.World{Channel: 1, Peers: []e2ee.Peer{{Session: 1, Channel: 1, Hears: true}}})
	friend.Handle(now, e2ee.Regime{Known: true, Echo: true})
	var proof e2ee.Received
	for out, ok := friend.Next(); ok; out, ok = friend.Next() {
		if out, ok := out.(e2ee.SendObject); ok {
			proof = e2ee.Received{From: 2, Object: out.Object}
		}
	}
	restarts := 2000
	if testing.Short() {
		restarts = 100
	}
	parsed := parse(t, secret)
	for i := range restarts {
		e, err := e2ee.New(e2ee.Config{Secret: parsed, Server: testServer})
		if err != nil {
			t.Fatal(err)
		}
		for reconnects := range 2 {
			// The same session id, channel and minute each time: the worst case.
			e.Handle(now, e2ee.Connected{Session: 1})
			e.Handle(now, e2ee.Regime{Known: true, Echo: i%2 == 0})
			e.Handle(now, e2ee.World{Channel: uint32(1 + reconnects), Peers: []e2ee.Peer{{Session: 2, Channel: 1, Hears: true}}})
			e.Handle(now, proof)
			for out, ok := e.Next(); ok; out, ok = e.Next() {
				if out, ok := out.(e2ee.SendVoice); ok {
					w.voice(out.Body)
				}
			}
			for range i % 30 {
				body, err := e.SealVoice(nil, now, 900, &e2ee.Frame{Opus: spoken})
				if err != nil {
					t.Fatal(err)
				}
				w.voice(body)
			}
		}
	}
	t.Logf("%d frames in %d lives", len(w.used), 2*restarts)
}
