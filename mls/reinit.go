package mls

import (
	"bytes"
	"slices"
	"time"
)

// link ties a new group to the one it continues (RFC 9420 §11.2, §11.3): its
// first Commit carries the old group's resumption PSK.
type link struct {
	usage   ResumptionPSKUsage
	groupID []byte
	epoch   uint64
	psk     secret
}

// permits reports whether a PSK with usage reinit or branch belongs to this group.
func (l *link) permits(id *PreSharedKeyID) bool {
	return l != nil && id.Type == PSKResumption && id.Usage == l.usage && id.Epoch == l.epoch && bytes.Equal(id.GroupID, l.groupID)
}

func (l *link) id(s *suite) PreSharedKeyID {
	return PreSharedKeyID{Type: PSKResumption, Usage: l.usage, GroupID: l.groupID, Epoch: l.epoch, Nonce: random(s.nh)}
}

func (g *Group) linkTo(usage ResumptionPSKUsage) *link {
	return &link{usage, g.ctx.GroupID, g.ctx.Epoch, bytes.Clone(g.secrets.resumption)}
}

// Reinitialized returns the parameters for the group that follows this one, or
// nil if no ReInit was merged.
func (g *Group) Reinitialized() *ReInit { return g.reinit }

// NewReInit makes the group that a merged ReInit announces (RFC 9420 §11.2), with
// us as its only member. Its first Commit must add all other members of g and
// carries the resumption PSK by itself. The options' suite, ID and extensions are
// those of the ReInit, whatever o says.
func (g *Group) NewReInit(o GroupOptions, now time.Time) (*Group, error) {
	if g.state != stateReInit {
		return nil, broken(ErrUsage, "11.2", "the group was not reinitialized")
	}
	if g.reinit.Version != MLS10 {
		return nil, broken(ErrUnsupported, "11.2", "version %d", g.reinit.Version)
	}
	o.CipherSuite, o.ID, o.Extensions = g.reinit.CipherSuite, g.reinit.GroupID, g.reinit.Extensions
	n, err := NewGroup(g.cfg, o, now)
	if err != nil {
		return nil, err
	}
	n.link = g.linkTo(ResumptionReInit)
	return n, nil
}

// Branch makes a new group for some of the members of g (RFC 9420 §11.3), with us
// as its only member. Its first Commit adds them with new KeyPackages and carries
// the resumption PSK by itself. The suite is that of g.
func (g *Group) Branch(o GroupOptions, now time.Time) (*Group, error) {
	if err := g.active(); err != nil {
		return nil, err
	}
	o.CipherSuite = g.suite.id
	n, err := NewGroup(g.cfg, o, now)
	if err != nil {
		return nil, err
	}
	n.link = g.linkTo(ResumptionBranch)
	return n, nil
}

// joinPSKs looks up the PSKs of a Welcome: "if a PreSharedKeyID has type
// resumption with usage reinit or branch, verify that it is the only such PSK"
// (§12.4.3.1).
func (g *Group) joinPSKs(ids []PreSharedKeyID, from *Group) ([]secret, error) {
	links := 0
	out := make([]secret, len(ids))
	for i := range ids {
		id := &ids[i]
		if len(id.Nonce) != g.suite.nh {
			return nil, broken(ErrWelcome, "8.4", "psk_nonce of %d bytes", len(id.Nonce))
		}
		if id.Type == PSKResumption && id.Usage != ResumptionApplication {
			if links++; links > 1 {
				return nil, broken(ErrWelcome, "12.4.3.1", "two PSKs for reinit or branch")
			}
			if from == nil || !bytes.Equal(from.ctx.GroupID, id.GroupID) {
				return nil, broken(ErrWelcome, "12.4.3.1", "the group that it continues is not given")
			}
		}
		if from != nil && id.Type == PSKResumption {
			if out[i] = from.ownResumptionPSK(id); out[i] != nil {
				continue
			}
		}
		var err error
		if out[i], err = g.cfg.psk(id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkOrigin makes the last checks of §12.4.3.1, for groups that continue others.
// One who expects such a group gets no other: without the old group's resumption
// PSK anybody could have made it.
func (g *Group) checkOrigin(ids []PreSharedKeyID, o JoinOptions) error {
	if o.From != nil && !slices.ContainsFunc(ids, func(id PreSharedKeyID) bool {
		return id.Type == PSKResumption && id.Usage != ResumptionApplication
	}) {
		return broken(ErrWelcome, "12.4.3.1", "no PSK for reinit or branch, where the group continues another")
	}
	for i := range ids {
		id := &ids[i]
		if id.Type != PSKResumption || id.Usage == ResumptionApplication {
			continue
		}
		if g.ctx.Epoch != 1 {
			return broken(ErrWelcome, "12.4.3.1", "reinit or branch in epoch %d", g.ctx.Epoch)
		}
		from := o.From
		if id.Usage == ResumptionReInit {
			r := from.reinit
			if r == nil || from.ctx.Epoch != id.Epoch {
				return broken(ErrWelcome, "11.2", "the old group was not reinitialized in epoch %d", id.Epoch)
			}
			if !bytes.Equal(r.GroupID, g.ctx.GroupID) || r.Version != g.ctx.Version || r.CipherSuite != g.ctx.CipherSuite || !sameExtensions(r.Extensions, g.ctx.Extensions) {
				return broken(ErrWelcome, "11.2", "not what the reinit proposal announced")
			}
			if !from.tree.subsetOf(g.tree, o.SameClient) {
				return broken(ErrWelcome, "11.2", "a member of the old group is missing")
			}
			continue
		}
		if g.ctx.Version != from.ctx.Version || g.ctx.CipherSuite != from.ctx.CipherSuite {
			return broken(ErrWelcome, "11.3", "version or suite differ from the old group's")
		}
		same := o.SameClient
		if same != nil {
			same = func(a, b *LeafNode) bool { return o.SameClient(b, a) }
		}
		if !g.tree.subsetOf(from.tree, same) {
			return broken(ErrWelcome, "11.3", "a member that is not in the old group")
		}
	}
	return nil
}

// subsetOf reports whether each member of t has a match in all.
func (t *tree) subsetOf(all *tree, same func(a, b *LeafNode) bool) bool {
	if same == nil {
		same = func(a, b *LeafNode) bool {
			return bytes.Equal(a.Credential.append(nil), b.Credential.append(nil))
		}
	}
	for _, l := range t.members() {
		found := false
		for _, m := range all.members() {
			if same(l, m) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
