package mls

import (
	"bytes"
	"errors"
	"testing"
)

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
