package mls

import (
	"bytes"
	"errors"
	"testing"
)

// TestProposalsThatNobodyCanRead: what others cannot decode, or would take for
// something else than we do, is an error before it is sent.
func TestProposalsThatNobodyCanRead(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 3)
	kp := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "new")).KeyPackage
	twice := []Extension{{0xf001, nil}, {0xf001, []byte("b")}}
	var many []Extension
	var types []ExtensionType
	for i := range 2000 {
		types = append(types, ExtensionType(i))
		many = append(many, Extension{Type: ExtensionType(i)})
	}
	for name, p := range map[string]Proposal{
		"nil":                    nil,
		"pointer to an Add":      &Add{kp},
		"nil pointer":            (*Remove)(nil),
		"pointer to a Remove":    &Remove{2},
		"Add of nothing":         Add{},
		"Add without a leaf":     Add{&KeyPackage{}},
		"PSK of no type":         PreSharedKey{},
		"PSK of no usage":        PreSharedKey{PreSharedKeyID{Type: PSKResumption}},
		"an extension twice":     GroupContextExtensions{twice},
		"an extension twice (2)": ReInit{Version: MLS10, CipherSuite: 1, Extensions: twice},
		"too many extensions":    GroupContextExtensions{many},
		"too many types":         GroupContextExtensions{[]Extension{RequiredCapabilities{Extensions: types}.Extension()}},
		"required capabilities":  GroupContextExtensions{[]Extension{{ExtensionRequiredCapabilities, []byte{1}}}},
	} {
		before, _ := g[0].Marshal()
		if _, err := g[0].Commit(CommitOptions{Proposals: []Proposal{p}}, atTime); err == nil {
			t.Errorf("Commit: %s is sent", name)
		}
		if _, err := g[0].Propose(p, nil, atTime); err == nil {
			t.Errorf("Propose: %s is sent", name)
		}
		if after, _ := g[0].Marshal(); !bytes.Equal(before, after) {
			t.Errorf("%s: the group changed", name)
		}
		k := g[0].signer
		if p != nil && name != "nil pointer" && p.Type().allowedExternal() && name != "required capabilities" && name != "too many types" {
			if _, err := ProposeExternal(X25519AES128GCM, k, 0, g[0].ID(), 0, p); err == nil {
				t.Errorf("ProposeExternal: %s is sent", name)
			}
		}
	}
	p := testProfile(t, X25519AES128GCM, "x")
	p.Credential.Type = 0x0a0a
	p.Capabilities.Credentials = append(p.Capabilities.Credentials, 0x0a0a)
	if _, err := NewKeyPackage(X25519AES128GCM, p, testLifetime); !errors.Is(err, ErrUsage) {
		t.Errorf("a credential that nobody can decode: %v", err)
	}
	p = testProfile(t, X25519AES128GCM, "x")
	p.Capabilities.Extensions = types
	if _, err := NewKeyPackage(X25519AES128GCM, p, testLifetime); !errors.Is(err, ErrUsage) {
		t.Errorf("capabilities that nobody decodes: %v", err)
	}
	if _, err := g[0].Commit(CommitOptions{Profile: &p}, atTime); err == nil {
		t.Error("a leaf that nobody decodes is sent")
	}
}

// TestEmptyPSK: a key of no bytes is no key.
func TestEmptyPSK(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 2)
	g[0].cfg.PSK = func(PreSharedKeyID) ([]byte, error) { return []byte{}, nil }
	psk := PreSharedKey{PreSharedKeyID{Type: PSKExternal, ID: []byte("x")}}
	if _, err := g[0].Commit(CommitOptions{Proposals: []Proposal{psk}}, atTime); !errors.Is(err, ErrPSK) {
		t.Errorf("got %v", err)
	}
}

// TestPendingThatDoNotFit: proposals of a hostile member that cannot be committed,
// and two that exclude each other, do not keep us from committing the others.
func TestPendingThatDoNotFit(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 5)
	read := func(from *Group, p Proposal) {
		t.Helper()
		a := &authenticatedContent{wireFormat: WireFormatPrivateMessage, content: FramedContent{
			GroupID: from.ctx.GroupID, Epoch: from.ctx.Epoch, Sender: Sender{Type: SenderMember, Leaf: from.own},
			ContentType: ContentProposal, Proposal: p,
		}}
		var err error
		if a.signature, err = from.suite.signWithLabel(from.signer, "FramedContentTBS", a.tbs(from.context)); err != nil {
			t.Fatal(err)
		}
		m, err := from.protect(a, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range g {
			if r == from {
				r.remember(a)
			} else if _, err := r.Read(m, atTime); err != nil {
				t.Fatal(err)
			}
		}
	}
	unsigned := *testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "eve")).KeyPackage
	unsigned.Signature = make([]byte, 64)
	bob := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "bob")).KeyPackage
	read(g[4], Add{&unsigned})
	read(g[1], Add{bob})
	read(g[4], GroupContextExtensions{[]Extension{{0xf777, nil}}}) // that nobody supports
	read(g[2], Add{bob})
	read(g[1], Remove{3})
	for range 3 {
		again := *testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "eve")).KeyPackage
		again.Signature = make([]byte, 64)
		read(g[4], Add{&again})
	}
	c, err := g[0].Commit(CommitOptions{}, atTime)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Proposals()
	if len(got) != 2 || got[0].Proposal.(Add).KeyPackage != g[0].proposals[1].content.content.Proposal.(Add).KeyPackage || got[1].Proposal != (Remove{3}) {
		t.Errorf("committed %v", got)
	}
	if _, err := g[1].Read(c.Message(), atTime); err != nil {
		t.Error(err)
	}
	if _, err := g[0].Commit(CommitOptions{Pending: func(PendingProposal) bool { return true }}, atTime); err == nil {
		t.Error("what the caller chose is left out in silence")
	}
}

// TestContinuationWithoutItsPSK: one who expects a group that continues another is
// not led into one that only says so (RFC 9420 §11.2, §11.3).
func TestContinuationWithoutItsPSK(t *testing.T) {
	g := testGroup(t, X25519AES128GCM, 3)
	own := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "joiner"))
	old := testGroup(t, X25519AES128GCM, 1)[0]
	h := hostileWelcome{}
	w := h.make(t, g, own)
	if _, err := Join(hostileConfig(), w, own, JoinOptions{From: old}, atTime); !errors.Is(err, ErrWelcome) {
		t.Errorf("got %v", err)
	}
	h.secrets = func(gs *groupSecrets) {
		gs.psks = []PreSharedKeyID{{Type: PSKResumption, Usage: ResumptionApplication, GroupID: old.ctx.GroupID, Epoch: old.ctx.Epoch, Nonce: make([]byte, 32)}}
	}
	if _, err := Join(hostileConfig(), h.make(t, g, own), own, JoinOptions{From: old}, atTime); err == nil {
		t.Error("an application PSK passes for a branch")
	}
}
