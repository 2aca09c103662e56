package mls

import "slices"

// EraseExporter deletes exporter_secret, after which [Group.Export] fails with
// ErrUsage until the next epoch begins. RFC 9420 §8.5 does not ask for it; it is
// for an application that derives all it needs when an epoch begins, so that what
// it deletes later cannot be derived again. [Group.Marshal] stores the absence.
func (g *Group) EraseExporter() {
	g.secrets.exporter.wipe()
	g.secrets.exporter = nil
}

// Wipe deletes all secrets of the group (RFC 9420 §9.2), of former epochs too, when we leave it
// without being removed, or do not like what [Join] led into. It is inactive
// afterwards. The signature key is the application's and stays. Commits that are
// staged hold secrets of their own: [StagedCommit.Discard] them.
func (g *Group) Wipe() {
	g.wipe()
	g.state = stateWiped
	g.serial++
}

// wipe deletes all secrets.
func (g *Group) wipe() {
	g.secrets.wipe()
	g.keys.wipe()
	g.keys = nil
	if g.ratchets != nil {
		g.ratchets.wipe()
		g.ratchets = nil
	}
	for _, u := range g.updates {
		u.private.wipe()
	}
	g.updates, g.proposals = nil, nil
	g.ForgetPast()
	for _, r := range g.resumption {
		r.psk.wipe()
	}
	g.resumption = nil
	if g.link != nil {
		g.link.psk.wipe()
		g.link = nil
	}
}

// Past lists the former epochs whose late application messages can still be read,
// newest first: at most [Config.PastEpochs]. "Applications SHOULD define a policy on
// how long to keep unused nonce and key pairs" (RFC 9420 §15.3): it applies it with
// its own clock and [Group.ForgetBefore], [Group.ForgetPast] and [Group.ForgetLeaf].
func (g *Group) Past() []uint64 {
	var epochs []uint64
	for _, p := range g.past {
		epochs = append(epochs, p.epoch)
	}
	return epochs
}

// ForgetPast deletes the keys of all former epochs (RFC 9420 §9.2); late
// application messages of theirs are lost.
func (g *Group) ForgetPast() { g.ForgetBefore(^uint64(0)) }

// ForgetBefore deletes the keys of the former epochs below epoch (RFC 9420 §9.2).
func (g *Group) ForgetBefore(epoch uint64) {
	g.past = slices.DeleteFunc(g.past, func(p *pastEpoch) bool {
		if p.epoch >= epoch {
			return false
		}
		p.wipe()
		return true
	})
}

// ForgetLeaf deletes the keys that leaf i had in former epochs, as for one who
// was removed (RFC 9420 §9.2): its late messages give ErrGeneration, those of others
// can be read as before. Whoever has the leaf in this epoch is not affected.
func (g *Group) ForgetLeaf(i LeafIndex) {
	for _, p := range g.past {
		p.ratchets.drop(i)
	}
}
