package tsmls

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// counts is what happened in some histories.
type counts struct{ Ours, Theirs, External, Resync, Messages, Proposals, PSK, Epochs, Refused int }

func (c *counts) add(o counts) {
	c.Ours += o.Ours
	c.Theirs += o.Theirs
	c.External += o.External
	c.Resync += o.Resync
	c.Messages += o.Messages
	c.Proposals += o.Proposals
	c.PSK += o.PSK
	c.Epochs += o.Epochs
	c.Refused += o.Refused
}

// member is one of ours, with a group, or one of theirs, with a number.
type member struct {
	who   int
	name  string
	ours  *mls.Group
	key   *mls.OwnKeyPackage // of ours, before it joins
	kp    []byte
	leaf  uint32 // of theirs
	id    mls.Profile
	alive bool
}

type history struct {
	*testing.T
	counts
	peer    *peer
	rand    *rand.Rand
	cs      mls.CipherSuite
	cfg     *mls.Config
	now     time.Time
	members []*member
	next    int
	auth    []byte
	leaving *member // whom a pending proposal removes
}

func (h *history) ask(q question) answer { h.Helper(); return h.peer.ask(h, q) }

func (h *history) chance(percent int) bool { return h.rand.IntN(100) < percent }

func (h *history) play() {
	h.cs = suites[h.rand.IntN(len(suites))]
	h.now = time.Now()
	h.cfg = &mls.Config{
		Authenticate: func(mls.Identity) error { return nil },
		PSK: func(id mls.PreSharedKeyID) ([]byte, error) {
			if string(id.ID) != "phrase" {
				return nil, errors.New("unknown PSK")
			}
			return []byte("a key that both sides know"), nil
		},
	}
	h.ask(question{Op: "psk", Data: []byte("phrase"), Message: []byte("a key that both sides know")})
	defer func() {
		for who := range h.next {
			h.ask(question{Op: "drop", Who: who})
		}
	}()

	founder := h.newMember(h.chance(50))
	group := fmt.Appendf(nil, "history %d", h.rand.Uint64())
	if founder.key != nil {
		g, err := mls.NewGroup(h.cfg, mls.GroupOptions{CipherSuite: h.cs, ID: group, Profile: founder.id, Lifetime: h.lifetime()}, h.now)
		if err != nil {
			h.Fatal(err)
		}
		founder.ours, h.auth = g, g.EpochAuthenticator()
	} else {
		h.auth = h.ask(question{Op: "create", Who: founder.who, Group: group}).Authenticator
	}
	h.members = []*member{founder}
	h.commit(founder, 1+h.rand.IntN(4), nil)
	for range 4 + h.rand.IntN(9) {
		h.step()
	}
	for _, m := range h.members {
		h.talk(m)
	}
	if len(h.members) > 12 || len(h.members) < 2 {
		h.Errorf("%d members", len(h.members))
	}
}

func (h *history) lifetime() mls.Lifetime { return mls.LifetimeAround(h.now, time.Hour, 24*time.Hour) }

func (h *history) newMember(ours bool) *member {
	h.Helper()
	m := &member{who: h.next, name: fmt.Sprintf("member %d", h.next), alive: true}
	h.next++
	if !ours {
		m.kp = h.ask(question{Op: "new", Who: m.who, Name: m.name, Suite: h.cs.String(), Now: h.now.Unix()}).KeyPackage
		return m
	}
	k, err := mls.GenerateSignatureKey(h.cs)
	if err != nil {
		h.Fatal(err)
	}
	m.id = mls.Profile{Credential: mls.BasicCredential([]byte(m.name)), Capabilities: mls.DefaultCapabilities().WithGREASE(), SignatureKey: k}
	if m.key, err = mls.NewKeyPackage(h.cs, m.id, h.lifetime()); err != nil {
		h.Fatal(err)
	}
	m.kp = m.key.Message().Marshal()
	return m
}

func (h *history) any() *member { return h.members[h.rand.IntN(len(h.members))] }

func (m *member) index() uint32 {
	if m.ours != nil {
		return uint32(m.ours.OwnIndex())
	}
	return m.leaf
}

func (h *history) step() {
	by := h.any()
	switch h.rand.IntN(7) {
	case 0, 1:
		h.commit(by, h.rand.IntN(3), nil)
	case 2:
		if victim := h.any(); victim != by && len(h.members) > 2 {
			h.commit(by, h.rand.IntN(2), victim)
		}
	case 3:
		h.propose(by)
	case 4:
		h.external(by)
	default:
		h.talk(by)
	}
}

// commit has by add n members and remove one, perhaps with a PSK.
func (h *history) commit(by *member, n int, victim *member) {
	h.Helper()
	n = min(n, 12-len(h.members))
	var joiners []*member
	for range n {
		joiners = append(joiners, h.newMember(h.chance(50)))
	}
	psk, public := h.chance(20), h.chance(40)
	if psk {
		h.PSK++
	}
	var message, welcome []byte
	var merge func() []byte
	if by.ours != nil {
		h.Ours++
		h.cfg.Handshake = mls.WireFormatPrivateMessage
		if public {
			h.cfg.Handshake = mls.WireFormatPublicMessage
		}
		var o mls.CommitOptions
		if h.chance(50) {
			o.Path = mls.PathIfRequired
		}
		for _, j := range joiners {
			m, err := mls.ParseMessage(j.kp)
			if err != nil {
				h.Fatal(err)
			}
			o.Proposals = append(o.Proposals, mls.Add{KeyPackage: m.KeyPackage})
		}
		if victim != nil {
			o.Proposals = append(o.Proposals, mls.Remove{Removed: mls.LeafIndex(victim.index())})
		}
		if psk {
			o.Proposals = append(o.Proposals, mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: []byte("phrase"), Nonce: h.nonce()}})
		}
		c, err := by.ours.Commit(o, h.now)
		if err != nil {
			h.Fatal(err)
		}
		message = c.Message().Marshal()
		if w := c.Welcomes(); len(w) > 0 {
			welcome = (&mls.Message{Welcome: w[0]}).Marshal()
		}
		merge = func() []byte {
			if err := by.ours.Merge(c); err != nil {
				h.Fatal(err)
			}
			return by.ours.EpochAuthenticator()
		}
	} else {
		h.Theirs++
		q := question{Op: "commit", Who: by.who, Public: public}
		for _, j := range joiners {
			q.Adds = append(q.Adds, j.kp)
		}
		if victim != nil {
			q.Removes = []uint32{victim.index()}
		}
		if psk {
			q.PSKs, q.Nonce = [][]byte{[]byte("phrase")}, len(h.nonce())
		}
		a := h.ask(q)
		message, welcome = a.Message, a.Welcome
		merge = func() []byte { return h.ask(question{Op: "merge", Who: by.who}).Authenticator }
	}
	// ts-mls 1.6.4 does not notice its removal if the same Commit puts somebody
	// into its leaf, and fails; so it is not told then.
	for _, m := range []*member{victim, h.leaving} {
		if m != nil && m.ours == nil && n > 0 {
			m.alive = false
		}
	}
	h.leaving = nil
	h.deliver(by, message)
	h.auth = merge()
	for _, j := range joiners {
		h.join(j, welcome)
	}
	h.agree(by)
}

func (h *history) nonce() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(h.rand.Uint32())
	}
	return b
}

// deliver has all others read a message, and forgets those whom it removes.
func (h *history) deliver(by *member, message []byte) {
	h.Helper()
	for _, m := range h.members {
		if m == by || !m.alive {
			continue
		}
		if m.ours == nil {
			m.alive = h.ask(question{Op: "read", Who: m.who, Message: message}).Active
			continue
		}
		parsed, err := mls.ParseMessage(message)
		if err != nil {
			h.Fatal(err)
		}
		r, err := m.ours.Read(parsed, h.now)
		if err != nil {
			h.Fatalf("%s reads: %v", m.name, err)
		}
		if c, ok := r.(*mls.StagedCommit); ok {
			if err := m.ours.Merge(c); err != nil {
				h.Fatal(err)
			}
			m.alive = m.ours.Active()
		}
	}
	still := h.members[:0:0]
	for _, m := range h.members {
		if m.alive {
			still = append(still, m)
		}
	}
	h.members = still
}

func (h *history) join(j *member, welcome []byte) {
	h.Helper()
	if j.key == nil {
		a := h.ask(question{Op: "join", Who: j.who, Message: welcome})
		if a.Error != "" {
			h.Refused++ // it stays in the tree, and hears nothing
			return
		}
		j.leaf = a.Leaf
	} else {
		m, err := mls.ParseMessage(welcome)
		if err != nil {
			h.Fatal(err)
		}
		if j.ours, err = mls.Join(h.cfg, m.Welcome, j.key, mls.JoinOptions{}, h.now); err != nil {
			h.Fatalf("%s joins: %v", j.name, err)
		}
	}
	h.members = append(h.members, j)
}

// agree compares the epoch authenticators of all, through an empty talk of theirs.
func (h *history) agree(by *member) {
	h.Helper()
	h.Epochs++
	for _, m := range h.members {
		var auth []byte
		if m.ours != nil {
			auth = m.ours.EpochAuthenticator()
		} else {
			a := h.ask(question{Op: "told", Who: m.who})
			auth, m.leaf = a.Authenticator, a.Leaf
		}
		if !bytes.Equal(auth, h.auth) {
			h.Fatalf("%s does not agree with %s", m.name, by.name)
		}
	}
}

// propose sends an Update of ours, or a Remove of either side, which somebody
// else commits by reference.
func (h *history) propose(by *member) {
	h.Helper()
	var message []byte
	if by.ours != nil {
		h.cfg.Handshake = mls.WireFormatPrivateMessage
		m, err := by.ours.ProposeUpdate(nil, nil, h.now)
		if err != nil {
			h.Fatal(err)
		}
		message = m.Marshal()
	} else {
		victim := h.any()
		if victim == by || len(h.members) < 4 {
			return
		}
		h.leaving = victim
		message = h.ask(question{Op: "propose", Who: by.who, Removes: []uint32{victim.index()}, Public: h.chance(50)}).Message
	}
	h.Proposals++
	h.deliver(by, message)
	committer := h.any()
	for committer == by || committer == h.leaving {
		committer = h.any()
	}
	h.commit(committer, h.rand.IntN(2), nil)
}

// external has somebody join, or come back, with a GroupInfo of by.
func (h *history) external(by *member) {
	h.Helper()
	var info []byte
	if by.ours != nil {
		gi, err := by.ours.ExternalGroupInfo(mls.TreeInWelcome)
		if err != nil {
			h.Fatal(err)
		}
		info = (&mls.Message{GroupInfo: gi}).Marshal()
	} else {
		info = h.ask(question{Op: "info", Who: by.who}).Message
	}
	joiner, resync := h.newMember(h.chance(50)), false
	if victim := h.any(); h.chance(50) && victim != by {
		// One who lost its state, but for its signature key.
		joiner, resync = victim, true
		h.Resync++
	} else if len(h.members) >= 12 {
		return
	}
	h.External++
	at := mls.LeafIndex(joiner.index())
	var rest []*member
	for _, m := range h.members {
		if m != joiner {
			rest = append(rest, m)
		}
	}
	h.members = rest
	var message []byte
	if joiner.key != nil {
		m, err := mls.ParseMessage(info)
		if err != nil {
			h.Fatal(err)
		}
		o := mls.ExternalOptions{Profile: joiner.id}
		if resync {
			o.Replace = &at
		}
		g, commit, err := mls.JoinExternal(h.cfg, m.GroupInfo, o, h.now)
		if err != nil {
			h.Fatalf("%s joins externally: %v", joiner.name, err)
		}
		joiner.ours, message, h.auth = g, commit.Marshal(), g.EpochAuthenticator()
	} else {
		a := h.ask(question{Op: "external", Who: joiner.who, Message: info, Resync: resync})
		if a.Error != "" {
			h.Refused++
			if resync {
				h.members = append(h.members, joiner) // with the state it has still
			}
			return
		}
		message, h.auth, joiner.leaf = a.Message, a.Authenticator, a.Leaf
	}
	h.deliver(joiner, message)
	h.members = append(h.members, joiner)
	h.agree(joiner)
}

// talk sends a message that everybody reads.
func (h *history) talk(by *member) {
	h.Helper()
	h.Messages++
	text := fmt.Appendf(nil, "from %s, %d", by.name, h.rand.Uint64())
	var message []byte
	if by.ours != nil {
		m, err := by.ours.Protect(text, nil)
		if err != nil {
			h.Fatal(err)
		}
		message = m.Marshal()
	} else {
		message = h.ask(question{Op: "send", Who: by.who, Data: text}).Message
	}
	for _, m := range h.members {
		if m == by {
			continue
		}
		var got []byte
		if m.ours == nil {
			got = h.ask(question{Op: "read", Who: m.who, Message: message}).Data
		} else {
			parsed, err := mls.ParseMessage(message)
			if err != nil {
				h.Fatal(err)
			}
			r, err := m.ours.Read(parsed, h.now)
			if err != nil {
				h.Fatalf("%s reads %s: %v", m.name, by.name, err)
			}
			got = r.(*mls.ApplicationMessage).Data
		}
		if !bytes.Equal(got, text) {
			h.Fatalf("%s reads %q", m.name, got)
		}
	}
}
