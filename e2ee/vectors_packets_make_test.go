package e2ee_test

import (
	"math"
	"slices"

	"github.com/sotto-voip/sotto/internal/vectors"
)

func packetRun() *mediaMaker {
	m := runOf("plaintexts", vectorGroup, 40)
	m.begin(beginOf(vectorGroup, 40, leafVector{Leaf: 1, Session: 8}))
	context := vectorContext(vectorGroup, 40)
	opus := []byte("an Opus packet")
	ctr := uint64(0)
	add := func(c vectors.Case, plain []byte, position []float32) {
		m.frame(c, 8, refFrame{ctr: ctr, plain: plain, number: uint16(2 * ctr)}, func(f *frameIn) { f.Position = position })
		ctr++
	}
	at := func(context, plugin []byte, x, y, z float32) []byte { return refPosition(context, plugin, x, y, z) }
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	add(vectors.Good("no padding"), refPlain(0, opus, nil, 16), nil)
	add(vectors.Good("padding"), refPlain(0, opus, nil, 32), nil)
	dirty := refPlain(0, opus, nil, 32)
	dirty[31] = 1
	add(vectors.Good("padding that is not zero is ignored"), dirty, nil)
	add(vectors.Good("keep-alive: nothing is played"), refPlain(0, nil, nil, 16), nil)
	add(vectors.Good("keep-alive in two bytes"), refPlain(0, nil, nil, 2), nil)
	add(vectors.Good("position"), refPlain(8, opus, at(context, []byte("game"), 1, -2, 0.5), 32), []float32{1, -2, 0.5})
	add(vectors.Good("position behind no Opus"), refPlain(8, nil, at(context, []byte("game"), 0, 0, 0), 24), []float32{0, 0, 0})
	add(vectors.Good("position of another game: sound, and no position"), refPlain(8, opus, at(context, []byte("other"), 1, 2, 3), 32), nil)
	add(vectors.Good("position under the key of another epoch: sound alone"), refPlain(8, opus, at(vectorContext(vectorGroup, 39), []byte("game"), 1, 2, 3), 32), nil)
	add(vectors.Good("position that is no number: sound alone"), refPlain(8, opus, at(context, []byte("game"), 1, nan, 3), 32), nil)
	add(vectors.Good("position that is infinite: sound alone"), refPlain(8, opus, at(context, []byte("game"), inf, 2, 3), 32), nil)
	for bit := range 3 {
		add(vectors.Bad("reserved flag %d", 1<<bit), refPlain(1<<bit, opus, nil, 16), nil)
	}
	add(vectors.Bad("Opus longer than the plaintext"), join(u16(15), opus), nil)
	add(vectors.Bad("a position without room"), refPlain(8, opus, make([]byte, 15), 31), nil)
	add(vectors.Bad("one byte"), []byte{0}, nil)
	m.frame(vectors.Good("end of speech"), 8, refFrame{ctr: ctr, plain: refPlain(0, nil, nil, 16), number: 65535, end: 1}, nil)
	m.frame(vectors.Good("the frame number in 32 bits, of which 16 count"), 8, refFrame{ctr: ctr + 1, number: 2}, func(f *frameIn) { f.FrameNumber = 3<<16 | 2 })
	m.frame(vectors.Bad("nothing"), 8, refFrame{}, func(f *frameIn) { f.Rest = nil })
	m.frame(vectors.Bad("half a header"), 8, refFrame{ctr: ctr + 2}, func(f *frameIn) { f.Rest = f.Rest[:1] })
	return m
}

func aadRun() *mediaMaker {
	m := runOf("every byte that is authenticated, changed", vectorGroup, 41)
	m.begin(beginOf(vectorGroup, 41, leafVector{Leaf: 1, Session: 8}))
	good := refFrame{group: vectorGroup, base: vectorBase(vectorGroup, 41, 1), epoch: 41, leaf: 1, ctr: 300, number: 0x1234}
	for i := range good.metadata() {
		x := good
		x.aad = i + 1
		m.frame(vectors.Bad("byte %d of the metadata", i), 8, x, nil)
	}
	for _, long := range []bool{false, true} {
		x := good
		x.long, x.plain = long, refPlain(0, []byte("an Opus packet"), nil, 16)
		for i := range x.seal() {
			m.frame(vectors.Bad("byte %d of the ciphertext, long %v", i, long), 8, x, func(f *frameIn) {
				f.Rest = slices.Clone(f.Rest)
				f.Rest[i] ^= 2
				f.Future = long && i >= 1 && i <= 5 // an unknown tag, or epoch 43
			})
		}
	}
	m.frame(vectors.Bad("another frame number"), 8, good, func(f *frameIn) { f.FrameNumber++ })
	m.frame(vectors.Bad("the terminator"), 8, good, func(f *frameIn) { f.Terminator = true })
	m.frame(vectors.Good("unchanged, after all that"), 8, good, nil)
	return m
}
