package audience

import (
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Sizes counts what a machine keeps.
func (m *Machine) Sizes() map[string]int {
	s := map[string]int{
		"outputs": len(m.queue), "offers": len(m.offers), "groups": len(m.groups), "tokens": len(m.tokens), "openings": len(m.direct),
		"bodies": len(m.bodies.list), "body bytes": m.bodies.size, "statements": len(m.known), "seqs": len(m.seqs),
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
