package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func hostileConfig() *Config {
	return &Config{Authenticate: func(id Identity) error {
		if string(id.Credential.Identity) == "nobody" {
			return errors.New("nobody is not welcome")
		}
		return nil
	}, PSK: func(id PreSharedKeyID) ([]byte, error) { return []byte("psk of " + string(id.ID)), nil }}
}

func testProfile(t testing.TB, cs CipherSuite, name string) Profile {
	t.Helper()
	k, err := GenerateSignatureKey(cs)
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultCapabilities()
	c.Extensions = []ExtensionType{0xf001}
	return Profile{Credential: BasicCredential([]byte(name)), Capabilities: c, SignatureKey: k}
}

var testLifetime = LifetimeAround(atTime, time.Hour, time.Hour)

func testKeyPackage(t testing.TB, cs CipherSuite, p Profile) *OwnKeyPackage {
	t.Helper()
	o, err := NewKeyPackage(cs, p, testLifetime)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// testGroup is a group of n members in epoch 2, whose paths are filled as far
// as two Commits do.
func testGroup(t testing.TB, cs CipherSuite, n int) []*Group {
	t.Helper()
	cfg := hostileConfig()
	g, err := NewGroup(cfg, GroupOptions{CipherSuite: cs, Profile: testProfile(t, cs, "member 0"), Lifetime: testLifetime}, atTime)
	if err != nil {
		t.Fatal(err)
	}
	members := []*Group{g}
	var o CommitOptions
	var kps []*OwnKeyPackage
	for i := 1; i < n; i++ {
		kp := testKeyPackage(t, cs, testProfile(t, cs, fmt.Sprintf("member %d", i)))
		kps = append(kps, kp)
		o.Proposals = append(o.Proposals, Add{kp.KeyPackage})
	}
	c, err := g.Commit(o, atTime)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Welcomes()
	if err := g.Merge(c); err != nil {
		t.Fatal(err)
	}
	for _, kp := range kps {
		m, err := Join(cfg, w[0], kp, JoinOptions{}, atTime)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	if n > 1 {
		commitAll(t, members, n-1, CommitOptions{})
	}
	return members
}

func commitAll(t testing.TB, members []*Group, by int, o CommitOptions) {
	t.Helper()
	c, err := members[by].Commit(o, atTime)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Message()
	for i, g := range members {
		if i == by {
			err = g.Merge(c)
		} else {
			var r Received
			if r, err = g.Read(m, atTime); err == nil {
				err = g.Merge(r.(*StagedCommit))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// hostile makes Commits that [Group.Commit] would not: it checks nothing, keeps
// the key schedule right, so that a receiver that lets the offence pass accepts
// the whole Commit, and calls the hooks that are set on the way.
type hostile struct {
	*Group
	list      []CommittedProposal
	noPath    bool
	sender    *Sender
	leaf      func(*LeafNode)                  // before it is signed, with the right parent hash
	leafAfter func(*LeafNode)                  // after it is signed
	path      func(*UpdatePath)                // after sealing
	sealed    func(*UpdatePath, *tree, []byte) // the same, with what it was sealed with
	content   func(*authenticatedContent)      // before it is signed
	auth      func(*authenticatedContent)      // after tag and signature
	init      secret
	signer    *SignaturePrivateKey
	format    WireFormat
}

func (h *hostile) commit(t testing.TB) *Message {
	t.Helper()
	s := h.suite
	sender := Sender{Type: SenderMember, Leaf: h.own}
	if h.sender != nil {
		sender = *h.sender
	}
	ch := &change{tree: h.tree.clone(), ext: h.ctx.Extensions}
	commit := &Commit{}
	var psks []PreSharedKeyID
	for _, p := range h.list {
		switch q := p.Proposal.(type) {
		case GroupContextExtensions:
			ch.ext = q.Extensions
		case PreSharedKey:
			psks = append(psks, q.PSK)
		}
		if p.ByRef {
			k := slices.IndexFunc(h.proposals, func(c cachedProposal) bool { return c.content.content.Proposal == p.Proposal })
			commit.Proposals = append(commit.Proposals, ProposalOrRef{Reference: h.proposals[k].ref})
		} else {
			commit.Proposals = append(commit.Proposals, ProposalOrRef{Proposal: p.Proposal})
		}
	}
	for _, p := range h.list {
		if u, ok := p.Proposal.(Update); ok && p.Sender.Type == SenderMember {
			ch.tree.update(p.Sender.Leaf, u.LeafNode)
		}
	}
	for _, p := range h.list {
		if r, ok := p.Proposal.(Remove); ok && ch.tree.leaf(r.Removed) != nil {
			ch.tree.leaves[r.Removed] = nil
			ch.tree.blankDirectPath(r.Removed)
		}
	}
	ch.tree.truncate()
	for _, p := range h.list {
		if a, ok := p.Proposal.(Add); ok {
			ch.addedLeaves = append(ch.addedLeaves, ch.tree.add(a.KeyPackage.LeafNode))
		}
	}
	next := h.successor(ch)
	commitSecret := s.zero()
	signer := h.Group.signer
	if h.signer != nil {
		signer = h.signer
	}
	at := h.own
	if sender.Type == SenderNewMemberCommit {
		at = ch.tree.emptyLeaf()
	}
	if !h.noPath {
		template := *h.tree.leaf(h.own)
		if sender.Type == SenderNewMemberCommit {
			template.SignatureKey = signer.public
		}
		p, err := ch.tree.renew(at, &template, signer, h.ctx.GroupID)
		if err != nil {
			t.Fatal(err)
		}
		if h.leaf != nil {
			h.leaf(p.leaf)
			if err := p.leaf.sign(s, signer, h.ctx.GroupID, at); err != nil {
				t.Fatal(err)
			}
		}
		if h.leafAfter != nil {
			h.leafAfter(p.leaf)
		}
		ch.tree.setLeaf(at, p.leaf)
		next.ctx.TreeHash = ch.tree.hash()
		if commit.Path, err = p.seal(ch.tree, ch.addedLeaves, next.ctx.append(nil)); err != nil {
			t.Fatal(err)
		}
		commitSecret = p.commitSecret
		if h.path != nil {
			h.path(commit.Path)
		}
		if h.sealed != nil {
			h.sealed(commit.Path, ch.tree, next.ctx.append(nil))
		}
	} else {
		next.ctx.TreeHash = ch.tree.hash()
	}
	a := &authenticatedContent{wireFormat: WireFormatPrivateMessage, content: FramedContent{
		GroupID: h.ctx.GroupID, Epoch: h.ctx.Epoch, Sender: sender, ContentType: ContentCommit, Commit: commit}}
	if h.format != 0 {
		a.wireFormat = h.format
	}
	if h.content != nil {
		h.content(a)
	}
	var err error
	if a.signature, err = s.signWithLabel(signer, "FramedContentTBS", a.tbs(h.context)); err != nil {
		t.Fatal(err)
	}
	next.ctx.ConfirmedTranscriptHash = s.confirmedTranscriptHash(h.interim, a)
	context := next.ctx.append(nil)
	var keys []secret
	for i := range psks {
		k, err := h.lookupPSK(&psks[i])
		if err != nil {
			k = secret("none")
		}
		keys = append(keys, k)
	}
	init := h.secrets.init
	if h.init != nil {
		init = h.init
	}
	joiner := s.joinerSecret(init, commitSecret, context)
	n := s.startEpoch(s.memberSecret(joiner, s.pskSecret(psks, keys)), context)
	a.tag = s.mac(n.confirmation, next.ctx.ConfirmedTranscriptHash)
	if h.auth != nil {
		h.auth(a)
	}
	m, err := h.protect(a, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// refuse feeds m to g, over the wire, and checks the error and that the group
// stays as it was, byte for byte.
func refuse(t testing.TB, g *Group, m *Message, want error) {
	t.Helper()
	before, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseMessage(m.Marshal())
	if err == nil {
		_, err = g.Read(n, atTime)
	}
	t.Log(err)
	if list, ok := want.(anyOf); ok {
		if !slices.ContainsFunc(list, func(e error) bool { return errors.Is(err, e) }) {
			t.Errorf("got %v", err)
		}
	} else if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	var rule *RuleError
	if err != nil && !errors.As(err, &rule) {
		t.Errorf("%v names no rule", err)
	}
	after, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Errorf("the group changed")
	}
}
