package interop_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// shielded is a raw Mumble client behind a guard of its own, a command of its own.
type shielded struct {
	*guarded
	raw    *peers.Raw
	number uint32
	seq    uint32
}

func startShielded(t testing.TB, name, addr string, flags ...string) *shielded {
	t.Helper()
	g := startGuard(t, name+"'s guard", addr, automatic, flags...)
	return &shielded{guarded: g, raw: peers.DialRaw(t, g.addr(), name, peers.RawOptions{}), number: nextNumber()}
}

// speak sends the next packet; whether it leaves is the guard's matter.
func (s *shielded) speak() (seq uint32) {
	seq = s.seq
	s.seq++
	s.raw.SendVoice(voice.Packet{FrameNumber: uint64(2 * seq), Data: markPacket(s.number, seq)})
	return seq
}

// heardOf reports whether a packet of somebody reached the raw client.
func (s *shielded) heardOf(who *member, seq uint32) bool {
	return slices.ContainsFunc(s.raw.Heard(who.session), func(p voice.Packet) bool {
		number, q, ok := readMark(p.Data)
		return ok && number == who.number && q == seq
	})
}

// in waits until the guard is in a group of n and lets ciphertext out.
func (s *shielded) in(limit time.Duration, n int) {
	s.t.Helper()
	waitWithin(s.t, limit, fmt.Sprintf("%s in a group of %d", s.name, n), func() bool {
		size := 0
		for _, e := range s.events() {
			if e.Event == "roster" {
				size = len(e.Members)
			}
		}
		return size == n && s.leaves() == "ciphertext"
	})
}

// talkWith lets a shielded person and the crowd hear each other.
func (c crowd) talkWith(s *shielded) {
	t := c[0].t
	t.Helper()
	seq := s.speak()
	for _, m := range c {
		if !m.until(patience, func() bool { return m.heard[s.number][seq] }) {
			t.Fatalf("%s does not hear %s: %s\n%s", m.name, s.name, m.tell(), s.tell(s.events()))
		}
	}
	for _, m := range c {
		seq, err := m.speak(0)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		waitFor(t, s.name+" hears "+m.name, func() bool { return s.heardOf(m, seq) })
	}
}
