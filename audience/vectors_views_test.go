package audience_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
)

// viewsFile is docs/spec/vectors/views.json: Sotto protocol §13, 12 and the ranks
// of 13.
type viewsFile struct {
	About    []string       `json:"about"`
	Digests  []digestVector `json:"digests"`
	Beacons  []beaconVector `json:"beacons"`
	Compared []viewVector   `json:"compared"`
	Groups   []weightVector `json:"two_groups"`
	Branches []branchVector `json:"two_branches"`
	Ranks    []rankVector   `json:"ranks"`
}

type digestVector struct {
	vectors.Case
	Group         vectors.Hex `json:"group"`
	Epoch         uint64      `json:"epoch"`
	Authenticator vectors.Hex `json:"epoch_authenticator"`
	D             vectors.Hex `json:"d"`
}

type beaconVector struct {
	vectors.Case
	Key  vectors.Hex `json:"signature_key"`
	Body vectors.Hex `json:"body"`
}

type viewHex struct {
	Epoch uint64      `json:"epoch"`
	Now   vectors.Hex `json:"now"`
	Past  vectors.Hex `json:"past"`
}

type viewVector struct {
	vectors.Case
	Own     viewHex `json:"own"`
	Peer    viewHex `json:"peer"`
	Outcome string  `json:"outcome"`
}

type weightVector struct {
	vectors.Case
	Own    int         `json:"own_weight"`
	OwnID  vectors.Hex `json:"own_group"`
	Peer   int         `json:"other_weight"`
	PeerID vectors.Hex `json:"other_group"`
}

type branchVector struct {
	vectors.Case
	Weight int       `json:"own_weight"`
	Own    viewHex   `json:"own"`
	Others []viewHex `json:"others"`
}

type rankVector struct {
	vectors.Case
	Authenticator vectors.Hex `json:"epoch_authenticator"`
	Order         []uint32    `json:"order"`
}

func (v viewHex) view() audience.View {
	out := audience.View{Epoch: v.Epoch, Now: [16]byte(v.Now)}
	for p := range slices.Chunk(v.Past, 8) {
		out.Past = append(out.Past, [8]byte(p))
	}
	return out
}

func TestVectorsViews(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/views.json", makeViews())
	for _, c := range f.Digests {
		if d := audience.Digest(envelope.GroupID(c.Group), c.Epoch, c.Authenticator); bytes.Equal(d[:], c.D) != c.Valid {
			t.Errorf("digest, %s: %x", c.Why, d)
		}
	}
	for _, c := range f.Beacons {
		b, err := envelope.ParseBeacon(c.Body)
		if ok := err == nil && audience.BeaconTrue(audience.SuiteClassic, c.Key, b); ok != c.Valid {
			t.Errorf("Beacon, %s: %v, %v", c.Why, ok, err)
		}
	}
	for _, c := range f.Compared {
		_, same := audience.Compare(c.Own.view(), c.Peer.view())
		outcome := "fork"
		switch {
		case same && c.Own.Epoch == c.Peer.Epoch:
			outcome = "confirmed"
		case same && c.Own.Epoch < c.Peer.Epoch:
			outcome = "behind"
		case same:
			outcome = "ahead"
		}
		if same != c.Valid || outcome != c.Outcome {
			t.Errorf("compared, %s: %s", c.Why, outcome)
		}
	}
	for _, c := range f.Groups {
		if audience.Outweighs(c.Peer, envelope.GroupID(c.PeerID), c.Own, envelope.GroupID(c.OwnID)) != c.Valid {
			t.Errorf("two groups, %s: moves is %v", c.Why, !c.Valid)
		}
	}
	for _, c := range f.Branches {
		var others []audience.View
		for _, v := range c.Others {
			others = append(others, v.view())
		}
		if audience.ForkMoves(c.Own.view(), c.Weight, others) != c.Valid {
			t.Errorf("two branches, %s: moves is %v", c.Why, !c.Valid)
		}
	}
	for _, c := range f.Ranks {
		sorted := slices.Sorted(slices.Values(c.Order))
		if slices.Equal(audience.RankOrder(c.Authenticator, sorted), c.Order) != c.Valid {
			t.Errorf("ranks, %s: %v", c.Why, audience.RankOrder(c.Authenticator, sorted))
		}
	}
}
