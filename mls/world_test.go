package mls_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

var now = time.Unix(1_800_000_000, 0)

// testSuites are those that every scenario runs with; the others share all code
// but a table row and run in the vectors.
var testSuites = []mls.CipherSuite{mls.X25519AES128GCM, mls.P256AES128GCM, mls.MLKEM768X25519AES128GCM}

func accept(mls.Identity) error { return nil }

func testConfig() *mls.Config {
	return &mls.Config{Authenticate: accept, PastEpochs: 2, ResumptionEpochs: 8, PSK: func(id mls.PreSharedKeyID) ([]byte, error) {
		if id.Type == mls.PSKExternal {
			return append([]byte("key of "), id.ID...), nil
		}
		return nil, errors.New("no such PSK")
	}}
}

func lifetime() mls.Lifetime { return mls.LifetimeAround(now, time.Hour, 24*time.Hour) }

func newProfile(t testing.TB, cs mls.CipherSuite, name string) mls.Profile {
	t.Helper()
	k, err := mls.GenerateSignatureKey(cs)
	if err != nil {
		t.Fatal(err)
	}
	return mls.Profile{Credential: mls.BasicCredential([]byte(name)), Capabilities: mls.DefaultCapabilities().WithGREASE(), SignatureKey: k}
}

func newKeyPackage(t testing.TB, cs mls.CipherSuite, name string) *mls.OwnKeyPackage {
	t.Helper()
	o, err := mls.NewKeyPackage(cs, newProfile(t, cs, name), lifetime())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func newGroup(t testing.TB, cfg *mls.Config, cs mls.CipherSuite, name string, ext ...mls.Extension) *mls.Group {
	t.Helper()
	g, err := mls.NewGroup(cfg, mls.GroupOptions{CipherSuite: cs, Profile: newProfile(t, cs, name), Lifetime: lifetime(), Extensions: ext}, now)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// wire sends a message through its encoding.
func wire(t testing.TB, m *mls.Message) *mls.Message {
	t.Helper()
	n, err := mls.ParseMessage(m.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// world is a group as all its members see it.
type world struct {
	testing.TB
	cs      mls.CipherSuite
	cfg     *mls.Config
	members []*mls.Group
	reload  bool // write and read back after each step
	count   int
}

func newWorld(t testing.TB, cs mls.CipherSuite, n int) *world {
	t.Helper()
	w := &world{TB: t, cs: cs, cfg: testConfig()}
	w.members = []*mls.Group{newGroup(t, w.cfg, cs, "member 0")}
	w.count = 1
	if n > 1 {
		w.add(0, n-1)
	}
	return w
}

// commit makes a Commit of member by, which everybody merges, and lets joiners in.
func (w *world) commit(by int, o mls.CommitOptions, joiners ...*mls.OwnKeyPackage) *mls.StagedCommit {
	w.Helper()
	for _, j := range joiners {
		o.Proposals = append(o.Proposals, mls.Add{KeyPackage: j.KeyPackage})
	}
	g := w.members[by]
	c, err := g.Commit(o, now)
	if err != nil {
		w.Fatalf("commit of %d: %v", by, err)
	}
	if w.reload {
		g, c = w.restart(g, c)
		w.members[by] = g
	}
	m, welcomes := c.Message(), c.Welcomes()
	var tree []byte
	for i, other := range w.members {
		if i == by {
			continue
		}
		r, err := other.Read(wire(w, m), now)
		if err != nil {
			w.Fatalf("member %d reads the commit of %d: %v", i, by, err)
		}
		staged := r.(*mls.StagedCommit)
		if w.reload {
			other, staged = w.restart(other, staged)
			w.members[i] = other
		}
		if err := other.Merge(staged); err != nil {
			w.Fatal(err)
		}
	}
	if err := g.Merge(c); err != nil {
		w.Fatal(err)
	}
	if o.Tree == mls.TreeElsewhere {
		tree = g.RatchetTree()
	}
	for _, j := range joiners {
		joined := false
		for _, wel := range welcomes {
			n, err := mls.Join(w.cfg, wire(w, &mls.Message{Welcome: wel}).Welcome, j, mls.JoinOptions{RatchetTree: tree}, now)
			if err == nil {
				w.members = append(w.members, n)
				joined = true
			} else if !errors.Is(err, mls.ErrWelcome) {
				w.Fatal(err)
			}
		}
		if !joined {
			w.Fatal("no Welcome lets the joiner in")
		}
	}
	w.drop()
	w.agree()
	return c
}

// drop forgets those who were removed.
func (w *world) drop() {
	var still []*mls.Group
	for _, g := range w.members {
		if g.Active() {
			still = append(still, g)
		} else if g.Reinitialized() == nil {
			if g.EpochAuthenticator() != nil || g.Members() != nil {
				w.Error("a removed member keeps something")
			}
		}
	}
	w.members = still
}

func (w *world) add(by, n int) {
	w.Helper()
	var joiners []*mls.OwnKeyPackage
	for range n {
		joiners = append(joiners, newKeyPackage(w, w.cs, fmt.Sprintf("member %d", w.count)))
		w.count++
	}
	w.commit(by, mls.CommitOptions{}, joiners...)
}

// agree checks that all members are in the same state.
func (w *world) agree() {
	w.Helper()
	for i, g := range w.members {
		if w.reload {
			g = w.again(g)
			w.members[i] = g
		}
		first := w.members[0]
		a, err := g.Export("test", []byte("context"), 16)
		if err != nil {
			w.Fatal(err)
		}
		b, _ := first.Export("test", []byte("context"), 16)
		if !bytes.Equal(g.EpochAuthenticator(), first.EpochAuthenticator()) || !bytes.Equal(a, b) || !bytes.Equal(g.RatchetTree(), first.RatchetTree()) || len(a) != 16 {
			w.Fatalf("members %d and 0 do not agree in epoch %d", i, g.Epoch())
		}
	}
}

func (w *world) again(g *mls.Group) *mls.Group {
	w.Helper()
	b := dump(w, g)
	n, err := mls.UnmarshalGroup(w.cfg, b)
	if err != nil {
		w.Fatal(err)
	}
	if !bytes.Equal(dump(w, n), b) {
		w.Fatal("a group that is read back is written differently")
	}
	return n
}

// restart writes and reads back a group with a staged Commit.
func (w *world) restart(g *mls.Group, c *mls.StagedCommit) (*mls.Group, *mls.StagedCommit) {
	w.Helper()
	b, err := c.Marshal()
	if err != nil {
		w.Fatal(err)
	}
	g = w.again(g)
	n, err := g.UnmarshalStagedCommit(b)
	if err != nil {
		w.Fatal(err)
	}
	again, err := n.Marshal()
	if err != nil || !bytes.Equal(again, b) {
		w.Fatalf("a staged Commit that is read back is written differently (%v)", err)
	}
	return g, n
}

func dump(t testing.TB, g *mls.Group) []byte {
	t.Helper()
	b, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// talk has every member send a message that all others read.
func (w *world) talk() {
	w.Helper()
	for i, g := range w.members {
		text := fmt.Appendf(nil, "hello from %d in epoch %d", i, g.Epoch())
		m, err := g.Protect(text, []byte("aad"))
		if err != nil {
			w.Fatal(err)
		}
		for k, other := range w.members {
			if k == i {
				continue
			}
			r, err := other.Read(wire(w, m), now)
			if err != nil {
				w.Fatalf("member %d reads %d: %v", k, i, err)
			}
			a := r.(*mls.ApplicationMessage)
			if !bytes.Equal(a.Data, text) || a.Sender != g.OwnIndex() || string(a.AuthenticatedData) != "aad" {
				w.Errorf("member %d reads %q from %d", k, a.Data, a.Sender)
			}
		}
	}
}

// deliver has all members but one read m, and merge it if it is a Commit.
func (w *world) deliver(from int, m *mls.Message) {
	w.Helper()
	for i, g := range w.members {
		if i == from {
			continue
		}
		r, err := g.Read(wire(w, m), now)
		if err != nil {
			w.Fatalf("member %d: %v", i, err)
		}
		if c, ok := r.(*mls.StagedCommit); ok {
			if err := g.Merge(c); err != nil {
				w.Fatal(err)
			}
		}
	}
}
