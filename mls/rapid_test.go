package mls_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/sotto-voip/sotto/mls"
	"pgregory.net/rapid"
)

// TestRandomHistories lets members come, go, commit and talk in any order. All
// stay in the same state; the removed read nothing more; messages that are
// lost, swapped or doubled do no harm; and each group is stored and read back
// after each step.
func TestRandomHistories(t *testing.T) {
	for _, cs := range []mls.CipherSuite{mls.X25519AES128GCM, mls.MLKEM768X25519AES128GCM} {
		t.Run(cs.String(), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := newWorld(t, cs, 1)
				w.reload = true
				w.add(0, rapid.IntRange(1, 5).Draw(rt, "first"))
				var gone []*mls.Group
				for range rapid.IntRange(1, 12).Draw(rt, "steps") {
					w.step(rt, &gone)
				}
				w.talk()
				m, err := w.members[0].Protect([]byte("not for you"), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range gone {
					if _, err := g.Read(m, now); err == nil {
						t.Fatal("a removed member reads a message")
					}
				}
			})
		})
	}
}

func (w *world) step(rt *rapid.T, gone *[]*mls.Group) {
	member := func(what string) int { return rapid.IntRange(0, len(w.members)-1).Draw(rt, what) }
	by := member("by")
	o := mls.CommitOptions{Path: rapid.SampledFrom([]mls.PathPolicy{mls.PathAlways, mls.PathIfRequired}).Draw(rt, "path")}
	switch rapid.SampledFrom([]string{"add", "remove", "update", "empty", "psk", "external", "resync", "talk", "late", "extensions"}).Draw(rt, "step") {
	case "add":
		if len(w.members) < 12 {
			w.commit(by, o, newKeyPackage(w, w.cs, fmt.Sprintf("member %d", w.count)))
			w.count++
		}
	case "remove":
		victim := member("victim")
		if victim != by {
			*gone = append(*gone, w.members[victim])
			// A copy that does not know of its removal reads nothing either.
			deaf, err := mls.UnmarshalGroup(w.cfg, dump(w, w.members[victim]))
			if err != nil {
				w.Fatal(err)
			}
			*gone = append(*gone, deaf)
			o.Proposals = []mls.Proposal{mls.Remove{Removed: w.members[victim].OwnIndex()}}
			w.commit(by, o)
		}
	case "update":
		for range rapid.IntRange(1, 3).Draw(rt, "updates") {
			u := member("updater")
			m, err := w.members[u].ProposeUpdate(nil, nil, now)
			if err != nil {
				w.Fatal(err)
			}
			w.deliver(u, m)
			w.agree()
		}
		w.commit(by, o)
	case "empty":
		w.commit(by, mls.CommitOptions{})
	case "psk":
		id := mls.PreSharedKeyID{Type: mls.PSKExternal, ID: []byte("shared"), Nonce: make([]byte, 32)}
		o.Proposals = []mls.Proposal{mls.PreSharedKey{PSK: id}}
		w.commit(by, o)
	case "external", "resync":
		w.external(rt, by, gone)
	case "talk":
		w.talk()
	case "late":
		w.late(rt, by)
	case "extensions":
		ext := mls.RequiredCapabilities{Credentials: []mls.CredentialType{mls.CredentialBasic}}.Extension()
		o.Proposals = []mls.Proposal{mls.GroupContextExtensions{Extensions: []mls.Extension{ext}[:rapid.IntRange(0, 1).Draw(rt, "count")]}}
		w.commit(by, o)
	}
}

// external lets somebody in by an external Commit, anew or in place of itself.
func (w *world) external(rt *rapid.T, by int, gone *[]*mls.Group) {
	if len(w.members) >= 12 {
		return
	}
	gi, err := w.members[by].ExternalGroupInfo(mls.TreeInWelcome)
	if err != nil {
		w.Fatal(err)
	}
	o := mls.ExternalOptions{Profile: newProfile(w, w.cs, fmt.Sprintf("member %d", w.count))}
	w.count++
	if rapid.Bool().Draw(rt, "resync") {
		old := rapid.IntRange(0, len(w.members)-1).Draw(rt, "old")
		at := w.members[old].OwnIndex()
		o.Replace = &at
		*gone = append(*gone, w.members[old])
		w.members = append(w.members[:old:old], w.members[old+1:]...)
	}
	g, m, err := mls.JoinExternal(w.cfg, gi, o, now)
	if err != nil {
		w.Fatal(err)
	}
	w.deliver(-1, m)
	w.members = append(w.members, g)
	w.agree()
}

// late delivers a few messages lost, doubled and in another order, some of them
// after the epoch ended.
func (w *world) late(rt *rapid.T, by int) {
	var sent []*mls.Message
	for i := range 4 {
		m, err := w.members[by].Protect(fmt.Appendf(nil, "late %d", i), nil)
		if err != nil {
			w.Fatal(err)
		}
		sent = append(sent, m)
	}
	order := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 6).Draw(rt, "order")
	commitAt := rapid.IntRange(0, 8).Draw(rt, "commit at")
	seen := map[int]bool{}
	for n, i := range order {
		if n == commitAt {
			w.commit(by, mls.CommitOptions{})
		}
		for k, g := range w.members {
			if k == by {
				continue
			}
			r, err := g.Read(wire(w, sent[i]), now)
			if seen[i] {
				if !errors.Is(err, mls.ErrGeneration) {
					w.Fatalf("a second copy: %v", err)
				}
				continue
			}
			if err != nil {
				w.Fatal(err)
			}
			if a := r.(*mls.ApplicationMessage); !bytes.Equal(a.Data, fmt.Appendf(nil, "late %d", i)) {
				w.Fatalf("read %q", a.Data)
			}
		}
		seen[i] = true
		w.agree()
	}
}

// TestRandomTrees has members commit at random in a larger group; what matters is
// that sender, receivers and joiners see the same tree whatever is blank.
func TestRandomTrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, mls.X25519AES128GCM, rapid.IntRange(2, 20).Draw(rt, "members"))
		for range rapid.IntRange(1, 8).Draw(rt, "commits") {
			by := rapid.IntRange(0, len(w.members)-1).Draw(rt, "by")
			var o mls.CommitOptions
			for i, g := range w.members {
				if i != by && rapid.IntRange(0, 3).Draw(rt, "out") == 0 {
					o.Proposals = append(o.Proposals, mls.Remove{Removed: g.OwnIndex()})
				}
			}
			var joiners []*mls.OwnKeyPackage
			for range rapid.IntRange(0, 3).Draw(rt, "in") {
				joiners = append(joiners, newKeyPackage(t, w.cs, fmt.Sprintf("member %d", w.count)))
				w.count++
			}
			w.commit(by, o, joiners...)
		}
		w.talk()
	})
}
