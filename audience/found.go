package audience

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// runFounding founds a group when nobody here has one and our Hello has the
// smallest ref of those said here, or those before it have not (§4): the k-th founds
// after 1 s + k x 2 s, everybody after 10 s. The ref decides and not the place in the
// order, because not everybody is known to run Sotto when a Hello is sent, so that
// it reaches some later than others.
func (m *Machine) runFounding(now time.Time, p *place) {
	j := p.joining
	if p.group != nil || j == nil || j.placed.IsZero() || p.Role != envelope.RoleSpeaker {
		return
	}
	before := 0
	for _, h := range p.Hearers {
		q := m.peers[h.Session]
		if q == nil || h.Role != envelope.RoleSpeaker {
			continue
		}
		if w := q.wish(now, p, h.Role); w != nil && w.Reason != envelope.HelloMerge && earlier(w, j) {
			before++
		}
	}
	wait := min(foundAfter+time.Duration(before)*foundStep, foundAnyway)
	if p.hasForeign() {
		// A group is here, or in another place of somebody who is here; anybody can
		// say so, and we do not wait for ever.
		wait += foundAnyway
	}
	if m.reached(now, j.placed.Add(wait)) {
		m.found(now, p)
	}
}

// earlier reports whether h stands before our own Hello.
func earlier(h *hello, j *joining) bool {
	own := j.object.Ref()
	return bytes.Compare(h.ref[:], own[:]) < 0
}

// found makes a group of ourselves (§2, §4). Whoever said Hello is added next, and
// says it again if it was in another suite. "Nothing received from the server changes
// a suite": neither does a Beacon, which anybody can make up.
func (m *Machine) found(now time.Time, p *place) {
	ext := envelope.SottoGroup{Audience: envelope.AudienceChannel, Anchor: p.Closure[0], Server: m.cfg.Server}
	g, err := m.newGroup(now, m.cfg.Suites[0], newGroupID(), p, ext)
	if err != nil {
		p.joining.retryAt = now.Add(helloPatience)
		return
	}
	p.stopJoining()
	m.install(now, g, p, false).beaconAt = now
}

func newGroupID() envelope.GroupID {
	var id envelope.GroupID
	rand.Read(id[:])
	id[0] |= 0x80
	return id
}

// newGroup makes the MLS group of epoch 0. A group that requires a typed secret
// does so from its first Commit on: epoch 0 has nobody but us.
func (m *Machine) newGroup(now time.Time, cs mls.CipherSuite, id envelope.GroupID, p *place, ext envelope.SottoGroup) (*mls.Group, error) {
	if m.cfg.RequirePSK && ext.Audience == envelope.AudienceChannel {
		ext.Flags |= envelope.FlagPSKRequired
		rand.Read(ext.PSKID[:])
	}
	leaf := envelope.SottoLeaf{Audience: ext.Audience, Channel: ext.Anchor}
	if len(m.places) > 0 {
		leaf.Channel = m.places[0].Channel
	}
	if p != nil {
		leaf.Channel, leaf.Role = p.Channel, p.Role
	}
	profile, err := m.profile(cs, leaf)
	if err != nil {
		return nil, err
	}
	return mls.NewGroup(m.mlsConfig(m.firstPSK), mls.GroupOptions{
		CipherSuite: cs, ID: id[:], Profile: profile, Lifetime: lifetime(now),
		Extensions: []mls.Extension{required(), {Type: mls.ExtensionType(envelope.ExtensionGroup), Data: ext.Append(nil)}},
	}, now)
}
