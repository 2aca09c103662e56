package mls

import (
	"bytes"
	"errors"
	"sync"
	"testing"
)

// fuzzGroup is made once for each process: the corpora hold no keys, but edits
// to messages that are made anew.
var fuzzGroup = sync.OnceValue(func() []*Group {
	var t fuzzTB
	g := testGroup(&t, X25519AES128GCM, 5)
	commitAll(&t, g, 0, CommitOptions{})
	return g
})

// fuzzTB stands in for a test where there is none.
type fuzzTB struct{ testing.TB }

func (*fuzzTB) Helper()           {}
func (*fuzzTB) Fatal(args ...any) { panic(args) }

// splice replaces del bytes at pos by ins.
func splice(b []byte, pos uint16, del uint8, ins []byte) []byte {
	from := int(pos) % (len(b) + 1)
	to := min(from+int(del), len(b))
	return append(append(bytes.Clone(b[:from]), ins...), b[to:]...)
}

// roundTrip checks that what decodes encodes to the same bytes.
func roundTrip[T any](t *testing.T, b []byte, decode func(*reader) T, encode func(T) []byte) {
	if v, err := parse(b, decode); err == nil {
		if got := encode(v); !bytes.Equal(got, b) {
			t.Errorf("decoded and encoded:\n%x\n%x", b, got)
		}
	} else if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v is neither malformed nor unsupported", err)
	}
}

func FuzzMessage(f *testing.F) {
	g := fuzzGroup()
	kp := testKeyPackage(&fuzzTB{}, X25519AES128GCM, testProfile(&fuzzTB{}, X25519AES128GCM, "x"))
	c, err := g[1].Commit(CommitOptions{Proposals: []Proposal{Add{kp.KeyPackage}}}, atTime)
	if err != nil {
		f.Fatal(err)
	}
	gi, err := g[1].ExternalGroupInfo(TreeInWelcome)
	if err != nil {
		f.Fatal(err)
	}
	h := hostile{Group: g[1], format: WireFormatPublicMessage}
	for _, m := range []*Message{c.Message(), {Welcome: c.Welcomes()[0]}, {GroupInfo: gi}, kp.Message(), h.commit(f)} {
		f.Add(m.Marshal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip(t, b, decodeMessage, (*Message).Marshal)
		if m, err := ParseMessage(b); err == nil && (m.Public != nil || m.Private != nil) {
			g[0].Read(m, atTime)
		}
	})
}

func FuzzParts(f *testing.F) {
	g := fuzzGroup()
	f.Add(uint8(0), g[0].tree.append(nil))
	f.Add(uint8(1), (&groupSecrets{joiner: make([]byte, 32), path: make([]byte, 32), psks: []PreSharedKeyID{{Type: PSKExternal, Nonce: []byte{1}}}}).append(nil))
	f.Add(uint8(2), g[0].tree.leaf(1).append(nil))
	f.Add(uint8(3), RequiredCapabilities{[]ExtensionType{1}, []ProposalType{2}, []CredentialType{3}}.Extension().Data)
	f.Add(uint8(4), ExternalSenders(ExternalSender{make([]byte, 32), X509Credential([]byte("a"), []byte("b"))}).Data)
	f.Fuzz(func(t *testing.T, what uint8, b []byte) {
		switch what % 6 {
		case 0:
			if tree, err := parseTree(suites[0], b); err == nil {
				if !bytes.Equal(tree.append(nil), b) {
					t.Error("tree changes")
				}
				tree.checkStructure()
				tree.hash()
			}
		case 1:
			roundTrip(t, b, decodeGroupSecrets, func(g *groupSecrets) []byte { return g.append(nil) })
		case 2:
			roundTrip(t, b, decodeLeafNode, func(l *LeafNode) []byte { l.encoded = nil; return l.append(nil) })
		case 3:
			roundTrip(t, b, decodeRequiredCapabilities, func(rc RequiredCapabilities) []byte { return rc.Extension().Data })
		case 4:
			roundTrip(t, b, decodeExternalSenders, func(s []ExternalSender) []byte { return ExternalSenders(s...).Data })
		case 5:
			roundTrip(t, b, decodeSenderData, func(d senderData) []byte { return d.append(nil) })
		}
	})
}

// FuzzState reads stored groups that were damaged.
func FuzzState(f *testing.F) {
	g := fuzzGroup()
	state, err := g[0].Marshal()
	if err != nil {
		f.Fatal(err)
	}
	m, err := g[1].Protect([]byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	c, err := g[0].Commit(CommitOptions{}, atTime)
	if err != nil {
		f.Fatal(err)
	}
	staged, err := c.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	kp, err := testKeyPackage(&fuzzTB{}, X25519AES128GCM, testProfile(&fuzzTB{}, X25519AES128GCM, "x")).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), uint8(1), []byte{1})
	f.Add(uint16(2), uint8(0), []byte{})
	f.Add(uint16(65000), uint8(9), []byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, pos uint16, del uint8, ins []byte) {
		if n, err := UnmarshalGroup(g[0].cfg, splice(state, pos, del, ins)); err == nil {
			n.Read(m, atTime)
			n.Commit(CommitOptions{}, atTime)
			if _, err := n.Marshal(); err != nil {
				t.Error(err)
			}
		}
		if c, err := g[0].UnmarshalStagedCommit(splice(staged, pos, del, ins)); err == nil {
			c.Members()
			c.Proposals()
		}
		UnmarshalOwnKeyPackage(splice(kp, pos, del, ins))
	})
}

// FuzzCommit edits a valid Commit of a member, signs it again and gives it a
// valid membership tag: everything behind the signature sees what is odd.
func FuzzCommit(f *testing.F) {
	g := fuzzGroup()
	kp := testKeyPackage(&fuzzTB{}, X25519AES128GCM, testProfile(&fuzzTB{}, X25519AES128GCM, "x")).KeyPackage
	f.Add(uint8(0), uint16(3), uint8(1), []byte{7})
	f.Add(uint8(1), uint16(0), uint8(0), []byte{})
	f.Add(uint8(2), uint16(300), uint8(2), []byte{0, 1})
	f.Add(uint8(3), uint16(900), uint8(16), []byte("something"))
	f.Fuzz(func(t *testing.T, kind uint8, pos uint16, del uint8, ins []byte) {
		h := hostile{Group: g[3], format: WireFormatPublicMessage}
		for i, p := range []Proposal{Add{kp}, Remove{1}, PreSharedKey{PreSharedKeyID{Type: PSKExternal, Nonce: make([]byte, 32)}}, GroupContextExtensions{}, ReInit{}} {
			if kind&(1<<i) != 0 {
				h.list = append(h.list, CommittedProposal{Proposal: p})
			}
		}
		edited := false
		h.content = func(a *authenticatedContent) {
			if c, err := parse(splice(a.content.Commit.append(nil), pos, del, ins), decodeCommit); err == nil {
				edited = !bytes.Equal(c.append(nil), a.content.Commit.append(nil))
				a.content.Commit = c
			}
		}
		m := h.commit(t)
		before, _ := g[0].Marshal()
		r, err := g[0].Read(m, atTime)
		if c, ok := r.(*StagedCommit); ok && edited && !c.RemovesUs() {
			// Some edits are harmless to the tree and the key schedule: a Commit
			// that is accepted must lead to the sender's epoch, as its tag says.
			t.Logf("accepted: %v", c.Proposals())
		}
		if after, _ := g[0].Marshal(); !bytes.Equal(before, after) {
			t.Errorf("the group changed (%v)", err)
		}
	})
}

// FuzzWelcome edits the tree in a Welcome that is otherwise right.
func FuzzWelcome(f *testing.F) {
	g := fuzzGroup()
	own := testKeyPackage(&fuzzTB{}, X25519AES128GCM, testProfile(&fuzzTB{}, X25519AES128GCM, "x"))
	f.Add(uint16(3), uint8(1), []byte{7})
	f.Add(uint16(0), uint8(0), []byte{})
	f.Add(uint16(900), uint8(40), []byte{})
	f.Fuzz(func(t *testing.T, pos uint16, del uint8, ins []byte) {
		var edited *tree
		h := hostileWelcome{signer: 3, tree: func(tr *tree) {
			if e, err := parseTree(tr.suite, splice(tr.append(nil), pos, del, ins)); err == nil {
				*tr = *e
				edited = e
			}
		}}
		w := h.make(t, g, own)
		n, err := Join(g[0].cfg, w, own, JoinOptions{}, atTime)
		if err == nil && edited != nil && !bytes.Equal(n.tree.append(nil), edited.append(nil)) {
			t.Error("joined another tree")
		}
	})
}
