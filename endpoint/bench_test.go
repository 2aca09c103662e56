package endpoint_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// frameLen is what the stock client makes of 20 ms at its usual 40 kbit/s.
const frameLen = 100

// legs are the two OCB2 legs that each frame passes: client to guard, and guard
// to server, each with both its ends.
type legs struct {
	client, down, up, server crypt.CryptState
}

func newLegs(t testing.TB) *legs {
	l := new(legs)
	for _, ends := range [][2]*crypt.CryptState{{&l.client, &l.down}, {&l.up, &l.server}} {
		ends[0].GenerateKey()
		if err := ends[1].SetKey(ends[0].Key(), ends[0].DecryptIV(), ends[0].EncryptIV()); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// hop is the way of one frame through guard.
type hop struct {
	t            testing.TB
	r            *relay
	alice, bob   *person
	legs         *legs
	in, mid, out voice.Packet
	datagram     []byte
	plain        []byte
	sealed       []byte
	scratch      []byte
	upstream     []byte
	number       uint64
	opus         []byte
	fromAlice    []byte
	toBob        []byte
}

func newHop(t testing.TB) *hop {
	r, alice, bob := pair(t, echoes)
	h := &hop{t: t, r: r, alice: alice, bob: bob, legs: newLegs(t), opus: append([]byte{0xF8}, make([]byte, frameLen-1)...)}
	for i := range h.opus[1:] {
		h.opus[i+1] = byte(i*7 + 1)
	}
	for _, b := range []*[]byte{&h.datagram, &h.plain, &h.sealed, &h.scratch, &h.upstream, &h.fromAlice, &h.toBob} {
		*b = make([]byte, 0, 2048)
	}
	return h
}

// speak is the stock client's part: the datagram that reaches guard.
func (h *hop) speak() {
	h.number += 2
	h.r.now = h.r.now.Add(20 * time.Millisecond)
	p := voice.Packet{Codec: voice.Opus, FrameNumber: h.number, Data: h.opus}
	b, err := voice.Append(h.scratch[:0], voice.Protobuf, voice.ToServer, &p)
	if err != nil {
		h.t.Fatal(err)
	}
	h.datagram = h.legs.client.Seal(h.datagram[:0], b)
}

// ocb2 is what any proxy with legs of its own has to do: open one, seal the other.
func (h *hop) ocb2() {
	plain, err := h.legs.down.Open(h.plain[:0], h.datagram)
	if err != nil {
		h.t.Fatal(err)
	}
	h.upstream = h.legs.up.Seal(h.upstream[:0], plain)
}

// guard is what guard does instead.
func (h *hop) guard() {
	plain, err := h.legs.down.Open(h.plain[:0], h.datagram)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := voice.Parse(plain, voice.Protobuf, voice.ToServer, &h.in); err != nil {
		h.t.Fatal(err)
	}
	if err := h.alice.Protect(h.sealed[:0], h.r.now, &h.in, &h.mid); err != nil {
		h.t.Fatal(err)
	}
	b, err := voice.Append(h.fromAlice[:0], voice.Protobuf, voice.ToServer, &h.mid)
	if err != nil {
		h.t.Fatal(err)
	}
	h.upstream = h.legs.up.Seal(h.upstream[:0], b)
}

// crypto is the part of guard that is cryptography. The packet is taken for read.
func (h *hop) crypto() {
	plain, err := h.legs.down.Open(h.plain[:0], h.datagram)
	if err != nil {
		h.t.Fatal(err)
	}
	h.in = voice.Packet{Codec: voice.Opus, FrameNumber: h.number, Data: plain[len(plain)-frameLen:]}
	if err := h.alice.Protect(h.sealed[:0], h.r.now, &h.in, &h.mid); err != nil {
		h.t.Fatal(err)
	}
	h.upstream = h.legs.up.Seal(h.upstream[:0], h.mid.Data)
}

// The hot path allocates nothing, in either direction, key headers included.
func TestNoAllocations(t *testing.T) {
	h := newHop(t)
	step := func() {
		h.speak()
		h.guard()
		h.mid.Session = h.alice.session
		if err := h.bob.Unprotect(h.toBob[:0], h.r.now, &h.mid, &h.out); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(500, step); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

// BenchmarkOCB2Only is the floor: a frame through two OCB2 legs and nothing else.
func BenchmarkOCB2Only(b *testing.B) {
	h := newHop(b)
	bench(b, h, h.ocb2)
}

// BenchmarkGuardFrame is guard's crypto for the same frame: one leg opened, the
// frame protected, the other leg sealed. The goal is at most twice the floor, and
// no allocation.
func BenchmarkGuardFrame(b *testing.B) {
	h := newHop(b)
	bench(b, h, h.crypto)
}

// BenchmarkGuardFrameWhole adds what the two voice formats cost.
func BenchmarkGuardFrameWhole(b *testing.B) {
	h := newHop(b)
	bench(b, h, h.guard)
}

// BenchmarkUnprotect is the other direction, without the legs.
func BenchmarkUnprotect(b *testing.B) { benchUnprotect(b, newHop(b), false) }

// run is how many datagrams are made at once while the clock of a benchmark stands:
// stopping it costs more than they do.
const run = 64

// benchUnprotect times what bob does with frames of alice. With still no time passes:
// what is due in a group is not this benchmark's.
func benchUnprotect(b *testing.B, h *hop, still bool) {
	b.ReportAllocs()
	var made [run]voice.Packet
	b.ResetTimer()
	for done := 0; done < b.N; {
		b.StopTimer()
		for i := range made {
			now := h.r.now
			h.speak()
			if still {
				h.r.now = now
			}
			h.guard()
			made[i] = h.mid
			made[i].Session, made[i].Data = h.alice.session, append(made[i].Data[:0:0], h.mid.Data...)
		}
		b.StartTimer()
		for i := 0; i < run && done < b.N; i, done = i+1, done+1 {
			if err := h.bob.Unprotect(h.toBob[:0], h.r.now, &made[i], &h.out); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// bench times f alone, in runs of datagrams that were made before.
func bench(b *testing.B, h *hop, f func()) {
	var made [run][]byte
	for i := range made {
		made[i] = make([]byte, 0, 256)
	}
	b.ReportAllocs()
	b.SetBytes(frameLen)
	b.ResetTimer()
	for n := 0; n < b.N; {
		b.StopTimer()
		for i := range made {
			h.speak()
			made[i] = append(made[i][:0], h.datagram...)
		}
		b.StartTimer()
		for i := 0; i < run && n < b.N; i, n = i+1, n+1 {
			h.datagram = append(h.datagram[:0], made[i]...)
			f()
		}
	}
}
