package audience

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// begun says how an epoch began.
type begun struct {
	joined    bool
	committer uint32
	removed   []uint32
	path      bool
	alone     bool // nobody but us was in the epoch before
}

// begin does what each new epoch wants, the first one too: digests, keys, clocks.
func (m *Machine) begin(now time.Time, g *group, b begun) {
	m.stats.Epochs++
	g.epochAt = now
	g.digests = append(g.digests, digest{g.epoch(), digestOf(g.id, g.epoch(), g.mls.EpochAuthenticator())})
	if len(g.digests) > maxHistory+1 {
		g.digests = slices.Delete(g.digests, 0, len(g.digests)-maxHistory-1)
	}
	g.drawRanks()
	g.former = slices.DeleteFunc(g.former, func(f formerLeaf) bool { return f.until+maxHistory < g.epoch() })
	if b.joined {
		g.committed, g.joinedAt = now, now
	}
	if g.renewAt.IsZero() {
		m.scheduleRenewal(now, g)
	}
	out := EpochBegan{
		Group: g.id, Audience: g.kind, Anchor: g.anchor, Place: g.index(), Epoch: g.epoch(), Suite: g.suite, Own: g.own, Joined: b.joined,
		Removed: b.removed, Committer: b.committer,
		PSK: g.ext.Flags&envelope.FlagPSKRequired != 0, Locked: g.ext.Flags&envelope.FlagLocked != 0,
	}
	out.Switch = now.Add(switchLater)
	if len(b.removed) > 0 || b.joined || b.alone {
		out.Switch = now
	}
	ok := m.exportKeys(g, &out)
	g.mls.EraseExporter()
	if !ok {
		m.drop(g, LostBroken, 0)
		return
	}
	m.emit(out)
	// "at once after joining; ranks 0 to 2 at each epoch change" (§6.4).
	switch {
	case b.joined:
		g.beaconAt = now
	case m.rank(now, g) < 3:
		g.beaconAt, g.proves = now.Add(between(0, beaconSoon)), true
	case m.regime != RegimeEcho && m.waits(g.beacon.token):
		g.beaconAt = now // one of a former epoch has not left: who has joined since would take it for a fork
	case g.beaconAt.IsZero():
		g.beaconAt = now.Add(m.beaconPace(now, g))
	}
	m.again = true
}

// exportKeys derives everything that the epoch gives (§7.1).
func (m *Machine) exportKeys(g *group, out *EpochBegan) bool {
	for _, l := range g.sorted() {
		if l.index != g.own && !l.shown {
			out.Claimed = append(out.Claimed, l.session())
		}
		base, err := g.mls.Export("sotto/1 media", binary.BigEndian.AppendUint32(nil, l.index), 32)
		if err != nil {
			return false
		}
		out.Leaves = append(out.Leaves, Leaf{
			Index: l.index, Session: l.session(), Role: l.ext.Role, Who: l.who, Server: l.ext.Server, BaseKey: [32]byte(base),
		})
		clear(base)
	}
	context, err := g.mls.Export("sotto/1 context", nil, 32)
	if err != nil {
		return false
	}
	code, err := g.mls.Export("sotto/1 code", nil, 32)
	if err != nil {
		return false
	}
	out.Context, out.Code = [32]byte(context), [32]byte(code)
	clear(context)
	clear(code)
	return true
}

// scheduleRenewal: an own Update "every max(15 min, n x 1 min) +- 20 %" (§6.1).
func (m *Machine) scheduleRenewal(now time.Time, g *group) {
	d := max(ownUpdateMin, time.Duration(len(g.leaves))*time.Minute)
	g.renewAt = now.Add(between(d*4/5, d*6/5))
}
