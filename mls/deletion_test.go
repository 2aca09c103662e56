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

// TestLookBeforeMerge: what a StagedCommit says is the same before it is merged
// and afterwards, and its secrets are those of the epoch that it begins.
func TestLookBeforeMerge(t *testing.T) {
	g := pastGroup(t, 3)
	c, err := g[0].Commit(CommitOptions{Proposals: []Proposal{Remove{2}}}, atTime)
	if err != nil {
		t.Fatal(err)
	}
	staged := map[int]*StagedCommit{0: c}
	for _, i := range []int{1, 2} {
		r, err := g[i].Read(c.Message(), atTime)
		if err != nil {
			t.Fatal(err)
		}
		staged[i] = r.(*StagedCommit)
	}
	want, err := c.Export("x", []byte("context"), 32)
	if err != nil {
		t.Fatal(err)
	}
	auth, epoch := c.EpochAuthenticator(), g[0].Epoch()+1
	if got, err := staged[1].Export("x", []byte("context"), 32); err != nil || !bytes.Equal(got, want) || !bytes.Equal(auth, staged[1].EpochAuthenticator()) {
		t.Errorf("the receiver of the Commit sees another epoch: %v", err)
	}
	if _, err := staged[2].Export("x", nil, 32); !errors.Is(err, ErrInactive) || staged[2].EpochAuthenticator() != nil {
		t.Errorf("the removed member sees the new epoch: %v", err)
	}
	for range 2 {
		for i, s := range staged {
			if s.Epoch() != epoch || s.RemovesUs() != (i == 2) || s.Committer() != 0 || len(s.Members()) != 2 {
				t.Errorf("member %d: epoch %d, removes us: %v, %d members", i, s.Epoch(), s.RemovesUs(), len(s.Members()))
			}
			if g[i].Epoch() < epoch && g[i].Active() {
				if err := g[i].Merge(s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if got, err := g[1].Export("x", []byte("context"), 32); err != nil || !bytes.Equal(got, want) || !bytes.Equal(auth, g[1].EpochAuthenticator()) {
		t.Errorf("the epoch is another than what was staged: %v", err)
	}
	if _, err := c.Export("x", nil, 32); !errors.Is(err, ErrStale) || c.EpochAuthenticator() != nil {
		t.Errorf("export from a merged Commit: %v", err)
	}
}

// TestAddWithPSK: a Commit without a path that adds two with an external PSK, whose
// nonce is made on the way; each joiner finds the Welcome for it.
func TestAddWithPSK(t *testing.T) {
	g := pastGroup(t, 2)
	a := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "a"))
	b := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "b"))
	psk := PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("id")}}
	c, err := g[0].Commit(CommitOptions{Proposals: []Proposal{Add{a.KeyPackage}, Add{b.KeyPackage}, psk}, Path: PathIfRequired, JoinersPerWelcome: 1}, atTime)
	if err != nil {
		t.Fatal(err)
	}
	if c.HasPath() {
		t.Error("the Commit has a path")
	}
	if n := len(c.Proposals()[2].Proposal.(PreSharedKey).PSK.Nonce); n != 32 || psk.PSK.Nonce != nil {
		t.Errorf("nonce of %d bytes", n)
	}
	r, err := g[1].Read(c.Message(), atTime)
	if err != nil {
		t.Fatal(err)
	}
	if err := g[1].Merge(r.(*StagedCommit)); err != nil {
		t.Fatal(err)
	}
	w := c.Welcomes()
	if len(w) != 2 || !w[0].Answers(a.KeyPackage) || w[0].Answers(b.KeyPackage) || !w[1].Answers(b.KeyPackage) {
		t.Fatal("the Welcomes are not one for each joiner")
	}
	other := testKeyPackage(t, P256AES128GCM, testProfile(t, P256AES128GCM, "c"))
	if w[0].Answers(other.KeyPackage) || w[0].Answers(&KeyPackage{CipherSuite: 4}) {
		t.Error("a Welcome answers a KeyPackage of another suite")
	}
	for i, kp := range []*OwnKeyPackage{a, b} {
		n, err := Join(g[0].cfg, w[i], kp, JoinOptions{}, atTime)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(n.EpochAuthenticator(), g[1].EpochAuthenticator()) {
			t.Error("epochs differ")
		}
	}
}
