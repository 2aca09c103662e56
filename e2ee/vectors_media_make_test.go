package e2ee_test

import (
	"crypto/sha256"

	"github.com/sotto-voip/sotto/internal/vectors"
)

// mediaMaker writes one run down.
type mediaMaker struct {
	run  mediaRun
	base refFrame // what frames have if nothing else is said
	wait int64
}

// vectorBase is a base key made up from what it is for.
func vectorBase(group []byte, epoch uint64, leaf uint32) []byte {
	sum := sha256.Sum256(join([]byte("base key"), group, u64(epoch), u32(leaf)))
	return sum[:]
}

func vectorContext(group []byte, epoch uint64) []byte {
	sum := sha256.Sum256(join([]byte("context key"), group, u64(epoch)))
	return sum[:]
}

// The leaves of the runs: 0 is the receiver's own, session 7.
func beginOf(group []byte, epoch uint64, leaves ...leafVector) *epochBegin {
	b := &epochBegin{Group: group, Epoch: epoch, Context: vectorContext(group, epoch)}
	for _, l := range append([]leafVector{{Leaf: 0, Session: 7}}, leaves...) {
		l.BaseKey = vectorBase(group, epoch, l.Leaf)
		b.Leaves = append(b.Leaves, l)
	}
	return b
}

func (m *mediaMaker) after(ms int64) { m.wait += ms }

func (m *mediaMaker) step(s mediaStep) {
	s.MS, m.wait = m.wait, 0
	m.run.Steps = append(m.run.Steps, s)
}

func (m *mediaMaker) begin(b *epochBegin) { m.step(mediaStep{Begin: b}) }

// frame is one of session, which opens if c is valid.
func (m *mediaMaker) frame(c vectors.Case, session uint32, x refFrame, change func(*frameIn)) {
	if x.group == nil {
		x.group = m.base.group
	}
	if x.epoch == 0 {
		x.epoch = m.base.epoch
	}
	if x.leaf == 0 {
		x.leaf = 1
	}
	if x.base == nil {
		x.base = vectorBase(x.group, x.epoch, x.leaf)
	}
	if x.plain == nil {
		x.plain = refPlain(0, []byte("an Opus packet"), nil, 16)
	}
	f := &frameIn{Case: c, Session: session, VK: 0x10, Rest: x.seal(), FrameNumber: uint64(x.number), Terminator: x.end == 1}
	if c.Valid {
		n := int(x.plain[0]&0x0F)<<8 | int(x.plain[1])
		f.Group, f.Opus = x.group, x.plain[2:2+n]
	}
	if change != nil {
		change(f)
	}
	m.step(mediaStep{Frame: f})
}

func future(f *frameIn) { f.Future = true }

func runOf(about string, group []byte, epoch uint64) *mediaMaker {
	return &mediaMaker{run: mediaRun{About: about}, base: refFrame{group: group, epoch: epoch}}
}

func makeMedia() mediaFile {
	f := mediaFile{About: []string{
		"Media of groups: Sotto protocol, sections 7.2, 7.3 and 7.4. The own session is 7; sessions are the others that the server shows, and plugin_context is that of the own client.",
		"received: each run begins with nothing. Its steps come one after the other, ms after the one before: an epoch of a group begins, with the base key of step 0 of each leaf; a group is lost, and its keys are erased; a frame arrives from the session that the server names.",
		"A frame that is valid opens in group to opus, and to position if the position is for the own client. future marks a frame that does not open now and is to be kept for 600 ms; every other is dropped. What becomes of a kept frame is no part of a run: none of the frames behind it depends on whether it was let go when its epoch began.",
		"sent: bodies (vk and SFrame ciphertext) that a sender makes of frames, ms after the frame before, with at most limit bytes. What is not valid does not fit.",
	}, PluginContext: []byte("game"), Sessions: []uint32{8, 9, 10, 12}}
	for _, m := range []*mediaMaker{lookUpRun(), leafRun(), retainedRun(), wrapRun(), homeRun(), removedRun(), directRun(), packetRun(), aadRun(), windowRun(), stepRun(), headerRun()} {
		f.Received = append(f.Received, m.run)
	}
	f.Sent = sentRuns()
	return f
}

func lookUpRun() *mediaMaker {
	m := runOf("look-up: session, group, epoch, leaf", vectorGroup, 20)
	m.frame(vectors.Bad("before there is a group"), 8, refFrame{}, future)
	m.begin(beginOf(vectorGroup, 20, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}, leafVector{Leaf: 3, Session: 10, Listener: true}))
	m.frame(vectors.Good("short KID"), 8, refFrame{ctr: 1}, nil)
	m.frame(vectors.Good("long KID, the same counter run"), 8, refFrame{ctr: 2, long: true}, nil)
	m.frame(vectors.Bad("the same counter in the other form"), 8, refFrame{ctr: 1, long: true}, nil)
	m.frame(vectors.Good("another leaf"), 9, refFrame{leaf: 2, ctr: 1}, nil)
	m.frame(vectors.Bad("session 8's frame under session 9"), 9, refFrame{ctr: 3}, nil)
	m.frame(vectors.Bad("session 9's frame under session 8"), 8, refFrame{leaf: 2, ctr: 3}, nil)
	m.frame(vectors.Bad("of a listener, long KID"), 10, refFrame{leaf: 3, long: true}, nil)
	m.frame(vectors.Bad("of a listener, short KID: it has no home"), 10, refFrame{leaf: 3}, future)
	m.frame(vectors.Bad("of a session that the server does not show"), 11, refFrame{ctr: 4}, nil)
	m.frame(vectors.Bad("short KID of somebody who is no member: its group may begin"), 12, refFrame{ctr: 4}, future)
	m.frame(vectors.Bad("long KID of a group held, of somebody who is no member"), 12, refFrame{ctr: 4, long: true}, nil)
	m.frame(vectors.Bad("long KID of an unknown tag"), 8, refFrame{group: vectorOther, long: true}, future)
	for _, kid := range []uint64{0x100, 0x1410, 0x7FFF_FFFF_FFFF, 0x1_C1C1_C1C1_1400, 0xC1_C1C1_C100_1400} {
		m.frame(vectors.Bad("KID %#x is neither short nor long", kid), 8, refFrame{kid: kid}, nil)
	}
	for n := uint64(1); n <= 15; n++ {
		c := vectors.Bad("short KID, %d epochs ahead", n)
		m.frame(c, 8, refFrame{epoch: 20 + n}, func(f *frameIn) { f.Future = n <= 8 })
	}
	m.frame(vectors.Bad("long KID, 8 epochs ahead"), 8, refFrame{epoch: 28, long: true}, future)
	m.frame(vectors.Bad("long KID, 9 epochs ahead"), 8, refFrame{epoch: 29, long: true}, nil)
	m.frame(vectors.Bad("long KID, one epoch back"), 8, refFrame{epoch: 19, long: true}, nil)
	m.frame(vectors.Bad("vk 11"), 8, refFrame{ctr: 9}, func(f *frameIn) { f.VK = 0x11 })
	return m
}

func leafRun() *mediaMaker {
	m := runOf("the leaf is looked up in the epoch that the KID names", vectorGroup, 21)
	m.begin(beginOf(vectorGroup, 20, leafVector{Leaf: 1, Session: 8}))
	m.begin(beginOf(vectorGroup, 21, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}))
	m.frame(vectors.Good("a newcomer, in the epoch that it came in"), 9, refFrame{leaf: 2}, nil)
	m.frame(vectors.Bad("in the epoch before, where it has no leaf"), 9, refFrame{leaf: 2, epoch: 20, ctr: 1}, nil)
	m.frame(vectors.Bad("the same, long"), 9, refFrame{leaf: 2, epoch: 20, ctr: 1, long: true}, nil)
	m.frame(vectors.Bad("with the other's keys of that epoch"), 9, refFrame{leaf: 1, epoch: 20, ctr: 1}, nil)
	m.frame(vectors.Good("who was there, in that epoch"), 8, refFrame{epoch: 20}, nil)
	b := beginOf(vectorGroup, 22, leafVector{Leaf: 2, Session: 9}, leafVector{Leaf: 3, Session: 8})
	b.Removed = []uint32{1}
	m.begin(b)
	m.frame(vectors.Good("a session whose leaf was replaced"), 8, refFrame{epoch: 22, leaf: 3}, nil)
	m.frame(vectors.Bad("its new leaf in an epoch that has not got it"), 8, refFrame{leaf: 3, ctr: 1}, nil)
	m.frame(vectors.Bad("its old leaf in an epoch that had it"), 8, refFrame{leaf: 1, ctr: 1}, nil)
	m.frame(vectors.Good("another, in that epoch"), 9, refFrame{leaf: 2, ctr: 1}, nil)
	return m
}

func retainedRun() *mediaMaker {
	m := runOf("epochs that are retained: four and the current one, 5 s each", vectorGroup, 30)
	leaf := leafVector{Leaf: 1, Session: 8}
	for e := uint64(30); e <= 34; e++ {
		m.begin(beginOf(vectorGroup, e, leaf))
		m.after(100)
	}
	for e := uint64(30); e <= 34; e++ {
		m.frame(vectors.Good("epoch %d while 34 is current", e), 8, refFrame{epoch: e}, nil)
		m.frame(vectors.Good("epoch %d, long", e), 8, refFrame{epoch: e, long: true, ctr: 1}, nil)
	}
	m.begin(beginOf(vectorGroup, 35, leaf))
	m.frame(vectors.Bad("epoch 30 while 35 is current"), 8, refFrame{epoch: 30, ctr: 2}, nil)
	m.frame(vectors.Bad("epoch 30, long"), 8, refFrame{epoch: 30, ctr: 3, long: true}, nil)
	m.frame(vectors.Good("epoch 31"), 8, refFrame{epoch: 31, ctr: 2}, nil)
	m.after(4999)
	m.frame(vectors.Good("epoch 34, 4.999 s after its end"), 8, refFrame{epoch: 34, ctr: 2}, nil)
	m.frame(vectors.Bad("epoch 33, above 5 s after its end"), 8, refFrame{epoch: 33, ctr: 2}, nil)
	m.after(1)
	m.frame(vectors.Bad("epoch 34, 5 s after its end"), 8, refFrame{epoch: 34, ctr: 3}, nil)
	m.frame(vectors.Good("the current one"), 8, refFrame{epoch: 35}, nil)
	return m
}

func wrapRun() *mediaMaker {
	m := runOf("wrap: 16 epochs in the short KID, 256 in the long one", vectorGroup, 300)
	m.begin(beginOf(vectorGroup, 300, leafVector{Leaf: 1, Session: 8}))
	m.frame(vectors.Good("short"), 8, refFrame{}, nil)
	m.frame(vectors.Good("long"), 8, refFrame{ctr: 1, long: true}, nil)
	m.frame(vectors.Bad("epoch 284 has the same short KID and another key"), 8, refFrame{epoch: 284, ctr: 2}, nil)
	m.frame(vectors.Bad("epoch 316 as well"), 8, refFrame{epoch: 316, ctr: 2}, nil)
	m.frame(vectors.Bad("epoch 284, long, is past"), 8, refFrame{epoch: 284, ctr: 2, long: true}, nil)
	m.frame(vectors.Bad("epoch 44 has the same long KID and another key"), 8, refFrame{epoch: 44, ctr: 2, long: true}, nil)
	m.frame(vectors.Bad("epoch 304 comes"), 8, refFrame{epoch: 304, ctr: 3}, future)
	m.begin(beginOf(vectorGroup, 304, leafVector{Leaf: 1, Session: 8}))
	m.frame(vectors.Good("epoch 304, whose low bits are 0"), 8, refFrame{epoch: 304, ctr: 2}, nil)
	return m
}

func homeRun() *mediaMaker {
	m := runOf("a move: the home of a session is the channel group in which it last spoke with a long KID", vectorGroup, 5)
	m.begin(beginOf(vectorGroup, 5, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}))
	m.frame(vectors.Good("at home"), 8, refFrame{}, nil)
	m.begin(beginOf(vectorOther, 5, leafVector{Leaf: 1, Session: 8}))
	m.frame(vectors.Good("a leaf in a second group moves nobody"), 8, refFrame{ctr: 1}, nil)
	m.frame(vectors.Bad("a short KID of the second group"), 8, refFrame{group: vectorOther}, nil)
	m.frame(vectors.Good("a long KID of the second group"), 8, refFrame{group: vectorOther, long: true}, nil)
	m.frame(vectors.Bad("which moved it: a short KID of the first is dead"), 8, refFrame{ctr: 2}, nil)
	m.frame(vectors.Good("a short KID means the second"), 8, refFrame{group: vectorOther, ctr: 1}, nil)
	m.frame(vectors.Good("who has not moved is at home in the first"), 9, refFrame{leaf: 2}, nil)
	m.begin(beginOf(vectorGroup, 6, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}))
	m.frame(vectors.Bad("another epoch of the first brings it no home"), 8, refFrame{epoch: 6}, future)
	m.frame(vectors.Good("the second is still home"), 8, refFrame{group: vectorOther, ctr: 2}, nil)
	m.step(mediaStep{Lose: vectorOther})
	m.frame(vectors.Bad("the second is lost, and its long KIDs are unknown"), 8, refFrame{group: vectorOther, ctr: 3, long: true}, future)
	m.frame(vectors.Good("and the first is home again"), 8, refFrame{epoch: 6, ctr: 1}, nil)
	m.frame(vectors.Good("its long KIDs open"), 8, refFrame{epoch: 6, ctr: 2, long: true}, nil)
	m.step(mediaStep{Lose: vectorGroup})
	m.frame(vectors.Bad("all is lost"), 9, refFrame{epoch: 6, leaf: 2}, future)
	return m
}

func removedRun() *mediaMaker {
	m := runOf("a Remove: the keys of the removed leaf go at once, the epochs before in 2 s", vectorGroup, 7)
	m.begin(beginOf(vectorGroup, 7, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}))
	m.frame(vectors.Good("before"), 8, refFrame{}, nil)
	b := beginOf(vectorGroup, 8, leafVector{Leaf: 2, Session: 9})
	b.Removed = []uint32{1}
	m.begin(b)
	m.frame(vectors.Bad("of the removed leaf, in the epoch that it was in"), 8, refFrame{ctr: 1}, nil)
	m.frame(vectors.Bad("the same, long"), 8, refFrame{ctr: 1, long: true}, nil)
	m.frame(vectors.Good("of another leaf, in the epoch before"), 9, refFrame{leaf: 2}, nil)
	m.after(1999)
	m.frame(vectors.Good("1.999 s later"), 9, refFrame{leaf: 2, ctr: 1}, nil)
	m.after(1)
	m.frame(vectors.Bad("2 s later"), 9, refFrame{leaf: 2, ctr: 2}, nil)
	m.frame(vectors.Good("in the new epoch"), 9, refFrame{leaf: 2, epoch: 8}, nil)
	b = beginOf(vectorGroup, 9, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9})
	m.begin(b)
	m.frame(vectors.Good("the leaf is taken again"), 8, refFrame{epoch: 9}, nil)
	return m
}

func directRun() *mediaMaker {
	m := runOf("a direct group: long KIDs only", vectorDirect, 1)
	b := beginOf(vectorDirect, 1, leafVector{Leaf: 1, Session: 8})
	b.Direct = true
	m.begin(b)
	m.frame(vectors.Bad("a short KID: a direct group is nobody's home"), 8, refFrame{}, future)
	m.frame(vectors.Good("a long KID"), 8, refFrame{long: true}, nil)
	m.frame(vectors.Bad("the same again"), 8, refFrame{long: true}, nil)
	m.begin(beginOf(vectorGroup, 1, leafVector{Leaf: 1, Session: 8}))
	m.frame(vectors.Good("short KID of the channel's group beside it"), 8, refFrame{group: vectorGroup}, nil)
	m.frame(vectors.Good("and the direct one goes on"), 8, refFrame{long: true, ctr: 1}, nil)
	m.frame(vectors.Bad("a frame of the direct group under the tag of the other"), 8, refFrame{long: true, ctr: 2, kid: 0xC1C1C1C10100}, nil)
	return m
}
