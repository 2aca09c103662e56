package audience

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// draft is what a Commit is to hold.
type draft struct {
	removes []*leaf
	adds    []wish
	lock    bool
}

// size is how many proposals it is.
func (d *draft) size(g *group) int {
	n := len(d.gone(g)) + len(d.adds)
	if d.lock {
		n++
	}
	return n
}

// gone are the leaves that go: those to be removed, and those that are replaced.
func (d *draft) gone(g *group) []*leaf {
	list := slices.Clone(d.removes)
	for _, w := range d.adds {
		if old := g.bySession(w.peer.session); old != nil && !slices.Contains(list, old) {
			list = append(list, old)
		}
	}
	return list
}

// stage makes the Commit of a draft, and holds it against our own rules.
func (m *Machine) stage(now time.Time, g *group, d *draft) (*mls.StagedCommit, error) {
	var proposals []mls.Proposal
	gone := d.gone(g)
	for _, l := range gone {
		proposals = append(proposals, mls.Remove{Removed: mls.LeafIndex(l.index)})
	}
	for _, w := range d.adds {
		proposals = append(proposals, w.sound.Add())
	}
	if len(d.adds) > 0 && g.ext.Flags&envelope.FlagPSKRequired != 0 {
		proposals = append(proposals, mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: g.ext.PSKID[:]}})
	}
	if d.lock {
		proposals = append(proposals, m.lockProposal(g))
	}
	path := mls.PathAlways
	if len(d.adds) > 0 && len(gone) == 0 && !d.lock {
		path = mls.PathIfRequired
	}
	return m.stageProposals(now, g, proposals, path)
}

func (m *Machine) stageProposals(now time.Time, g *group, proposals []mls.Proposal, path mls.PathPolicy) (*mls.StagedCommit, error) {
	staged, err := g.mls.Commit(mls.CommitOptions{Proposals: proposals, Path: path, JoinersPerWelcome: maxJoiners}, now)
	if err != nil {
		return nil, err
	}
	if err := m.checkCommit(g, staged); err != nil {
		staged.Discard()
		return nil, err
	}
	return staged, nil
}

// sift takes those out of a draft whose KeyPackages are true and cannot be added, by
// themselves or beside earlier ones. One of them must not hold up who leaves, nor the
// others who want in.
func (m *Machine) sift(now time.Time, g *group, d *draft) {
	var good []wish
	for _, w := range d.adds {
		staged, err := m.stage(now, g, &draft{adds: append(slices.Clone(good), w)})
		if err != nil {
			m.stats.Invalid++
			w.peer.forget(g.place, w.leaf.Role)
			continue
		}
		staged.Discard()
		good = append(good, w)
	}
	d.adds = good
}
