package audience_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// testPSK is the secret of these tests for a psk_id.
func testPSK(secret string, id []byte) []byte {
	sum := sha256.Sum256(append([]byte(secret), id...))
	return sum[:]
}

// lenient is the configuration of a member that checks nothing.
var lenient = &mls.Config{
	Authenticate: func(mls.Identity) error { return nil },
	PSK: func(id mls.PreSharedKeyID) ([]byte, error) {
		if id.Type != mls.PSKExternal {
			return nil, errors.New("not external")
		}
		return testPSK("secret", id.ID), nil
	},
	MaxProposals: 4096, MaxLifetime: -1,
}

// hostile is a member that makes Commits with mls itself.
type hostile struct {
	*person
	t  testing.TB
	id envelope.GroupID
	g  *mls.Group
}

func (p *person) turnHostile(t testing.TB) *hostile {
	t.Helper()
	e, ok := p.home()
	if !ok {
		t.Fatal("no member")
	}
	g, err := p.m.Copy(e.Group, lenient)
	if err != nil {
		t.Fatal(err)
	}
	return &hostile{p, t, e.Group, g}
}

// commit makes a Commit of proposals and sends it to all others.
func (x *hostile) commit(o mls.CommitOptions) *mls.StagedCommit {
	x.t.Helper()
	c, err := x.g.Commit(o, x.h.now)
	if err != nil {
		x.t.Fatal(err)
	}
	x.send(envelope.Object{Kind: envelope.KindMLSMessage, Body: c.Message().Marshal()})
	return c
}

// send brings an object to all others, in the order.
func (x *hostile) send(o envelope.Object) {
	var to []uint32
	for _, s := range x.h.sessions() {
		if s != x.session {
			to = append(to, s)
		}
	}
	x.h.relay(x.person, audience.Send{To: to, Object: o})
}

// keyPackage makes one for a session that nobody has; change makes it bad.
func (x *hostile) keyPackage(session uint32, change func(l *envelope.SottoLeaf, p *mls.Profile)) *mls.KeyPackage {
	x.t.Helper()
	return x.keyPackageOf(session, audience.NewLifetime(x.h.now), change)
}

// keyPackageOf is keyPackage with another lifetime.
func (x *hostile) keyPackageOf(session uint32, life mls.Lifetime, change func(l *envelope.SottoLeaf, p *mls.Profile)) *mls.KeyPackage {
	x.t.Helper()
	cs := x.g.CipherSuite()
	key, err := mls.GenerateSignatureKey(cs)
	if err != nil {
		x.t.Fatal(err)
	}
	var id [32]byte
	copy(id[:], fmt.Sprint("new ", session))
	l := envelope.SottoLeaf{Server: server, Session: session, Audience: envelope.AudienceChannel, Channel: x.channel}
	p, err := x.m.Profile(cs, l)
	if err != nil {
		x.t.Fatal(err)
	}
	p.SignatureKey = key
	p.Credential = mls.BasicCredential(statement(id, id, key.Public(), server, session))
	if change != nil {
		change(&l, &p)
	}
	if p.Extensions != nil {
		p.Extensions = []mls.Extension{{Type: mls.ExtensionType(envelope.ExtensionLeaf), Data: l.Append(nil)}}
	}
	own, err := mls.NewKeyPackage(cs, p, life)
	if err != nil {
		x.t.Fatal(err)
	}
	return own.KeyPackage
}

func (x *hostile) add(session uint32, change func(l *envelope.SottoLeaf, p *mls.Profile)) mls.Proposal {
	return mls.Add{KeyPackage: x.keyPackage(session, change)}
}

// policy is a GroupContextExtensions with a changed sotto_group.
func (x *hostile) policy(change func(*envelope.SottoGroup)) mls.Proposal {
	list := append([]mls.Extension{}, x.g.Context().Extensions...)
	for i, e := range list {
		if e.Type == mls.ExtensionType(envelope.ExtensionGroup) {
			ext, err := envelope.ParseSottoGroup(e.Data)
			if err != nil {
				x.t.Fatal(err)
			}
			change(&ext)
			list[i].Data = ext.Append(nil)
		}
	}
	return mls.GroupContextExtensions{Extensions: list}
}

func (x *hostile) psk(id []byte) mls.Proposal {
	return mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: id}}
}

// meeting brings n people together in channel 3.
func meeting(t testing.TB, seed uint64, regime audience.Regime, suite mls.CipherSuite, n int) (*hall, []*person) {
	t.Helper()
	h := newHall(t, seed, regime, suite)
	var all []*person
	for range n {
		all = append(all, h.arrive(3))
	}
	h.until(90*time.Second, "all together", func() bool { return together(all...) })
	return h, all
}

func (p *person) count(code string) int {
	n := 0
	for _, x := range p.notices {
		if x.Code == code {
			n++
		}
	}
	return n
}
