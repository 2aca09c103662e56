package mls_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/sotto-voip/sotto/mls"
)

func eachSuite(t *testing.T, f func(*testing.T, mls.CipherSuite)) {
	for _, cs := range testSuites {
		t.Run(cs.String(), func(t *testing.T) { f(t, cs) })
	}
}

func TestLifeOfAGroup(t *testing.T) {
	eachSuite(t, func(t *testing.T, cs mls.CipherSuite) {
		w := newWorld(t, cs, 1)
		w.reload = true
		w.add(0, 1)
		w.talk()
		w.add(1, 3)
		w.talk()
		w.commit(2, mls.CommitOptions{})
		w.commit(0, mls.CommitOptions{Path: mls.PathIfRequired}, newKeyPackage(t, cs, "late"))
		w.talk()
		gone, before := w.members[1], len(w.members)
		c := w.commit(3, mls.CommitOptions{Proposals: []mls.Proposal{mls.Remove{Removed: gone.OwnIndex()}}})
		if len(c.Removed()) != 1 || len(w.members) != before-1 || w.members[0].Member(gone.OwnIndex()) != nil {
			t.Error("the removed member is still there")
		}
		w.talk()
		w.add(2, 2)
		w.commit(0, mls.CommitOptions{Tree: mls.TreeElsewhere, JoinersPerWelcome: 1}, newKeyPackage(t, cs, "a"), newKeyPackage(t, cs, "b"), newKeyPackage(t, cs, "c"))
		w.commit(1, mls.CommitOptions{Proposals: []mls.Proposal{mls.PreSharedKey{PSK: mls.PreSharedKeyID{
			Type: mls.PSKExternal, ID: []byte("phrase"), Nonce: make([]byte, 32)}}}}, newKeyPackage(t, cs, "d"))
		w.talk()
		t.Logf("%d members in epoch %d", len(w.members), w.members[0].Epoch())
	})
}

func TestProposalsByReference(t *testing.T) {
	eachSuite(t, func(t *testing.T, cs mls.CipherSuite) {
		for _, format := range []mls.WireFormat{mls.WireFormatPrivateMessage, mls.WireFormatPublicMessage} {
			w := newWorld(t, cs, 5)
			w.cfg.Handshake = format
			w.reload = true
			propose := func(by int, p mls.Proposal) {
				t.Helper()
				m, err := w.members[by].Propose(p, nil, now)
				if err != nil {
					t.Fatal(err)
				}
				w.deliver(by, m)
				w.agree()
			}
			update := func(by int) {
				t.Helper()
				m, err := w.members[by].ProposeUpdate(nil, []byte("aad"), now)
				if err != nil {
					t.Fatal(err)
				}
				w.deliver(by, m)
				w.agree()
			}
			joiner := newKeyPackage(t, cs, "joiner")
			propose(1, mls.Add{KeyPackage: joiner.KeyPackage})
			propose(2, mls.Remove{Removed: w.members[4].OwnIndex()})
			update(3)
			update(3) // the later one counts
			update(0) // the committer's own is left out
			if _, err := w.members[1].Protect(nil, nil); !errors.Is(err, mls.ErrUsage) {
				t.Errorf("application data before the Commit: %v", err)
			}
			before := len(w.members)
			c := w.commit(0, mls.CommitOptions{})
			if len(c.Proposals()) != 3 || len(c.Updated()) != 1 || len(c.Added()) != 1 || len(c.Removed()) != 1 {
				t.Errorf("committed %v", c.Proposals())
			}
			g, err := mls.Join(w.cfg, c.Welcomes()[0], joiner, mls.JoinOptions{}, now)
			if err != nil {
				t.Fatal(err)
			}
			w.members = append(w.members, g)
			if len(w.members) != before {
				t.Errorf("%d members", len(w.members))
			}
			w.agree()
			w.talk()
			w.commit(3, mls.CommitOptions{}) // the updated one, with its new keys
			w.talk()
		}
	})
}

func TestExternalJoinAndResync(t *testing.T) {
	eachSuite(t, func(t *testing.T, cs mls.CipherSuite) {
		w := newWorld(t, cs, 3)
		w.reload = true
		for _, tree := range []mls.TreePolicy{mls.TreeInWelcome, mls.TreeElsewhere} {
			gi, err := w.members[1].ExternalGroupInfo(tree)
			if err != nil {
				t.Fatal(err)
			}
			gi = wire(t, &mls.Message{GroupInfo: gi}).GroupInfo
			g, m, err := mls.JoinExternal(w.cfg, gi, mls.ExternalOptions{Profile: newProfile(t, cs, "external"), RatchetTree: w.members[0].RatchetTree(),
				PSKs: []mls.PreSharedKeyID{{Type: mls.PSKExternal, ID: []byte("x")}}}, now)
			if err != nil {
				t.Fatal(err)
			}
			w.deliver(-1, m)
			w.members = append(w.members, g)
			w.agree()
			w.talk()
		}

		// Member 2 lost its state but for its signature key, and comes back.
		lost := w.members[2]
		gi, err := w.members[0].ExternalGroupInfo(mls.TreeInWelcome)
		if err != nil {
			t.Fatal(err)
		}
		at := lost.OwnIndex()
		p := newProfile(t, cs, "member 2")
		g, m, err := mls.JoinExternal(w.cfg, gi, mls.ExternalOptions{Profile: p, Replace: &at}, now)
		if err != nil {
			t.Fatal(err)
		}
		r, err := lost.Read(wire(t, m), now)
		if err != nil || !r.(*mls.StagedCommit).RemovesUs() {
			t.Errorf("the old self reads %v, %v", r, err)
		}
		w.members = append(w.members[:2], w.members[3:]...)
		w.deliver(-1, m)
		w.members = append(w.members, g)
		w.agree()
		w.talk()
		w.commit(len(w.members)-1, mls.CommitOptions{})
		if gi, err := w.members[0].GroupInfo(mls.TreeInWelcome); err != nil {
			t.Error(err)
		} else if _, _, err := mls.JoinExternal(w.cfg, gi, mls.ExternalOptions{Profile: p}, now); !errors.Is(err, mls.ErrGroupInfo) {
			t.Errorf("join without external_pub: %v", err)
		}
	})
}

func TestProposalsFromOutside(t *testing.T) {
	cs := mls.X25519AES128GCM
	k, err := mls.GenerateSignatureKey(cs)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, cs, 3)
	ext := mls.ExternalSenders(mls.ExternalSender{SignatureKey: k.Public(), Credential: mls.BasicCredential([]byte("server"))})
	w.commit(0, mls.CommitOptions{Proposals: []mls.Proposal{mls.GroupContextExtensions{Extensions: []mls.Extension{ext}}}})
	g := w.members[0]
	m, err := mls.ProposeExternal(cs, k, 0, g.ID(), g.Epoch(), mls.Remove{Removed: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(-1, m)
	joiner := newKeyPackage(t, cs, "asks to join")
	if m, err = mls.ProposeJoin(joiner, g.ID(), g.Epoch()); err != nil {
		t.Fatal(err)
	}
	w.deliver(-1, m)
	c := w.commit(2, mls.CommitOptions{})
	if len(c.Removed()) != 1 || len(c.Added()) != 1 {
		t.Errorf("committed %v", c.Proposals())
	}
	if _, err := mls.Join(w.cfg, c.Welcomes()[0], joiner, mls.JoinOptions{}, now); err != nil {
		t.Error(err)
	}
	for _, bad := range []struct {
		index uint32
		p     mls.Proposal
		want  error
	}{{1, mls.Remove{Removed: 0}, mls.ErrSender}, {0, mls.Remove{Removed: 77}, mls.ErrProposal}} {
		m, err := mls.ProposeExternal(cs, k, bad.index, g.ID(), g.Epoch(), bad.p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.members[0].Read(m, now); !errors.Is(err, bad.want) {
			t.Errorf("got %v, want %v", err, bad.want)
		}
	}
	if _, err := mls.ProposeExternal(cs, k, 0, g.ID(), g.Epoch(), mls.ExternalInit{}); !errors.Is(err, mls.ErrUsage) {
		t.Error(err)
	}
}

func TestReInitAndBranch(t *testing.T) {
	eachSuite(t, func(t *testing.T, cs mls.CipherSuite) {
		w := newWorld(t, cs, 3)
		old := append([]*mls.Group(nil), w.members...)

		branch, err := old[1].Branch(mls.GroupOptions{Profile: newProfile(t, cs, "member 1"), Lifetime: lifetime()}, now)
		if err != nil {
			t.Fatal(err)
		}
		joiner := newKeyPackage(t, cs, "member 2")
		c, err := branch.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: joiner.KeyPackage}}}, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mls.Join(w.cfg, c.Welcomes()[0], joiner, mls.JoinOptions{}, now); !errors.Is(err, mls.ErrWelcome) {
			t.Errorf("branch without the old group: %v", err)
		}
		b, err := mls.Join(w.cfg, c.Welcomes()[0], joiner, mls.JoinOptions{From: old[2]}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := branch.Merge(c); err != nil || !bytes.Equal(b.EpochAuthenticator(), branch.EpochAuthenticator()) {
			t.Errorf("branch: %v", err)
		}
		foreign, err := old[1].Branch(mls.GroupOptions{Profile: newProfile(t, cs, "member 1"), Lifetime: lifetime()}, now)
		if err != nil {
			t.Fatal(err)
		}
		stranger := newKeyPackage(t, cs, "stranger")
		if c, err = foreign.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: stranger.KeyPackage}}}, now); err != nil {
			t.Fatal(err)
		}
		if _, err := mls.Join(w.cfg, c.Welcomes()[0], stranger, mls.JoinOptions{From: old[2]}, now); !errors.Is(err, mls.ErrWelcome) {
			t.Errorf("branch with a stranger: %v", err)
		}

		re := mls.ReInit{GroupID: []byte("the next group"), Version: mls.MLS10, CipherSuite: cs}
		w.commit(0, mls.CommitOptions{Proposals: []mls.Proposal{re}})
		for i, g := range old {
			if g.Active() || g.Reinitialized() == nil {
				t.Errorf("member %d goes on after a reinit", i)
			}
			if _, err := g.Protect(nil, nil); !errors.Is(err, mls.ErrInactive) {
				t.Error(err)
			}
		}
		next, err := old[1].NewReInit(mls.GroupOptions{Profile: newProfile(t, cs, "member 1"), Lifetime: lifetime()}, now)
		if err != nil {
			t.Fatal(err)
		}
		var joiners []*mls.OwnKeyPackage
		var adds []mls.Proposal
		for _, i := range []int{0, 2} {
			k := newKeyPackage(t, cs, fmt.Sprintf("member %d", i))
			joiners, adds = append(joiners, k), append(adds, mls.Add{KeyPackage: k.KeyPackage})
		}
		// All must be in it.
		short, err := next.Commit(mls.CommitOptions{Proposals: adds[:1]}, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mls.Join(w.cfg, short.Welcomes()[0], joiners[0], mls.JoinOptions{From: old[0]}, now); !errors.Is(err, mls.ErrWelcome) {
			t.Errorf("reinit without a member: %v", err)
		}
		if c, err = next.Commit(mls.CommitOptions{Proposals: adds}, now); err != nil {
			t.Fatal(err)
		}
		if err := next.Merge(c); err != nil {
			t.Fatal(err)
		}
		for k, i := range []int{0, 2} {
			n, err := mls.Join(w.cfg, c.Welcomes()[0], joiners[k], mls.JoinOptions{From: old[i]}, now)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(n.EpochAuthenticator(), next.EpochAuthenticator()) || string(n.ID()) != "the next group" {
				t.Error("the new group differs")
			}
		}
	})
}
