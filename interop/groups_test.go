package interop_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
)

// together waits until a command is in a group of n and lets ciphertext out.
func (s *sotto) together(mark, n int) event {
	s.t.Helper()
	e := s.waitFrom(mark, "roster", func(e event) bool { return len(e.Members) == n })
	waitFor(s.t, fmt.Sprintf("%s: leaves as ciphertext", s.name), func() bool { return s.leaves() == "ciphertext" })
	return e
}

// TestGroups: nothing is typed. Two guards that meet on an unmodified server agree
// on keys, and a clip crosses it bit-exact; a third comes, and leaves again.
func TestGroups(t *testing.T) {
	clip := peers.Speak(t, clipWords, 20)
	for _, kind := range []peers.ServerKind{peers.Murmur15, peers.Murmur134} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			server := peers.Start(t, kind, peers.ServerOptions{})
			hers := startGuard(t, "alice's guard", server.Addr(), automatic)
			his := startGuard(t, "bob's guard", server.Addr(), automatic)
			dir := t.TempDir()
			record := startClient(t, "record", "bob", his.addr(), "", nil, dir)
			his.joined(0)
			began := time.Now()
			play := startClient(t, "play", "alice", hers.addr(), "", []string{"--wait", "60s"}, clip.Opus)
			hers.together(0, 2)
			his.together(0, 2)
			t.Logf("encrypted after %v", time.Since(began))
			if code := play.end(patience + clip.Sound.Duration()); code != 0 {
				t.Fatalf("play ended with %d: %s", code, play.tell(play.events()))
			}
			name := filepath.Join(dir, fmt.Sprintf("alice-%d", hers.joined(0)))
			waitFor(t, "the last packet of the clip", func() bool { return ended(name + ".jsonl") })
			record.Terminate()
			record.end(patience)
			compare(t, clip.Packets, peers.ReadOpus(t, name+".opus"))
		})
	}
}

// TestGroupsNative: the commands themselves, five at once, one leaves.
func TestGroupsNative(t *testing.T) {
	for _, kind := range []peers.ServerKind{peers.Murmur15, peers.Murmur134} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			server := peers.Start(t, kind, peers.ServerOptions{})
			var all []*sotto
			began := time.Now()
			for i := range 5 {
				all = append(all, startClient(t, "chat", fmt.Sprintf("p%d", i), server.Addr(), automatic, nil))
			}
			for _, s := range all {
				waitWithin(t, 60*time.Second, s.name+" in a group of five", func() bool {
					return slices.ContainsFunc(s.events(), func(e event) bool { return e.Event == "roster" && len(e.Members) == 5 })
				})
				s.together(0, 5)
			}
			t.Logf("five together after %v", time.Since(began))
			mark := all[1].mark()
			all[0].say("hello, all of you")
			all[1].waitFrom(mark, "text", func(e event) bool { return e.Text == "hello, all of you" && *e.Encrypted })
			left := time.Now()
			all[4].Stop()
			for _, s := range all[:4] {
				s.waitFrom(0, "roster", func(e event) bool { return len(e.Members) == 4 })
			}
			t.Logf("removed after %v", time.Since(left))
		})
	}
}
