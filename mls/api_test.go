package mls_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// TestAfterRemoval: a removed member gets an error from each method, and nothing.
func TestAfterRemoval(t *testing.T) {
	w := newWorld(t, mls.X25519AES128GCM, 3)
	gone := w.members[2]
	w.commit(0, mls.CommitOptions{Proposals: []mls.Proposal{mls.Remove{Removed: gone.OwnIndex()}}})
	m, err := w.members[0].Protect(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"Protect":           func() error { _, err := gone.Protect(nil, nil); return err },
		"Read":              func() error { _, err := gone.Read(m, now); return err },
		"Commit":            func() error { _, err := gone.Commit(mls.CommitOptions{}, now); return err },
		"Propose":           func() error { _, err := gone.Propose(mls.Remove{Removed: 0}, nil, now); return err },
		"ProposeUpdate":     func() error { _, err := gone.ProposeUpdate(nil, nil, now); return err },
		"Export":            func() error { _, err := gone.Export("x", nil, 1); return err },
		"GroupInfo":         func() error { _, err := gone.GroupInfo(mls.TreeElsewhere); return err },
		"ExternalGroupInfo": func() error { _, err := gone.ExternalGroupInfo(mls.TreeElsewhere); return err },
		"Branch":            func() error { _, err := gone.Branch(mls.GroupOptions{}, now); return err },
	} {
		if err := f(); !errors.Is(err, mls.ErrInactive) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if gone.ResumptionPSK() != nil || gone.RatchetTree() != nil || gone.Member(0) != nil || len(gone.Members()) > 0 {
		t.Error("something is left")
	}
	if again := w.again(gone); again.Active() {
		t.Error("active again after being stored")
	}
	if _, err := w.members[0].NewReInit(mls.GroupOptions{}, now); !errors.Is(err, mls.ErrUsage) {
		t.Error(err)
	}
}

// TestResumptionPSKs mixes a key of a former epoch in (RFC 9420 §8.6): members
// remember it, a joiner is given it by its application.
func TestResumptionPSKs(t *testing.T) {
	w := newWorld(t, mls.P256AES128GCM, 3)
	g := w.members[1]
	epoch, psk := g.Epoch(), g.ResumptionPSK()
	w.commit(0, mls.CommitOptions{})
	if bytes.Equal(psk, g.ResumptionPSK()) {
		t.Error("the resumption PSK stays")
	}
	asked := 0
	w.cfg.PSK = func(id mls.PreSharedKeyID) ([]byte, error) {
		asked++
		if id.Type != mls.PSKResumption || id.Epoch != epoch || !bytes.Equal(id.GroupID, g.ID()) {
			return nil, errors.New("another one")
		}
		return psk, nil
	}
	id := mls.PreSharedKeyID{Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: g.ID(), Epoch: epoch, Nonce: make([]byte, 32)}
	w.commit(2, mls.CommitOptions{Proposals: []mls.Proposal{mls.PreSharedKey{PSK: id}}}, newKeyPackage(t, w.cs, "joiner"))
	if asked != 1 {
		t.Errorf("asked %d times, want once, by the joiner", asked)
	}
	w.talk()
	id.Epoch, id.Nonce = 77, bytes.Repeat([]byte{1}, 32)
	if _, err := w.members[0].Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.PreSharedKey{PSK: id}}}, now); !errors.Is(err, mls.ErrPSK) {
		t.Error(err)
	}
	w.cfg.PSK = nil
	if _, err := w.members[0].Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.PreSharedKey{PSK: id}}}, now); !errors.Is(err, mls.ErrPSK) {
		t.Error(err)
	}
}

func TestPendingProposals(t *testing.T) {
	w := newWorld(t, mls.X25519AES128GCM, 4)
	send := func(by int, p mls.Proposal) {
		t.Helper()
		m, err := w.members[by].Propose(p, []byte("why"), now)
		if err != nil {
			t.Fatal(err)
		}
		w.deliver(by, m)
	}
	ext := mls.RequiredCapabilities{Credentials: []mls.CredentialType{mls.CredentialBasic}}.Extension()
	send(1, mls.ReInit{GroupID: []byte("x"), Version: mls.MLS10, CipherSuite: w.cs})
	send(1, mls.GroupContextExtensions{})
	send(2, mls.GroupContextExtensions{Extensions: []mls.Extension{ext}})
	send(2, mls.Remove{Removed: w.members[3].OwnIndex()})
	send(1, mls.Remove{Removed: w.members[3].OwnIndex()})
	send(1, mls.Remove{Removed: w.members[0].OwnIndex()})
	if n := len(w.members[0].Pending()); n != 6 {
		t.Fatalf("%d pending", n)
	}
	// Drop the last by hand; of the others the latest of each kind is taken, and
	// the reinit is not.
	last := w.members[0].Pending()[5]
	w.members[0].ForgetProposal(last.Ref)
	if n := len(w.members[0].Pending()); n != 5 {
		t.Errorf("%d pending after forgetting one", n)
	}
	c := w.commit(0, mls.CommitOptions{})
	if p := c.Proposals(); len(p) != 2 || p[0].Proposal.Type() != mls.ProposalGroupContextExtensions || p[1].Sender.Leaf != 1 || len(c.Extensions()) != 1 || !p[0].ByRef {
		t.Errorf("committed %v", p)
	}
	if w.members[0].Pending() == nil || len(w.members[0].Pending()) != 0 {
		t.Error("proposals outlive their epoch")
	}
	send(1, mls.ReInit{GroupID: []byte("x"), Version: mls.MLS10, CipherSuite: w.cs})
	send(2, mls.Remove{Removed: w.members[0].OwnIndex()})
	c, err := w.members[0].Commit(mls.CommitOptions{Pending: func(p mls.PendingProposal) bool { return p.Proposal.Type() == mls.ProposalReInit }}, now)
	if err != nil || c.ReInit() == nil || !c.HasPath() {
		t.Errorf("reinit alone: %v", err)
	}
	w.cfg.MaxProposals = 2
	if _, err := w.members[1].Propose(mls.Remove{Removed: 2}, nil, now); !errors.Is(err, mls.ErrUsage) {
		t.Errorf("a third proposal: %v", err)
	}
	for _, p := range []mls.Proposal{mls.ExternalInit{}, mls.Update{}, mls.Remove{Removed: 99}} {
		w.cfg.MaxProposals = 0
		if _, err := w.members[1].Propose(p, nil, now); err == nil {
			t.Errorf("%v is proposed", p)
		}
	}
}

func TestLimitsAndArguments(t *testing.T) {
	w := newWorld(t, mls.X25519AES128GCM, 2)
	g := w.members[0]
	twice := []mls.Extension{{Type: 0xf001}, {Type: 0xf001}}
	profile := newProfile(t, w.cs, "x")
	for name, err := range map[string]error{
		"export too long":     second(g.Export("x", nil, 255*32+1)),
		"export negative":     second(g.Export("x", nil, -1)),
		"aad too long":        second(g.Protect(nil, make([]byte, 1<<20+1))),
		"aad of a Commit":     second(g.Commit(mls.CommitOptions{AuthenticatedData: make([]byte, 1<<20+1)}, now)),
		"extension twice":     second(g.Commit(mls.CommitOptions{WelcomeExtensions: twice}, now)),
		"no signature key":    second(mls.NewKeyPackage(w.cs, mls.Profile{}, lifetime())),
		"KeyPackage twice":    second(mls.NewKeyPackage(w.cs, profile, lifetime(), twice...)),
		"group twice":         second(mls.NewGroup(w.cfg, mls.GroupOptions{CipherSuite: w.cs, Profile: profile, Lifetime: lifetime(), Extensions: twice}, now)),
		"group ID too long":   second(mls.NewGroup(w.cfg, mls.GroupOptions{CipherSuite: w.cs, ID: make([]byte, 1<<17), Profile: profile, Lifetime: lifetime()}, now)),
		"a nil proposal":      second(g.Commit(mls.CommitOptions{Proposals: make([]mls.Proposal, 1)}, now)),
		"an empty Add":        second(g.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{}}}, now)),
		"proposing nothing":   second(g.Propose(nil, nil, now)),
		"too many proposals":  second(g.Commit(mls.CommitOptions{Proposals: make([]mls.Proposal, 1001)}, now)),
		"foreign profile":     second(g.Commit(mls.CommitOptions{Profile: &mls.Profile{}}, now)),
		"foreign profile two": second(g.ProposeUpdate(&mls.Profile{}, nil, now)),
	} {
		if !errors.Is(err, mls.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mls.NewGroup(w.cfg, mls.GroupOptions{CipherSuite: w.cs, Profile: profile, Lifetime: mls.Lifetime{NotBefore: 1, NotAfter: 2}}, now); !errors.Is(err, mls.ErrLeafNode) {
		t.Errorf("expired founder: %v", err)
	}
	kp := newKeyPackage(t, w.cs, "y")
	if kp.Expired(now) || !kp.Expired(now.Add(48*time.Hour)) {
		t.Error("Expired is wrong")
	}
	p, err := mls.ParseKeyPackage(kp.KeyPackage.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.Ref()
	b, err := kp.KeyPackage.Ref()
	if err != nil || !bytes.Equal(a, b) || len(a) != 32 {
		t.Errorf("refs %x %x", a, b)
	}
	leaf, err := mls.ParseLeafNode(p.LeafNode.Marshal())
	if err != nil || !bytes.Equal(leaf.SignatureKey, p.LeafNode.SignatureKey) {
		t.Error(err)
	}
	ctx := g.Context()
	if ctx.Epoch != g.Epoch() || g.CipherSuite() != w.cs || len(ctx.Marshal()) < 60 {
		t.Error("context")
	}
}

func second[T any](_ T, err error) error { return err }

func TestExternalJoinRefusesBadGroupInfo(t *testing.T) {
	w := newWorld(t, mls.X25519AES128GCM, 3)
	p := newProfile(t, w.cs, "joiner")
	info := func() *mls.GroupInfo {
		gi, err := w.members[1].ExternalGroupInfo(mls.TreeInWelcome)
		if err != nil {
			t.Fatal(err)
		}
		return wire(t, &mls.Message{GroupInfo: gi}).GroupInfo
	}
	tree := w.members[0].RatchetTree()
	outside, err := w.members[1].ExternalGroupInfo(mls.TreeElsewhere)
	if err != nil {
		t.Fatal(err)
	}
	signature := info()
	signature.Signature[3] ^= 1
	other := newWorld(t, w.cs, 3).members[0].RatchetTree()
	blank := mls.LeafIndex(3)
	for name, c := range map[string]struct {
		gi   *mls.GroupInfo
		o    mls.ExternalOptions
		want error
	}{
		"signature":                  {signature, mls.ExternalOptions{Profile: p}, mls.ErrSignature},
		"no tree":                    {outside, mls.ExternalOptions{Profile: p}, mls.ErrGroupInfo},
		"tree of another group":      {outside, mls.ExternalOptions{Profile: p, RatchetTree: other}, mls.ErrSignature},
		"tree cut off":               {outside, mls.ExternalOptions{Profile: p, RatchetTree: tree[:len(tree)-1]}, mls.ErrMalformed},
		"no key":                     {info(), mls.ExternalOptions{}, mls.ErrUsage},
		"replacing a blank leaf":     {info(), mls.ExternalOptions{Profile: p, Replace: &blank}, mls.ErrProposal},
		"PSK that we do not have":    {info(), mls.ExternalOptions{Profile: p, PSKs: []mls.PreSharedKeyID{{Type: mls.PSKResumption, Usage: mls.ResumptionApplication}}}, mls.ErrPSK},
		"without the group's suites": {info(), mls.ExternalOptions{Profile: mls.Profile{Credential: p.Credential, SignatureKey: p.SignatureKey}}, mls.ErrLeafNode},
	} {
		if _, _, err := mls.JoinExternal(w.cfg, c.gi, c.o, now); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	cfg := testConfig()
	cfg.InUse = func([]byte) bool { return true }
	if _, _, err := mls.JoinExternal(cfg, info(), mls.ExternalOptions{Profile: p}, now); !errors.Is(err, mls.ErrGroupInfo) {
		t.Errorf("a group in use: %v", err)
	}
}
