package e2ee

// replayWindow is how far behind the highest counter a frame may come
// (Sotto protocol §7.4: 1024 per nonce and step).
const replayWindow = 1024

// replayBlocks words of 64 bits hold the window and the word that the highest
// counter stands in.
const replayBlocks = replayWindow/64 + 1

// replayFilter remembers which counters of one step were accepted. The zero
// value has accepted none. Ask fresh, verify the frame, then accept.
type replayFilter struct {
	bits [replayBlocks]uint64 // counter c is bit c%64 of word c/64%replayBlocks
	next uint64               // one above the highest counter accepted
}

// fresh reports whether ctr was neither accepted before nor is too old to know.
func (r *replayFilter) fresh(ctr uint64) bool {
	if ctr >= r.next {
		return true
	}
	if r.next-ctr > replayWindow {
		return false
	}
	return r.bits[ctr/64%replayBlocks]&(1<<(ctr%64)) == 0
}

// accept marks ctr, which must be fresh.
func (r *replayFilter) accept(ctr uint64) {
	if ctr >= r.next {
		// Words between the old highest one and the new one begin empty.
		from, to := (r.next+63)/64, ctr/64
		if to-from >= replayBlocks && to >= from {
			from = to - replayBlocks + 1
		}
		for w := from; w <= to; w++ {
			r.bits[w%replayBlocks] = 0
		}
		r.next = ctr + 1
	}
	r.bits[ctr/64%replayBlocks] |= 1 << (ctr % 64)
}
