package e2ee_test

import (
	"bytes"

	"github.com/sotto-voip/sotto/internal/vectors"
)

func windowRun() *mediaMaker {
	m := runOf("the replay window of 1024", vectorGroup, 50)
	m.begin(beginOf(vectorGroup, 50, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}))
	good := func(ctr uint64, why string) {
		m.frame(vectors.Good("CTR %d: %s", ctr, why), 8, refFrame{ctr: ctr}, nil)
	}
	bad := func(ctr uint64, why string) { m.frame(vectors.Bad("CTR %d: %s", ctr, why), 8, refFrame{ctr: ctr}, nil) }
	good(0, "the first")
	bad(0, "again")
	good(2, "one is left out")
	good(1, "it comes late")
	bad(1, "again")
	bad(2, "again")
	good(1023, "0 is 1023 below")
	bad(0, "was there")
	good(3, "1020 below")
	good(1025, "2 is 1023 below now")
	bad(2, "was there")
	bad(1, "1024 below")
	good(4, "1021 below")
	m.frame(vectors.Bad("CTR 5000, and it does not open: nothing moves"), 8, refFrame{ctr: 5000, aad: 1}, nil)
	good(5, "1020 below the highest that opened")
	good(3000, "a leap")
	bad(1976, "1024 below")
	good(1977, "1023 below")
	bad(1977, "again")
	bad(1025, "far below")
	good(2999, "one below")
	m.frame(vectors.Good("another leaf has another window"), 9, refFrame{leaf: 2, ctr: 0}, nil)
	good(1<<14-1, "the last that a sender may use")
	good(1<<14, "the last that a receiver takes")
	bad(1<<14, "again")
	bad(1<<14+1, "above the bound")
	bad(1<<20, "far above the bound")
	bad(1<<14-1024, "1024 below")
	good(1<<14-1023, "1023 below")
	return m
}

func stepRun() *mediaMaker {
	m := runOf("steps of the ratchet", vectorGroup, 60)
	m.begin(beginOf(vectorGroup, 60, leafVector{Leaf: 1, Session: 8}, leafVector{Leaf: 2, Session: 9}))
	at := func(c vectors.Case, step int, ctr uint64) { m.frame(c, 8, refFrame{step: step, ctr: ctr}, nil) }
	at(vectors.Bad("9 steps ahead"), 9, 0)
	at(vectors.Good("8 steps ahead"), 8, 0)
	at(vectors.Bad("the step where it was"), 0, 0)
	at(vectors.Good("the step before"), 7, 3)
	at(vectors.Bad("the same again"), 7, 3)
	at(vectors.Bad("two steps before"), 6, 0)
	m.frame(vectors.Bad("the next step, and it does not open"), 8, refFrame{step: 9, aad: 1}, nil)
	at(vectors.Good("so the step is still here"), 8, 1)
	at(vectors.Good("the next step, CTR 700 first"), 9, 700)
	at(vectors.Good("the next step, a CTR before"), 9, 1)
	at(vectors.Bad("CTR 700 again"), 9, 700)
	at(vectors.Good("what was the step is the step before"), 8, 2)
	at(vectors.Bad("its window is the same"), 8, 1)
	m.after(9_999)
	at(vectors.Good("the step before, after 9.999 s"), 8, 3)
	m.after(1)
	at(vectors.Bad("the step before, after 10 s"), 8, 4)
	m.frame(vectors.Good("long KID of a step above 15"), 8, refFrame{step: 17, long: true}, nil)
	m.frame(vectors.Good("its short KID"), 8, refFrame{step: 17, ctr: 1}, nil)
	m.frame(vectors.Bad("the short KID of step 1 is the same, the key is not"), 8, refFrame{step: 1, ctr: 2}, nil)
	m.frame(vectors.Good("session 9 begins"), 9, refFrame{leaf: 2, ctr: 9}, nil)
	m.after(299_999)
	m.frame(vectors.Good("5 min less 1 ms after its first frame"), 9, refFrame{leaf: 2, ctr: 10}, nil)
	m.after(1)
	m.frame(vectors.Good("5 min: the receiver has gone a step on, and this is the one before"), 9, refFrame{leaf: 2, ctr: 11}, nil)
	m.frame(vectors.Good("9 steps from the first are 8 from there"), 9, refFrame{leaf: 2, step: 9}, nil)
	m.frame(vectors.Bad("17 steps from there are too many"), 9, refFrame{leaf: 2, step: 18, long: true}, nil)
	return m
}

// headerRun has headers that are not the shortest ones. What they say and what is
// sealed is right, so that nothing but their form tells them from good frames.
func headerRun() *mediaMaker {
	m := runOf("a header that says KID or CTR in more bytes than they need", vectorGroup, 48)
	m.begin(beginOf(vectorGroup, 48, leafVector{Leaf: 1, Session: 8}))
	at := func(c vectors.Case, x refFrame) { m.frame(c, 8, x, nil) }
	at(vectors.Bad("KID 0 in a byte of its own"), refFrame{kidMore: 1})
	at(vectors.Bad("KID 0 in 8 bytes"), refFrame{kidMore: 8})
	at(vectors.Bad("CTR 0 in a byte of its own"), refFrame{ctrMore: 1})
	at(vectors.Good("KID 0 and CTR 0 in the first byte"), refFrame{})
	at(vectors.Bad("CTR 7 in a byte of its own"), refFrame{ctr: 7, ctrMore: 1})
	at(vectors.Bad("CTR 8 in two bytes"), refFrame{ctr: 8, ctrMore: 1})
	at(vectors.Good("CTR 8 in one byte"), refFrame{ctr: 8})
	at(vectors.Bad("CTR 300 in three bytes"), refFrame{ctr: 300, ctrMore: 1})
	at(vectors.Bad("a long KID in seven bytes"), refFrame{ctr: 300, long: true, kidMore: 1})
	at(vectors.Good("CTR 300 in two bytes, a long KID in six"), refFrame{ctr: 300, long: true})
	at(vectors.Bad("KID 7 in a byte of its own"), refFrame{step: 7, kidMore: 1})
	at(vectors.Bad("KID 8 in two bytes"), refFrame{step: 8, kidMore: 1})
	at(vectors.Good("KID 8 in one byte"), refFrame{step: 8})
	return m
}

// sentRuns are what a sender makes of frames. It follows §7.1 to §7.3 by itself.
func sentRuns() []sentRun {
	const second = 1000
	begin := func(group []byte, epoch uint64) epochBegin {
		b := beginOf(group, epoch, leafVector{Leaf: 1, Session: 8})
		b.Own = 0
		return *b
	}
	context := vectorContext(vectorGroup, 70)
	frame := func(c vectors.Case, ms int64, limit int, opus []byte, position []float32, x refFrame, size int) frameOut {
		out := frameOut{Case: c, MS: ms, Limit: limit, Opus: opus, Position: position, FrameNumber: uint64(x.number), Terminator: x.end == 1}
		if !c.Valid {
			return out
		}
		x.leaf, x.plain = 0, refPlain(0, opus, nil, size)
		if position != nil {
			x.plain = refPlain(8, opus, refPosition(context, []byte("game"), position[0], position[1], position[2]), size)
		}
		x.base = vectorBase(x.group, x.epoch, 0)
		out.Body = join([]byte{0x10}, x.seal())
		return out
	}
	a, b, c := bytes.Repeat([]byte{1}, 14), bytes.Repeat([]byte{2}, 30), bytes.Repeat([]byte{3}, 60)
	x := func(step int, ctr uint64, long bool, number uint16) refFrame {
		return refFrame{group: vectorGroup, epoch: 70, step: step, ctr: ctr, long: long, number: number}
	}
	end := x(0, 7, false, 14)
	end.end = 1
	d := func(ctr uint64, step int) refFrame {
		return refFrame{group: vectorDirect, epoch: 1, step: step, ctr: ctr, long: true, number: uint16(2 * ctr)}
	}
	direct := begin(vectorDirect, 1)
	direct.Direct = true
	return []sentRun{
		{"a channel group", begin(vectorGroup, 70), []frameOut{
			frame(vectors.Good("the first: long KID"), 0, 900, a, nil, x(0, 0, true, 0), 16),
			frame(vectors.Good("a longer one"), 20, 900, b, nil, x(0, 1, true, 2), 32),
			frame(vectors.Good("the size is sticky"), 20, 900, a, nil, x(0, 2, true, 4), 32),
			frame(vectors.Good("position"), 20, 900, a, []float32{1, -2, 0.5}, x(0, 3, true, 6), 32),
			frame(vectors.Good("2 s less 1 ms after the first"), 2*second-61, 900, a, nil, x(0, 4, true, 8), 32),
			frame(vectors.Good("2 s: short KID"), 1, 900, a, nil, x(0, 5, false, 10), 32),
			frame(vectors.Good("a keep-alive is as long as the others"), 20, 900, nil, nil, x(0, 6, false, 12), 32),
			frame(vectors.Good("the terminator"), 20, 900, a, nil, end, 32),
			frame(vectors.Bad("no room for the frame"), 20, 34, a, nil, x(0, 8, false, 16), 0),
			frame(vectors.Bad("no room at all"), 20, 10, nil, nil, x(0, 8, false, 16), 0),
			frame(vectors.Bad("Opus that head cannot say"), 20, 9000, bytes.Repeat([]byte{1}, 4096), nil, x(0, 8, false, 16), 0),
			frame(vectors.Bad("no room for the position"), 20, 45, a, []float32{1, 2, 3}, x(0, 8, false, 16), 0),
			frame(vectors.Good("room for a smaller step of the ladder; a frame that was refused took no CTR"), 20, 44, a, nil, x(0, 8, false, 16), 24),
			frame(vectors.Good("room for no step of the ladder: not padded"), 20, 35, a[:13], nil, x(0, 9, false, 18), 15),
			frame(vectors.Good("longer than all before"), 20, 900, c, nil, x(0, 10, false, 20), 64),
			frame(vectors.Good("5 min less 1 ms after the first"), 300*second-2180-1, 900, a, nil, x(0, 11, false, 22), 64),
			frame(vectors.Good("5 min: the next step"), 1, 900, a, nil, x(1, 0, false, 24), 64),
			frame(vectors.Good("a pause of an hour is one step"), 3600*second, 900, a, nil, x(2, 0, false, 26), 64),
		}},
		{"a direct group: long KIDs for ever", direct, []frameOut{
			frame(vectors.Good("the first"), 0, 900, a, nil, d(0, 0), 16),
			frame(vectors.Good("after a minute"), 60*second, 900, a, nil, d(1, 0), 16),
			frame(vectors.Bad("no room"), 20, 30, a, nil, d(2, 0), 0),
		}},
	}
}
