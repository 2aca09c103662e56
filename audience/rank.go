package audience

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"
)

// drawRanks gives each member its place in this epoch.
func (g *group) drawRanks() {
	authenticator := g.mls.EpochAuthenticator()
	for _, l := range g.leaves {
		l.rank = rankDigest(authenticator, l.index)
	}
}

// rankDigest is H("sotto/1 rank" || epoch_authenticator || leaf) (§6.1).
func rankDigest(authenticator []byte, leaf uint32) [32]byte {
	h := sha256.New()
	h.Write([]byte("sotto/1 rank"))
	h.Write(authenticator)
	h.Write(binary.BigEndian.AppendUint32(nil, leaf))
	return [32]byte(h.Sum(nil))
}

// ranks orders those who may commit now: confirmed members that the server shows
// present, without those to be removed (§6.1).
func (m *Machine) ranks(now time.Time, g *group) []*leaf {
	list := make([]*leaf, 0, len(g.leaves))
	for _, l := range g.leaves {
		if l.index == g.own || !l.leaving && l.gone.IsZero() && now.Sub(latest(l.heard, l.assumed)) <= confirmWindow {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *leaf) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	return list
}

// rankOf returns where a leaf stands, or a number above all ranks.
func (m *Machine) rankOf(now time.Time, g *group, leaf uint32) int {
	for i, l := range m.ranks(now, g) {
		if l.index == leaf {
			return i
		}
	}
	return maxMembers
}

// rank is our own.
func (m *Machine) rank(now time.Time, g *group) int { return m.rankOf(now, g, g.own) }

// addWait is how long we leave it to others to add somebody. Where each object is a text,
// a newcomer often is in an epoch that has ended: the Commits since then came before its
// Welcome, or wait in the queues of others. So those go first who were here before. Who
// leaves is removed by whoever has the rank: that must not wait.
//
// Who is a newcomer is looked at for the time when somebody asked to be added, not for now:
// else who ceases to be one would commit what others have just committed.
func (m *Machine) addWait(now time.Time, g *group, asked time.Time) time.Duration {
	var later time.Duration
	switch m.regime {
	case RegimeTextEcho:
		later = newcomersLaterT
	case RegimeNoEcho:
		later = newcomersLaterN
	default:
		return time.Duration(m.rank(now, g)) * m.rankPause()
	}
	if !g.joinedAt.IsZero() && asked.Sub(g.joinedAt) < confirmWindow {
		return later + time.Duration(m.rank(now, g))*m.rankPause()
	}
	before := 0
	for _, l := range m.ranks(now, g) {
		if l.index == g.own {
			break
		}
		if !l.assumed.IsZero() || asked.Sub(l.added) >= confirmWindow {
			before++
		}
	}
	return time.Duration(before) * m.rankPause()
}

func (m *Machine) rankPause() time.Duration {
	if m.regime == RegimeNoEcho {
		return rankPauseN
	}
	return rankPause
}
