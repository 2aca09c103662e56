package audience

import (
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
)

// Sizes counts what a machine keeps.
func (m *Machine) Sizes() map[string]int {
	s := map[string]int{
		"outputs": len(m.queue), "offers": len(m.offers), "groups": len(m.groups), "tokens": len(m.tokens), "openings": len(m.direct),
		"bodies": len(m.bodies.list), "body bytes": m.bodies.size, "statements": len(m.known),
	}
	most := func(what string, n int) { s[what] = max(s[what], n) }
	for _, g := range m.groups {
		most("waiting", len(g.waiting))
		most("answers", len(g.answers))
		most("log", len(g.log))
		most("log bytes", g.logSize)
		most("digests", len(g.digests))
		most("former", len(g.former))
		most("branches", len(g.heal.views))
		most("ahead", len(g.heal.ahead))
		most("reports", len(g.reports))
		for _, r := range g.reports {
			most("reporters", len(r.by))
		}
	}
	for _, p := range m.places {
		most("foreign", len(p.foreign))
	}
	return s
}

// Copy returns a copy of the MLS group behind a group of ours, which checks
// nothing: what a hostile member has.
func (m *Machine) Copy(id envelope.GroupID, cfg *mls.Config) (*mls.Group, error) {
	b, err := m.groups[id].mls.Marshal()
	if err != nil {
		return nil, err
	}
	return mls.UnmarshalGroup(cfg, b)
}

// Profile is what our leaf shows.
func (m *Machine) Profile(cs mls.CipherSuite, l envelope.SottoLeaf) (mls.Profile, error) {
	return m.profile(cs, l)
}

// NewLifetime is that of KeyPackages made now.
var NewLifetime = lifetime

// Pending reports whether a Commit of ours waits to take effect.
func (m *Machine) Pending(id envelope.GroupID) bool {
	g := m.groups[id]
	return g != nil && g.pending != nil
}

// Rank is our own in a group.
func (m *Machine) Rank(now time.Time, id envelope.GroupID) int { return m.rank(now, m.groups[id]) }

// Padding is how much is put behind content of so many bytes.
func Padding(commit bool, size int) int {
	if commit {
		return padding(mls.ContentCommit, size)
	}
	return padding(mls.ContentApplication, size)
}

// Digest is D(e).
func Digest(id envelope.GroupID, epoch uint64, authenticator []byte) [32]byte {
	return digestOf(id, epoch, authenticator)
}

// RankOrder puts leaves that may all commit in the order of their ranks.
func RankOrder(authenticator []byte, leaves []uint32) (order []uint32) {
	g := &group{own: leaves[0], leaves: map[uint32]*leaf{}}
	for _, i := range leaves {
		g.leaves[i] = &leaf{index: i, rank: rankDigest(authenticator, i)}
	}
	for _, l := range (&Machine{}).ranks(time.Time{}, g) {
		order = append(order, l.index)
	}
	return order
}

// View is what a Beacon says of a history.
type View struct {
	Epoch uint64
	Now   [16]byte
	Past  [][8]byte
}

func (v View) view() *view { return &view{epoch: v.Epoch, now: v.Now, past: v.Past} }

// Compare holds two views against each other.
func Compare(own, peer View) (common, same bool) { return own.view().compare(peer.view()) }

// Outweighs is the rule of two groups.
func Outweighs(a int, aID envelope.GroupID, b int, bID envelope.GroupID) bool {
	return outweighs(a, aID, b, bID)
}

// ForkMoves reports whether a branch of this weight goes over to the one of others,
// who have sent these views.
func ForkMoves(own View, weight int, others []View) bool {
	b := &branch{}
	for i, v := range others {
		b.views, b.sessions = append(b.views, v.view()), append(b.sessions, uint32(i+1))
	}
	b.parting(own.view())
	return b.outweighs(weight)
}

// BeaconTrue reports whether a Beacon is signed with a leaf's key.
func BeaconTrue(cs mls.CipherSuite, key []byte, b envelope.Beacon) bool {
	return verify(cs, key, identity.LabelBeacon, b.SignedContent(), b.Signature)
}

// JudgeHello reports whether a Hello that comes from a session could be committed,
// as far as it alone shows.
func (m *Machine) JudgeHello(now time.Time, from uint32, body []byte) bool {
	q := &peer{session: from, hellos: bucket{rate: helloEvery, burst: helloBurst}}
	m.receivedHello(now, q, body)
	for _, h := range q.wishes {
		return m.check(now, q, h)
	}
	return false
}

// Offer puts a KeyPackage out as ours: for the own channel, or for a direct group.
func (m *Machine) Offer(now time.Time, own *mls.OwnKeyPackage, direct envelope.GroupID) {
	o := &offer{own: own, at: now, group: direct, to: 1}
	if direct.IsZero() {
		o.place = m.places[0]
	}
	m.offers = append(m.offers, o)
}

// Asked makes us ask to be added again, as who is behind or moves does: the next
// Welcome for an offer is wanted.
func (m *Machine) Asked(now time.Time) {
	m.places[0].joining = &joining{sentAt: now, placed: now, tries: 1, retryAt: now.Add(time.Minute)}
}

// Authenticator is the epoch_authenticator of a group that we are in.
func (m *Machine) Authenticator(id envelope.GroupID) []byte {
	return m.groups[id].mls.EpochAuthenticator()
}
