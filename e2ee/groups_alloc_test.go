package e2ee_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// R5, I4: no key meets a counter twice, through changes, crashes and new connections;
// the same words never look the same.
func TestGroupsNoKeyTwice(t *testing.T) {
	h, list := meet(t, "E", "alice", "bob", "carol")
	alice := list[0]
	seen := map[string]bool{}
	for round := range 12 {
		for range 30 {
			f := e2ee.Frame{FrameNumber: 7, Opus: []byte("the same words")}
			if body, err := alice.SealVoice(nil, h.now, limit, &f); err == nil {
				id, epoch := alice.Epoch()
				ct := string(body[1+headerIn(t, body).Len():])
				if seen[ct] {
					t.Fatalf("round %d: the same ciphertext in group %x epoch %d", round, id[:3], epoch)
				}
				seen[ct] = true
			}
			h.run(100 * time.Millisecond)
		}
		switch round % 3 {
		case 0:
			h.leave(alice, true) // a crash: the new run begins with what the Book holds
			h.enter(alice, 3)
		case 1:
			h.leave(alice, false)
			h.connect(alice, 3)
		case 2:
			h.leave(list[2], true)
			h.enter(list[2], 3)
		}
		h.until(30*time.Second, "together", func() bool { return together(list...) })
	}
	if len(seen) < 300 {
		t.Errorf("only %d frames", len(seen))
	}
}

// Sealing and opening allocate nothing once a step runs.
func TestGroupsVoiceAllocs(t *testing.T) {
	alice, bob := talk(t)
	f, g := e2ee.Frame{Opus: make([]byte, 100)}, e2ee.Frame{}
	body, plain := make([]byte, 0, limit), make([]byte, 0, limit)
	now := dawn.Add(-3 * time.Second)
	once := func() {
		var err error
		body, err = alice.SealVoice(body[:0], now, limit, &f)
		if err == nil {
			_, err = bob.OpenVoice(plain, now, 1, body[0], body[1:], &g)
		}
		if err != nil || len(g.Opus) != 100 {
			t.Fatal(err, len(g.Opus))
		}
	}
	once()
	now = dawn
	once()
	if n := testing.AllocsPerRun(1000, once); n != 0 {
		t.Errorf("%v allocations for a frame", n)
	}
}

// BenchmarkGroupsVoice is BenchmarkVoice for groups.
func BenchmarkGroupsVoice(b *testing.B) {
	buf, dst := make([]byte, 0, limit), make([]byte, 0, limit)
	f := e2ee.Frame{Opus: make([]byte, 80)}
	b.Run("seal", func(b *testing.B) {
		alice, _ := talk(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := alice.SealVoice(buf, dawn, limit, &f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seal+open", func(b *testing.B) {
		alice, bob := talk(b)
		now := dawn
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(20 * time.Millisecond)
			body, err := alice.SealVoice(buf, now, limit, &f)
			if err != nil {
				b.Fatal(err)
			}
			var g e2ee.Frame
			if _, err := bob.OpenVoice(dst, now, 1, body[0], body[1:], &g); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("junk", func(b *testing.B) {
		// What a stranger can cost: a frame at the eighth step that does not open.
		_, bob := talk(b)
		junk := append([]byte{0x80, 0x18}, make([]byte, 100)...)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bob.OpenVoice(dst, dawn, 1, envelope.VoiceMLS, junk, &e2ee.Frame{}); !errors.Is(err, e2ee.ErrAuth) {
				b.Fatal(err)
			}
		}
	})
}

// What a frame of nonsense does: it is refused, and nothing is counted as our bug.
func FuzzGroupsOpenVoice(f *testing.F) {
	alice, bob := talk(f)
	f.Add(uint32(1), uint64(7), sealOne(f, alice, dawn))
	f.Add(uint32(3), uint64(7), slices.Concat([]byte{envelope.VoiceMLS}, bytes.Repeat([]byte{0xff}, 40)))
	f.Add(uint32(1), uint64(0), []byte{envelope.VoicePresence, 1})
	f.Fuzz(func(t *testing.T, session uint32, number uint64, body []byte) {
		if len(body) == 0 {
			return
		}
		frame := e2ee.Frame{FrameNumber: number}
		_, err := bob.OpenVoice(nil, dawn, session, body[0], body[1:], &frame)
		if err == nil && string(frame.Opus) != "opus" {
			t.Errorf("%q opens", fmt.Sprintf("%x", body))
		}
		if bob.Stats().Failed != 0 {
			t.Errorf("%v counts as a bug", err)
		}
	})
}
