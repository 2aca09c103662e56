package demo

import (
	"bytes"
	"context"
	"math"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/internal/evilserver"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// elsewhere is the channel that Carol goes to.
const elsewhere = "Garden"

// transition is longer than a member goes on with the keys before somebody came.
const transition = 500 * time.Millisecond

func newChannel(name string) *mumblepb.ChannelState {
	return &mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String(name)}
}

// meet: three guards agree on keys, and Eve comes in without Sotto.
func (s *stage) meet() error {
	var err error
	if s.alice, err = s.guarded("alice", s.server.addr); err != nil {
		return err
	}
	began := time.Now()
	if s.bob, err = s.guarded("bob", s.server.addr); err != nil {
		return err
	}
	if s.carol, err = s.guarded("carol", s.evil.Addr()); err != nil {
		return err
	}
	for _, p := range []*person{s.alice, s.bob, s.carol} {
		if err := s.together(p, 0, "alice", "bob", "carol"); err != nil {
			return err
		}
	}
	connected, err := s.alice.guard.await(s.ctx, 0, "connected", func(e events.Event) bool { return e.Event == "connected" })
	if err != nil {
		return err
	}
	s.printf("A real Mumble server on loopback, unmodified: Murmur %s\n", connected.Server)
	s.printf("\n1. Alice, Bob and Carol start  sotto guard HOST  and connect their Mumble to it. Nothing is typed.\n")
	s.printf("  After %.1f s their guards have agreed on keys.\n", time.Since(began).Seconds())
	// Eve is a client like any other.
	s.eve = &person{name: "eve"}
	if err := s.connect(s.eve, s.server.addr, s.server.isServer); err != nil {
		return err
	}
	s.printf("  Eve comes into the same channel, without Sotto.\n")
	out, err := exec.CommandContext(s.ctx, s.sotto, "--state", s.state("alice"), "status", "--require", "private").Output()
	status, _, _ := strings.Cut(string(out), "\n")
	_, status, _ = strings.Cut(status, ": ")
	return s.promise(err == nil, "sotto status, of Alice:  %s", status)
}

// talk: what Alice says reaches Bob and Carol bit for bit, Eve as silence, and the
// server never.
func (s *stage) talk() error {
	const words = "Meet me at the old lighthouse at nine. Nobody but you can hear this, not even the server."
	s.eve.forget()
	said, err := s.speak(words)
	if err != nil {
		return err
	}
	got, _ := s.bob.gets(s.ctx, "alice", said)
	_, _ = s.eve.gets(s.ctx, "alice", said) // what she gets is looked at below
	relayed, _ := s.eve.from("alice")
	s.printf("\n  %-8s  %-29s  %-29s  %s\n", "packet", "Alice sent", "the server relayed", "Bob got")
	sealed := speech(relayed)
	for i := range min(5, len(said), len(got), len(sealed)) {
		s.printf("  %-8d  %-29s  %-29s  %s\n", i+1, hex(said[i]), hex(sealed[i]), hex(got[i]))
	}
	s.printf("\n")
	if err := s.hears(said, s.bob, s.carol); err != nil {
		return err
	}
	loud, err := s.loudness(said)
	if err != nil {
		return err
	}
	quiet, err := s.loudness(s.eve.everything())
	if err != nil {
		return err
	}
	if err := s.promise(math.IsInf(quiet, -1), "Eve heard    %s (what Alice said is %s)", decibels(quiet), decibels(loud)); err != nil {
		return err
	}
	n := leaks(said, relayed)
	return s.promise(n == 0 && len(sealed) == len(said), "The server   relayed %d packets; %d of them contain a packet of Alice", len(relayed), n)
}

// newcomer: Dave comes, and is handed what was said before by the server.
func (s *stage) newcomer() error {
	before := s.evil.Record(func(e evilserver.Event) bool {
		return e.Voice != nil && e.Dir == voice.ToClient && e.Client.Name() == "carol" && len(e.Voice.Data) > 0
	})
	s.printf("\n2. Dave comes later, with a guard of his own.\n")
	said, err := s.speak("This was before Dave came.")
	if err != nil {
		return err
	}
	if err := s.hears(said, s.bob, s.carol); err != nil {
		return err
	}
	before.Stop()
	marks := []int{s.alice.guard.mark(), s.bob.guard.mark(), s.carol.guard.mark(), 0}
	began := time.Now()
	if s.dave, err = s.guarded("dave", s.evil.Addr()); err != nil {
		return err
	}
	for i, p := range []*person{s.alice, s.bob, s.carol, s.dave} {
		if err := s.together(p, marks[i], "alice", "bob", "carol", "dave"); err != nil {
			return err
		}
	}
	s.printf("  After %.1f s he has keys, and the others have new ones.\n", time.Since(began).Seconds())
	through := s.evil.Client("dave", patience)
	old := before.Events()
	for _, e := range old {
		s.evil.ReplayTo(through, e)
		if err := s.pause(2 * time.Millisecond); err != nil {
			return err
		}
	}
	if err := s.pause(time.Second); err != nil {
		return err
	}
	n := len(s.dave.everything())
	if err := s.promise(n == 0 && len(old) >= len(said), "The server hands him what was said before: %d packets. Dave heard %d of them.", len(old), n); err != nil {
		return err
	}
	if said, err = s.speak("Welcome, Dave."); err != nil {
		return err
	}
	return s.hears(said, s.bob, s.carol, s.dave)
}

// leaver: Carol leaves, and the server goes on handing her what is said.
func (s *stage) leaver() error {
	s.printf("\n3. Carol leaves, but the server goes on handing her all that is said.\n")
	marks := []int{s.alice.guard.mark(), s.bob.guard.mark(), s.dave.guard.mark()}
	began := time.Now()
	if err := s.carol.conn.Join(elsewhere); err != nil {
		return err
	}
	stay := []*person{s.alice, s.bob, s.dave}
	for i, p := range stay {
		if err := s.together(p, marks[i], "alice", "bob", "dave"); err != nil {
			return err
		}
	}
	s.printf("  After %.1f s the others have new keys, which she has not.\n", time.Since(began).Seconds())
	s.carol.forget()
	through := s.evil.Client("carol", patience)
	var handed atomic.Int64
	leak := s.evil.OnVoice(func(c *evilserver.Client, dir voice.Direction, p voice.Packet) ([]voice.Packet, time.Duration) {
		if c.Name() == "dave" && dir == voice.ToClient && len(p.Data) > 0 {
			again := p
			again.Data = bytes.Clone(p.Data)
			s.evil.InjectVoice(through, dir, again)
			handed.Add(1)
		}
		return []voice.Packet{p}, 0
	})
	said, err := s.speak("Carol is gone, this is not for her.")
	if err != nil {
		return err
	}
	if err := s.hears(said, s.bob, s.dave); err != nil {
		return err
	}
	if err := s.pause(time.Second); err != nil {
		return err
	}
	leak.Stop()
	n := len(s.carol.everything())
	return s.promise(n == 0 && handed.Load() >= int64(len(said)), "Carol was handed %d packets and heard %d of them.", handed.Load(), n)
}

// middle: somebody without the server's key stands between Carol and the server.
func (s *stage) middle() error {
	s.printf("\n4. Carol comes back from a network where somebody stands between her and the server.\n")
	if err := s.carol.leave(); err != nil {
		return err
	}
	cert, err := ownCertificate("Murmur")
	if err != nil {
		return err
	}
	s.evil.SetCertificate(cert)
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	var refused strings.Builder
	cmd := exec.CommandContext(ctx, s.sotto, "--state", s.state("carol"), "guard", s.evil.Addr())
	cmd.Stderr = &refused
	_ = cmd.Run() // it must fail, and how is looked at
	reason, _, _ := strings.Cut(refused.String(), "; remembered")
	const changed = 4 // exit code: another certificate than before
	if err := s.promise(cmd.ProcessState.ExitCode() == changed, "Her guard, which knows the server, stops:\n    %s", strings.TrimSpace(reason)); err != nil {
		return err
	}

	s.printf("  She is told another address of it, which her guard has never seen.\n")
	if s.other, err = evilserver.Start(evilserver.Options{Upstream: s.server.addr, Certificate: cert}); err != nil {
		return err
	}
	tapped := s.other.Record(func(e evilserver.Event) bool {
		return e.Voice != nil && e.Dir == voice.ToClient && len(e.Voice.Data) > 0
	})
	defer tapped.Stop()
	others := []*person{s.alice, s.bob, s.dave}
	marks := []int{s.alice.guard.mark(), s.bob.guard.mark(), s.dave.guard.mark()}
	if s.carol, err = s.guarded("carol", s.other.Addr()); err != nil {
		return err
	}
	for i, p := range others {
		e, err := p.guard.await(s.ctx, marks[i], "another certificate", caught)
		if err != nil {
			return err
		}
		s.printf("  %-16s %s\n", title(p.name)+"'s guard:", e.Text)
	}
	all := append(others, s.carol)
	for i, p := range all {
		mark := 0
		if i < len(marks) {
			mark = marks[i]
		}
		if err := s.together(p, mark, "alice", "bob", "carol", "dave"); err != nil {
			return err
		}
	}
	// Members speak with the former keys until everybody can have the new ones
	// (Sotto protocol §7.4), which Carol does not hear.
	if err := s.pause(transition); err != nil {
		return err
	}
	said, err := s.speak("And still nobody else can hear us.")
	if err != nil {
		return err
	}
	if err := s.hears(said, s.bob, s.carol); err != nil {
		return err
	}
	var passed [][]byte
	for _, e := range tapped.Events() {
		passed = append(passed, e.Voice.Data)
	}
	n := leaks(s.said, passed)
	return s.promise(n == 0 && len(passed) >= len(said), "In between   passed %d packets; %d of them contain a packet of Alice", len(passed), n)
}

// caught reports whether a guard says that Carol, and nobody else, sees another
// certificate of the server.
func caught(e events.Event) bool {
	return e.Event == "notice" && strings.HasPrefix(e.Text, "“carol” sees another certificate of this server")
}

// hears checks that people have heard what Alice said last, bit for bit.
func (s *stage) hears(said [][]byte, people ...*person) error {
	for _, p := range people {
		got, exact := p.gets(s.ctx, "alice", said)
		if err := s.promise(exact, "%-12s %d of %d packets, bit-exact: %s", title(p.name)+" got", len(got), len(said), yes(exact)); err != nil {
			return err
		}
	}
	return nil
}

// speak lets Alice say a sentence, and everybody count anew before.
func (s *stage) speak(words string) ([][]byte, error) {
	packets, err := s.voice(words)
	if err != nil {
		return nil, err
	}
	for _, p := range []*person{s.bob, s.carol, s.dave} {
		if p != nil {
			p.forget()
		}
	}
	s.printf("  Alice says   %q\n", words)
	s.said = append(s.said, packets...)
	return packets, s.alice.say(s.ctx, packets)
}

// speech leaves out the packets with which guards find each other where nothing
// else reaches everybody.
func speech(relayed [][]byte) (sealed [][]byte) {
	for _, r := range relayed {
		if _, kind, _, ok := envelope.ParseVoice(r); ok && kind == envelope.VoiceMLS {
			sealed = append(sealed, r)
		}
	}
	return sealed
}

// leaks counts the relayed packets that contain one that was said.
func leaks(said, relayed [][]byte) int {
	n := 0
	for _, r := range relayed {
		for _, p := range said {
			if len(p) >= 8 && bytes.Contains(r, p) {
				n++
				break
			}
		}
	}
	return n
}

func title(name string) string { return strings.ToUpper(name[:1]) + name[1:] }
