package mls

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// pastGroup is testGroup with former epochs kept.
func pastGroup(t testing.TB, n int) []*Group {
	t.Helper()
	g := testGroup(t, X25519AES128GCM, n)
	cfg := *g[0].cfg
	cfg.PastEpochs = 4
	for _, m := range g {
		m.cfg = &cfg
	}
	return g
}

func TestEraseExporter(t *testing.T) {
	g := pastGroup(t, 2)
	erased := bytes.Clone(g[0].secrets.exporter)
	if _, err := g[0].Export("x", nil, 32); err != nil {
		t.Fatal(err)
	}
	g[0].EraseExporter()
	g[0].EraseExporter()
	if _, err := g[0].Export("x", nil, 32); !errors.Is(err, ErrUsage) {
		t.Errorf("export after erasure: %v", err)
	}
	if holds(t, g[0], erased) {
		t.Error("exporter_secret is still there")
	}
	b, err := g[0].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if g[0], err = UnmarshalGroup(g[0].cfg, b); err != nil {
		t.Fatal(err)
	}
	if _, err := g[0].Export("x", nil, 32); !errors.Is(err, ErrUsage) {
		t.Errorf("export after storing: %v", err)
	}
	commitAll(t, g, 1, CommitOptions{})
	x, err1 := g[0].Export("x", nil, 32)
	y, err2 := g[1].Export("x", nil, 32)
	if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
		t.Errorf("the next epoch exports %x, %x (%v, %v)", x, y, err1, err2)
	}
}

// TestForgetLeaf: late messages of one removed member are lost, whether its leaf
// of the secret tree was opened before or not; all others can be read.
func TestForgetLeaf(t *testing.T) {
	for _, opened := range []bool{false, true} {
		g := pastGroup(t, 5)
		if opened {
			m, err := g[1].Protect([]byte("early"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g[0].Read(m, atTime); err != nil {
				t.Fatal(err)
			}
		}
		f, err := g[0].ratchets.find(1, ratchetApplication, g[1].ratchets.sendGeneration(1, ratchetApplication), 10, 0)
		if err != nil {
			t.Fatal(err)
		}
		key, root := bytes.Clone(f.key), bytes.Clone(g[0].ratchets.nodes[root(8)])
		late := make([]*Message, len(g))
		for i, m := range g {
			if late[i], err = m.Protect([]byte("late"), nil); err != nil {
				t.Fatal(err)
			}
		}
		// The leaf is given to somebody else by the same Commit.
		kp := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "new"))
		c, err := g[0].Commit(CommitOptions{Proposals: []Proposal{Remove{1}, Add{kp.KeyPackage}}}, atTime)
		if err != nil {
			t.Fatal(err)
		}
		if err := g[0].Merge(c); err != nil {
			t.Fatal(err)
		}
		added, err := Join(g[0].cfg, c.Welcomes()[0], kp, JoinOptions{}, atTime)
		if err != nil || added.OwnIndex() != 1 {
			t.Fatal(err, added.OwnIndex())
		}
		g[0].ForgetLeaf(1)
		g[0].ForgetLeaf(1)
		g[0].ForgetLeaf(1000)
		if _, err := g[0].Read(late[1], atTime); !errors.Is(err, ErrGeneration) {
			t.Errorf("the forgotten leaf: %v", err)
		}
		if holds(t, g[0], key) || len(root) > 0 && holds(t, g[0], root) {
			t.Error("something of the forgotten leaf is still there")
		}
		if _, err := g[0].past[0].ratchets.find(1, ratchetHandshake, 0, 10, 0); !errors.Is(err, ErrGeneration) {
			t.Errorf("handshake keys: %v", err)
		}
		for _, i := range []int{2, 3, 4} {
			if _, err := g[0].Read(late[i], atTime); err != nil {
				t.Errorf("leaf %d: %v", i, err)
			}
		}
		m, err := added.Protect([]byte("hello"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := g[0].Read(m, atTime); err != nil || r.(*ApplicationMessage).Sender != 1 {
			t.Errorf("the new member at that leaf: %v", err)
		}
	}
}

func TestForgetBefore(t *testing.T) {
	g := pastGroup(t, 2)
	first := g[0].Epoch()
	var late []*Message
	for range 5 {
		m, err := g[1].Protect([]byte("late"), nil)
		if err != nil {
			t.Fatal(err)
		}
		late = append(late, m)
		commitAll(t, g, 0, CommitOptions{})
	}
	if got, want := g[0].Past(), []uint64{first + 4, first + 3, first + 2, first + 1}; !slices.Equal(got, want) {
		t.Errorf("past epochs %d, want %d", got, want)
	}
	p := g[0].past[2]
	g[0].ForgetBefore(first + 3)
	if got, want := g[0].Past(), []uint64{first + 4, first + 3}; !slices.Equal(got, want) {
		t.Errorf("past epochs %d, want %d", got, want)
	}
	if !bytes.Equal(p.senderData, make([]byte, len(p.senderData))) {
		t.Error("a secret of a forgotten epoch is not overwritten")
	}
	for i, want := range []error{ErrWrongEpoch, ErrWrongEpoch, ErrWrongEpoch, nil, nil} {
		if _, err := g[0].Read(late[i], atTime); !errors.Is(err, want) {
			t.Errorf("message of epoch %d: %v, want %v", first+uint64(i), err, want)
		}
	}
}

func TestWipe(t *testing.T) {
	g := pastGroup(t, 3)
	staged, err := g[0].Commit(CommitOptions{}, atTime)
	if err != nil {
		t.Fatal(err)
	}
	commitAll(t, g, 1, CommitOptions{})
	m, err := g[1].Protect(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var secrets [][]byte
	for _, s := range g[0].secrets.all() {
		secrets = append(secrets, bytes.Clone(*s))
	}
	secrets = append(secrets, bytes.Clone(g[0].keys[0]), bytes.Clone(g[0].past[0].senderData), bytes.Clone(g[0].ratchets.nodes[root(4)]))
	g[0].Wipe()
	g[0].Wipe()
	for i, s := range secrets {
		if holds(t, g[0], s) {
			t.Errorf("secret %d is still there", i)
		}
	}
	if g[0].Active() || g[0].Members() != nil || g[0].EpochAuthenticator() != nil || len(g[0].Past()) > 0 {
		t.Error("something is left")
	}
	for _, err := range []error{
		func() error { _, err := g[0].Read(m, atTime); return err }(),
		func() error { _, err := g[0].Protect(nil, nil); return err }(),
		func() error { _, err := g[0].Commit(CommitOptions{}, atTime); return err }(),
		func() error { _, err := g[0].Export("x", nil, 1); return err }(),
	} {
		if !errors.Is(err, ErrInactive) {
			t.Error(err)
		}
	}
	if err := g[0].Merge(staged); !errors.Is(err, ErrStale) {
		t.Errorf("a staged Commit is merged into a wiped group: %v", err)
	}
	staged.Discard()
	b, err := g[0].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := UnmarshalGroup(g[0].cfg, b); err != nil || again.Active() {
		t.Error("stored:", err)
	}
}
