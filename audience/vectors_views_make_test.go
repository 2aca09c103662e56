package audience_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/sotto-voip/sotto/internal/vectors"
)

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func hashOf(parts ...[]byte) []byte {
	sum := sha256.Sum256(slices.Concat(parts...))
	return sum[:]
}

// history is what somebody has seen: D of epochs of a group that has another past
// from the epoch parted on.
func history(from, to, parted uint64) viewHex {
	v := viewHex{Epoch: to}
	for e := to; ; e-- {
		auth := hashOf([]byte("authenticator"), be64(e))
		if e >= parted {
			auth = hashOf([]byte("another"), be64(e))
		}
		d := hashOf([]byte("sotto/1 epoch"), bytes.Repeat([]byte{0xC1}, 16), be64(e), auth)
		if e == to {
			v.Now = d[:16]
		} else {
			v.Past = append(v.Past, d[:8]...)
		}
		if e == from || to-e == 8 {
			return v
		}
	}
}

const never = 1 << 40 // no epoch in which a history parts

func makeViews() viewsFile {
	f := viewsFile{About: []string{
		"Who is where: Sotto protocol, sections 4.6, 6.1, 6.4 and 6.5.",
		"digests: d is, or is not, D(epoch). beacons: a body that is, or is not, a Beacon with a true signature of the leaf with this key (suite 1), which is that of the seed of 32 bytes 33.",
		"compared: own history and that of a peer, as Beacons say them. Valid is one history, with the outcome confirmed, behind (the own one is) or ahead; else it is fork. The outcome is of the histories alone: that some without a common epoch are no fork for the first 5 s (6.5, Without one) comes on top.",
		"two_groups: valid says that the own group moves to the other. two_branches: valid says that the own branch moves to that of the others, whose last Beacons these are.",
		"ranks: order is, or is not, that of these leaves, if all of them may commit.",
	}}
	group := bytes.Repeat([]byte{0xC1}, 16)
	auth := hashOf([]byte("authenticator"))
	const label = "sotto/1 epoch"
	for _, e := range []uint64{0, 1, 255, 1 << 40} {
		f.Digests = append(f.Digests, digestVector{vectors.Good("epoch %d", e), group, e, auth, hashOf([]byte(label), group, be64(e), auth)})
	}
	for _, c := range []struct {
		why string
		d   []byte
	}{
		{"of another epoch", hashOf([]byte(label), group, be64(8), auth)},
		{"the epoch in 4 bytes", hashOf([]byte(label), group, be32(7), auth)},
		{"the group behind its length", hashOf([]byte(label), []byte{16}, group, be64(7), auth)},
		{"without a label", hashOf(group, be64(7), auth)},
		{"of another authenticator", hashOf([]byte(label), group, be64(7), hashOf(auth))},
	} {
		f.Digests = append(f.Digests, digestVector{vectors.Bad("%s", c.why), group, 7, auth, c.d})
	}

	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x33}, 32))
	public := key.Public().(ed25519.PublicKey)
	beacon := func(v viewHex, label string, k ed25519.PrivateKey) []byte {
		vec := func(b []byte) []byte {
			if len(b) < 64 {
				return append([]byte{byte(len(b))}, b...)
			}
			return append([]byte{0x40 | byte(len(b)>>8), byte(len(b))}, b...)
		}
		body := slices.Concat(vec(group), []byte{0, 1}, be64(v.Epoch), be32(3), be32(9), v.Now, vec(v.Past))
		signed := slices.Concat(vec([]byte("Sotto 1 "+label)), vec(body))
		return append(body, vec(ed25519.Sign(k, signed))...)
	}
	add := func(c vectors.Case, body []byte) {
		f.Beacons = append(f.Beacons, beaconVector{c, []byte(public), body})
	}
	full := beacon(history(0, 20, never), "Beacon", key)
	add(vectors.Good("epoch 0, no past"), beacon(history(0, 0, never), "Beacon", key))
	add(vectors.Good("joined in epoch 5, now in 7"), beacon(history(5, 7, never), "Beacon", key))
	add(vectors.Good("8 past epochs"), full)
	for i := 0; i < len(full)-64; i += 12 {
		bad := slices.Clone(full)
		bad[i] ^= 1
		add(vectors.Bad("byte %d changed", i), bad)
	}
	add(vectors.Bad("the first byte of the signature changed"), slices.Concat(full[:len(full)-64], []byte{full[len(full)-64] ^ 1}, full[len(full)-63:]))
	add(vectors.Bad("signed by another key"), beacon(history(0, 20, never), "Beacon", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0xEE}, 32))))
	add(vectors.Bad("signed as a Report"), beacon(history(0, 20, never), "Report", key))
	add(vectors.Bad("a byte more"), append(slices.Clone(full), 0))
	add(vectors.Bad("more past than there was"), beacon(viewHex{1, history(0, 1, never).Now, history(0, 8, never).Past}, "Beacon", key))

	for _, c := range []struct {
		why       string
		own, peer viewHex
		outcome   string
	}{
		{"equal, in the same epoch", history(0, 20, never), history(0, 20, never), "confirmed"},
		{"equal, who joined last knows no past", history(0, 20, never), history(20, 20, never), "confirmed"},
		{"equal in epoch 0", history(0, 0, never), history(0, 0, never), "confirmed"},
		{"the peer is one ahead", history(0, 20, never), history(0, 21, never), "behind"},
		{"the peer is 8 ahead", history(0, 20, never), history(0, 28, never), "behind"},
		{"the peer is one behind", history(0, 20, never), history(0, 19, never), "ahead"},
		{"the peer is 8 behind", history(0, 20, never), history(0, 12, never), "ahead"},
		{"joined in this epoch, and the peer is ahead", history(20, 20, never), history(0, 22, never), "behind"},
		{"parted in this epoch", history(0, 20, 20), history(0, 20, never), "fork"},
		{"parted long ago", history(0, 20, 3), history(0, 20, never), "fork"},
		{"parted in the past of one who is ahead", history(0, 20, 20), history(0, 22, never), "fork"},
		{"parted, and the peer is behind", history(0, 20, 18), history(0, 19, never), "fork"},
		{"9 ahead: no epoch that both name", history(0, 20, never), history(0, 29, never), "fork"},
		{"9 behind: no epoch that both name", history(0, 20, never), history(0, 11, never), "fork"},
		{"the peer joined later than the own epoch", history(0, 20, never), history(21, 21, never), "fork"},
		{"the last 8 of 16 bytes differ", history(0, 20, never), viewHex{20, slices.Concat(history(0, 20, never).Now[:8], make([]byte, 8)), history(0, 20, never).Past}, "fork"},
	} {
		v := viewVector{vectors.Good("%s", c.why), c.own, c.peer, c.outcome}
		v.Valid = c.outcome != "fork"
		f.Compared = append(f.Compared, v)
	}

	low, high := bytes.Repeat([]byte{0x80}, 16), bytes.Repeat([]byte{0x81}, 16)
	for _, c := range []struct {
		moves bool
		why   string
		own   int
		ownID []byte
		peer  int
	}{
		{true, "lighter", 1, low, 2}, {true, "equal, with the larger id", 2, high, 2}, {true, "lighter, with the smaller id", 3, low, 4},
		{false, "heavier", 3, high, 2}, {false, "equal, with the smaller id", 2, low, 2}, {false, "heavier by far", 12, high, 1},
	} {
		other := low
		if bytes.Equal(c.ownID, low) {
			other = high
		}
		v := weightVector{vectors.Bad("%s", c.why), c.own, c.ownID, c.peer, other}
		v.Valid = c.moves
		f.Groups = append(f.Groups, v)
	}
	a, b := history(0, 20, 20), history(0, 20, never)
	if bytes.Compare(a.Now, b.Now) > 0 {
		a, b = b, a // a has the smaller digest
	}
	for _, c := range []struct {
		moves  bool
		why    string
		weight int
		own    viewHex
		others []viewHex
	}{
		{true, "lighter", 1, a, []viewHex{b, b}}, {true, "equal, with the larger digest", 2, b, []viewHex{a, a}}, {true, "lighter, with the larger digest", 1, b, []viewHex{a, a}},
		{false, "heavier", 3, b, []viewHex{a, a}}, {false, "equal, with the smaller digest", 2, a, []viewHex{b, b}}, {false, "alone against one, with the smaller digest", 1, a, []viewHex{b}},
	} {
		v := branchVector{vectors.Bad("%s", c.why), c.weight, c.own, c.others}
		v.Valid = c.moves
		f.Branches = append(f.Branches, v)
	}
	f.Ranks = rankVectors()
	return f
}

func rankVectors() (list []rankVector) {
	order := func(auth []byte, leaves []uint32, digest func(leaf uint32) []byte) []uint32 {
		out := slices.Clone(leaves)
		slices.SortFunc(out, func(a, b uint32) int { return bytes.Compare(digest(a), digest(b)) })
		return out
	}
	little := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	for _, leaves := range [][]uint32{{0, 1, 2}, {0, 1, 2, 3, 4, 5, 6, 7}, {0, 3, 127, 12, 64, 31}} {
		auth := hashOf([]byte("authenticator of"), be32(uint32(len(leaves))))
		right := order(auth, leaves, func(l uint32) []byte { return hashOf([]byte("sotto/1 rank"), auth, be32(l)) })
		list = append(list, rankVector{vectors.Good("%d leaves", len(leaves)), auth, right})
		for why, digest := range map[string]func(uint32) []byte{
			"by number":              be32,
			"leaf in little-endian":  func(l uint32) []byte { return hashOf([]byte("sotto/1 rank"), auth, little(l)) },
			"leaf in 8 bytes":        func(l uint32) []byte { return hashOf([]byte("sotto/1 rank"), auth, be64(uint64(l))) },
			"the epoch of another":   func(l uint32) []byte { return hashOf([]byte("sotto/1 rank"), hashOf(auth), be32(l)) },
			"without a label":        func(l uint32) []byte { return hashOf(auth, be32(l)) },
			"leaf before the digest": func(l uint32) []byte { return hashOf([]byte("sotto/1 rank"), be32(l), auth) },
		} {
			if wrong := order(auth, leaves, digest); !slices.Equal(wrong, right) {
				list = append(list, rankVector{vectors.Bad("%d leaves, %s", len(leaves), why), auth, wrong})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b rankVector) int { return bytes.Compare([]byte(a.Why), []byte(b.Why)) })
	return list
}
