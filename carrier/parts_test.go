package carrier_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/envelope"
)

// fragmentsOf returns all fragments of o as they stand in plugin messages.
func fragmentsOf(tb testing.TB, o envelope.Object) (all [][]byte) {
	tb.Helper()
	n := (len(o.Body) + envelope.MaxPart - 1) / envelope.MaxPart
	for i := range n {
		b, err := envelope.Fragment{
			Kind: o.Kind, ID: o.Ref().ID(), Index: uint8(i), Count: uint8(n),
			Part: o.Body[i*envelope.MaxPart : min((i+1)*envelope.MaxPart, len(o.Body))],
		}.Append(nil)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// textsOf returns all text parts of o with size bytes each.
func textsOf(tb testing.TB, o envelope.Object, size int, image bool) (all []string) {
	tb.Helper()
	n := (len(o.Body) + size - 1) / size
	for i := range n {
		b, err := envelope.AppendText(nil, envelope.TextPart{
			Kind: o.Kind, ID: o.Ref().ID(), Index: i, Count: n,
			Part: o.Body[i*size : min((i+1)*size, len(o.Body))],
		}, image)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

func plugin(from uint32, data []byte) carrier.Input {
	return carrier.PluginData{From: from, ID: envelope.DataID, Data: data}
}

// TestWays sends one object on each kind of server and looks at how it went.
func TestWays(t *testing.T) {
	tiny := func(m model) model { m.maxText = 100; return m }
	for _, tt := range []struct {
		name    string
		model   model
		limits  carrier.Limits
		size    int
		ordered bool
		plugins int // messages
		texts   int
		image   bool
	}{
		{"E, one byte", measured(true), murmur, 1, true, 1, 0, false},
		{"E, one fragment", measured(true), murmur, 988, true, 1, 0, false},
		{"E, two fragments", measured(true), murmur, 989, true, 2, 0, false},
		{"E, a Welcome of two fragments", measured(true), murmur, 1976, true, 2, 0, false},
		{"E, a Welcome of three is one text", measured(true), murmur, 1977, false, 0, 1, false},
		{"E, seven fragments without text", tiny(measured(true)), carrier.Limits{MessageLength: 1, ImageMessageLength: 1}, 6916, true, 7, 0, false},
		{"E, bulk", measured(true), murmur, 6917, false, 0, 1, true},
		{"E, one image", measured(true), murmur, 96000, false, 0, 1, true},
		{"E, two images", measured(true), murmur, 96001, false, 0, 2, true},
		{"E, the longest Welcome", measured(true), murmur, 512 << 10, false, 0, 6, true},
		{"E, no HTML", measured(true), carrier.Limits{MessageLength: 5000}, 7200, false, 0, 2, false},
		{"E, 30 plain parts", measured(true), carrier.Limits{MessageLength: 5000}, 30 * 3600, false, 0, 30, false},
		{"E, text refused", tiny(measured(true)), carrier.Limits{MessageLength: 1, ImageMessageLength: 1}, 63232, true, 64, 0, false},
		{"T, one part", umurmur(), murmur, 4400, true, 0, 1, false},
		{"T, two parts", umurmur(), murmur, 4401, true, 0, 2, false},
		{"T, ten parts", umurmur(), carrier.Limits{AllowHTML: true, MessageLength: 512, ImageMessageLength: 512}, 44000, true, 0, 10, false},
		{"T, sixty parts", umurmur(), murmur, 60 * 4400, true, 0, 60, false},
		{"N, one part", measured(false), murmur, 3600, false, 0, 1, false},
		{"N, an image", measured(false), murmur, 3601, false, 0, 1, true},
		{"N, three images", measured(false), murmur, 288000, false, 0, 3, true},
		{"N, no HTML", measured(false), carrier.Limits{MessageLength: 5000}, 128 * 3600, false, 0, 128, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.model, 7, 8, 9)
			o := object(envelope.KindWelcome, 1, tt.size)
			for _, s := range []uint32{7, 8, 9} {
				w.handle(s, tt.limits)
				w.handle(s, carrier.Members{Sessions: []uint32{7, 8, 9}})
				if tt.size > 200_000 {
					w.handle(s, carrier.Solicit{Kind: o.Kind, Ref: o.Ref()})
					for at := 5 * time.Second; at < 4*time.Minute; at += 5 * time.Second {
						w.at(at, func() { w.handle(s, carrier.Solicit{Kind: o.Kind, Ref: o.Ref()}) })
					}
				}
			}
			a := w.members[7]
			w.at(10*time.Second, func() {
				// A Welcome goes as text where a Commit of its size would be ordered.
				if got := a.c.Ordered(tt.size, 2); got != tt.ordered && tt.size != 1977 {
					t.Errorf("Ordered(%d) = %v", tt.size, got)
				}
				a.outs, a.outAt = nil, nil
				w.send(7, 1, o, carrier.PriorityWelcome, 8, 9)
			})
			w.run(5 * time.Minute)
			plugins, texts := 0, 0
			for _, out := range a.outs {
				switch out := out.(type) {
				case carrier.PluginOut:
					plugins++
				case carrier.TextOut:
					texts++
					if strings.HasPrefix(out.Message, "<img") != tt.image {
						t.Errorf("the wrong form: %.20s", out.Message)
					}
				case carrier.Delivered:
					if out.Ordered != tt.ordered {
						t.Errorf("%+v", out)
					}
				}
			}
			if plugins != tt.plugins || texts != tt.texts || len(a.failed) > 0 || a.delivered[1].IsZero() {
				t.Errorf("%d plugin messages, %d texts, failed %v", plugins, texts, a.failed)
			}
			for _, s := range []uint32{8, 9} {
				m := w.members[s]
				if len(m.got) != 1 || m.got[0].From != 7 || m.got[0].Ordered != tt.ordered || m.got[0].Object.Kind != o.Kind || !bytes.Equal(m.got[0].Object.Body, o.Body) {
					t.Errorf("session %d received %d objects; %+v", s, len(m.got), m.c.Stats())
				}
				if st := m.c.Stats(); st != (carrier.Stats{}) {
					t.Errorf("session %d: %+v", s, st)
				}
			}
			if w.drops != 0 {
				t.Errorf("%d drops", w.drops)
			}
		})
	}
}

var murmur = carrier.Limits{AllowHTML: true, MessageLength: 5000, ImageMessageLength: 131072}

// TestManyListed: on uMurmur every listed session makes the parts shorter; the
// server of these tests ends the test above its 8 186 bytes.
func TestManyListed(t *testing.T) {
	for _, n := range []int{1, 18, 19, 20, 60, 127, 300} {
		sessions := make([]uint32, n+1)
		for i := range sessions {
			sessions[i] = uint32(i+1) << 20 // five bytes each, and a tag
		}
		w := newWorld(t, umurmur(), sessions[0], sessions[1])
		o := object(envelope.KindBeacon, 1, 4400)
		w.at(10*time.Second, func() { w.send(sessions[0], 1, o, carrier.PriorityBeacon, sessions...) })
		w.run(time.Minute)
		want := 1
		if n+1 > 20 {
			want = 2
		}
		if a := w.members[sessions[0]]; a.delivered[1].IsZero() || a.sentText != 1+want || len(w.members[sessions[1]].got) != 1 {
			t.Errorf("%d receivers: failed %v, %d texts", n, a.failed, a.sentText)
		}
	}
	c := carrier.New()
	now := start
	connectT(t, c, &now, 7)
	to := make([]uint32, 1000)
	for i := range to {
		to[i] = uint32(i + 10)
	}
	var e *carrier.TooLongError
	if f := handle(c, now, carrier.Send{Object: object(envelope.KindBeacon, 1, 10), To: to})[0].(carrier.Failed); !errors.As(f.Reason, &e) || e.Max != 0 {
		t.Errorf("a thousand receivers: %v", f.Reason)
	}
}

// TestPartsResent: only what is missing is repeated, and a part that never comes
// back ends the whole.
func TestPartsResent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		model  model
		lose   []int // of the messages after the Probes
		resent uint64
		err    error
		took   time.Duration
	}{
		{"E, none lost", measured(true), nil, 0, nil, 80 * time.Millisecond},
		{"E, one lost", measured(true), []int{2}, 1, nil, 1080 * time.Millisecond},
		{"E, all lost once", measured(true), []int{1, 2, 3, 4}, 4, nil, 1080 * time.Millisecond},
		{"E, one lost for good", measured(true), []int{2, 5, 6, 7}, 3, carrier.ErrNoEcho, 0},
		{"T, one lost", umurmur(), []int{1}, 1, nil, 1280 * time.Millisecond},
		{"T, one lost for good", umurmur(), []int{4, 5, 6, 7}, 3, carrier.ErrNoEcho, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probes := 1
			if tt.model.textEcho {
				tt.model.loseText = func(s uint32, n int) bool { return s == 7 && slices.Contains(tt.lose, n-probes) }
			} else {
				tt.model.lose = func(s uint32, n int) bool { return s == 7 && slices.Contains(tt.lose, n-probes) }
			}
			w := newWorld(t, tt.model, 7, 8)
			size := 3*envelope.MaxPart + 1
			if tt.model.textEcho {
				size = 3*envelope.MaxUMurmurPart + 1
			}
			o := object(envelope.KindMLSMessage, 1, size)
			w.at(20*time.Second, func() { w.send(7, 1, o, carrier.PriorityAdd, 8) })
			w.run(time.Minute)
			a := w.members[7]
			if a.c.Stats().Resent != tt.resent || !errors.Is(a.failed[1], tt.err) {
				t.Errorf("%+v, failed with %v", a.c.Stats(), a.failed[1])
			}
			b := w.members[8]
			if tt.err != nil {
				if len(b.got) != 0 || b.c.Stats().Unfinished != 1 || a.c.Stats().NoEcho != 1 {
					t.Errorf("received %d, %+v", len(b.got), b.c.Stats())
				}
				return
			}
			if took := a.delivered[1].Sub(start) - 20*time.Second; took != tt.took || len(b.got) != 1 {
				t.Errorf("took %v, want %v; received %d", took, tt.took, len(b.got))
			}
		})
	}
}

// TestRemoveBeforeAged: a Remove waits for no long object either, however long ago that has
// begun.
func TestRemoveBeforeAged(t *testing.T) {
	for _, tt := range []struct {
		name string
		model
	}{{"uMurmur", umurmur()}, {"no echo", measured(false)}, {"echo", measured(true)}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.model, 1, 2)
			w.send(1, 1, object(envelope.KindMLSMessage, 1, 60_000), carrier.PriorityAdd, 2)
			w.run(8 * time.Second)
			asked := w.now
			w.send(1, 2, object(envelope.KindMLSMessage, 2, 1200), carrier.PriorityRemove, 2)
			w.run(3 * time.Minute)
			at, ok := w.members[1].delivered[2]
			if took := at.Sub(asked); !ok || took > 2*time.Second {
				t.Errorf("a Remove is there: %v, after %v", ok, took)
			}
			if _, ok := w.members[1].delivered[1]; !ok {
				t.Error("the long object never is")
			}
		})
	}
}

// TestPriorityBetweenParts: what is urgent does not wait for the parts of what
// is not, and no more than four objects are unfinished at a time.
func TestPriorityBetweenParts(t *testing.T) {
	w := newWorld(t, measured(true), 7, 8)
	at := func(token uint64, p carrier.Priority, n int) {
		w.send(7, token, object(envelope.KindMLSMessage, token, n), p, 8)
	}
	w.at(10*time.Second, func() {
		for i := range uint64(6) {
			at(1+i, carrier.PriorityUpdate, 6*988)
		}
	})
	w.at(10500*time.Millisecond, func() { at(20, carrier.PriorityRemove, 2*988); at(21, carrier.PriorityBeacon, 100) })
	w.run(2 * time.Minute)
	var order []int
	for _, r := range w.members[8].got {
		for tok, o := range w.objects {
			if o.Ref() == r.Object.Ref() {
				order = append(order, int(tok))
			}
		}
	}
	if want := []int{1, 20, 21, 2, 3, 4, 5, 6}; !slices.Equal(order, want) {
		t.Errorf("received in the order %v, want %v", order, want)
	}
	if st := w.members[8].c.Stats(); st != (carrier.Stats{}) {
		t.Errorf("%+v", st)
	}

	// A server that echoes nothing any more: three of many parts are begun, the
	// fourth place is for what is urgent.
	c := carrier.New()
	now := start
	connectE(t, c, &now, 7)
	begun := map[envelope.ID]bool{}
	look := func(outs []carrier.Output) {
		for _, o := range outs {
			if o, ok := o.(carrier.PluginOut); ok {
				f, _ := envelope.ParseFragment(o.Data)
				begun[f.ID] = true
			}
		}
	}
	urgent := object(envelope.KindMLSMessage, 5, 1000)
	for i := range uint64(7) {
		p := carrier.PriorityText
		if i == 5 {
			p = carrier.PriorityRemove
		}
		look(handle(c, now, carrier.Send{Token: i, Object: object(envelope.KindMLSMessage, i, 1000), To: []uint32{8}, Priority: p}))
	}
	for range 8 {
		look(handle(c, now, carrier.Tick{}))
		if d := c.Deadline(); !d.After(now) {
			t.Errorf("deadline %v", d.Sub(now))
		}
		now = now.Add(100 * time.Millisecond)
	}
	if len(begun) != 4 || !begun[urgent.Ref().ID()] {
		t.Errorf("%d begun, the urgent one: %v", len(begun), begun[urgent.Ref().ID()])
	}
}

// TestAged: what has begun is not starved by what is more urgent, for strangers
// forget an object after thirty seconds.
func TestAged(t *testing.T) {
	w := newWorld(t, measured(true), 7, 8)
	w.at(10*time.Second, func() { w.send(7, 1, object(envelope.KindHello, 1, 6*988), carrier.PriorityUpdate, 8) })
	for i := range uint64(150) { // twice of what the bucket allows
		w.at(10*time.Second+time.Duration(i)*150*time.Millisecond, func() {
			w.send(7, 2+i, object(envelope.KindMLSMessage, 2+i, 500), carrier.PriorityText, 8)
		})
	}
	// Three parts leave at once, because others have used up the bucket.
	w.at(10*time.Second-time.Millisecond, func() { w.localPlugin(7, 7) })
	w.run(2 * time.Minute)
	if took := w.members[7].delivered[1].Sub(start) - 10*time.Second; took < 5*time.Second || took > 7*time.Second {
		t.Errorf("took %v", took)
	}
	if st := w.members[8].c.Stats(); st != (carrier.Stats{}) || w.drops != 0 {
		t.Errorf("%+v, %d drops", st, w.drops)
	}
}

func TestCancel(t *testing.T) {
	c := carrier.New()
	now := start
	connectE(t, c, &now, 7)
	send := func(token uint64, n int) []carrier.Output {
		return handle(c, now, carrier.Send{Token: token, Object: object(envelope.KindMLSMessage, token, n), To: []uint32{8}, Priority: carrier.PriorityText})
	}
	first := send(1, 6*988)
	send(2, 6*988) // four of its six leave
	send(3, 100)   // waits
	wantFailed(t, handle(c, now, carrier.Cancel{Token: 3}), 3, carrier.ErrCanceled)
	wantFailed(t, handle(c, now, carrier.Cancel{Token: 2}), 2, carrier.ErrCanceled)
	for _, token := range []uint64{2, 3, 77} {
		if outs := handle(c, now, carrier.Cancel{Token: token}); len(outs) != 0 {
			t.Errorf("canceled again: %v", outs)
		}
	}
	var last []carrier.Output
	for _, o := range first {
		last = handle(c, now, plugin(7, o.(carrier.PluginOut).Data))
	}
	if len(last) != 1 || last[0] != (carrier.Delivered{Token: 1, Ordered: true}) {
		t.Errorf("the first: %v", last)
	}
	now = now.Add(time.Minute)
	if outs := handle(c, now, carrier.Tick{}); len(outs) != 0 || !c.Deadline().IsZero() {
		t.Errorf("something is left: %v, deadline %v", outs, c.Deadline())
	}
}

// TestReassembly gives parts in every way a network can: what is received is
// exactly what was complete, and once.
func TestReassembly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := carrier.New()
		now := start
		connectE(t, c, &now, 7)
		type message struct {
			in     carrier.Input
			object int
		}
		var all []message
		var objects []envelope.Object
		var from []uint32
		missing := map[int]bool{}
		n := rapid.IntRange(1, 4).Draw(rt, "objects")
		for i := range n {
			sender := uint32(8 + i%2)
			o := object(envelope.KindMLSMessage, uint64(i), rapid.IntRange(8, 20_000).Draw(rt, "size"))
			objects, from = append(objects, o), append(from, sender)
			var parts []carrier.Input
			if rapid.Bool().Draw(rt, "text") {
				for _, s := range textsOf(t, o, rapid.IntRange(500, 3600).Draw(rt, "part"), false) {
					parts = append(parts, carrier.Text{From: sender, Message: s})
				}
			} else {
				for _, b := range fragmentsOf(t, o) {
					parts = append(parts, plugin(sender, b))
				}
			}
			for _, in := range parts {
				times := rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 1, 2, 3, 0}).Draw(rt, "times")
				if times == 0 {
					missing[i] = true
				}
				for range times {
					all = append(all, message{in, i})
				}
			}
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		got := map[int]int{}
		for _, m := range all {
			for _, out := range handle(c, now, m.in) {
				rec := out.(carrier.Received)
				if rec.From != from[m.object] || rec.Object.Ref() != objects[m.object].Ref() {
					rt.Fatalf("received %v from %d", rec.Object.Kind, rec.From)
				}
				got[m.object]++
			}
			now = now.Add(time.Duration(r.IntN(20)) * time.Millisecond)
		}
		for i := range objects {
			want := 1
			if missing[i] {
				want = 0
			}
			if got[i] != want {
				rt.Fatalf("object %d received %d times, want %d; %+v", i, got[i], want, c.Stats())
			}
		}
	})
}

// TestPartsRefused changes one of three parts: nothing is received, and the
// right parts, sent again, still are.
func TestPartsRefused(t *testing.T) {
	o := object(envelope.KindMLSMessage, 1, 2*988+5)
	good := fragmentsOf(t, o)
	for _, tt := range []struct {
		name  string
		bad   []byte
		stats carrier.Stats // besides what is unfinished later
	}{
		{"another byte", changed(good[1], 500, good[1][500]+1), carrier.Stats{Malformed: 1}},
		{"another version", changed(good[1], 0, 2), carrier.Stats{Malformed: 1}},
		{"another kind", changed(good[1], 1, 3), carrier.Stats{}},
		{"another id", changed(good[1], 2, good[1][2]+1), carrier.Stats{}},
		{"another index", changed(good[1], 10, 0), carrier.Stats{Duplicate: 1}},
		{"index past the end", changed(good[1], 10, 3), carrier.Stats{Malformed: 1}},
		{"another count", changed(good[1], 11, 4), carrier.Stats{}},
		{"65 fragments", changed(good[1], 11, 65), carrier.Stats{Malformed: 1}},
		{"a byte short", good[1][:999], carrier.Stats{Malformed: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := carrier.New()
			now := start
			connectE(t, c, &now, 7)
			for i, b := range [][]byte{good[0], tt.bad, good[2]} {
				if outs := handle(c, now, plugin(8, b)); len(outs) != 0 {
					t.Fatalf("part %d: %v", i, outs)
				}
			}
			if st := c.Stats(); st != tt.stats {
				t.Errorf("%+v, want %+v", st, tt.stats)
			}
			got := 0
			for _, b := range good {
				got += len(handle(c, now, plugin(8, b)))
			}
			if got != 1 {
				t.Errorf("the right parts are received %d times", got)
			}
		})
	}
	// Parts of two senders, and of the two paths, are never put together.
	c := carrier.New()
	now := start
	connectE(t, c, &now, 7)
	texts := textsOf(t, o, 988, false)
	for _, in := range []carrier.Input{plugin(8, good[0]), plugin(9, good[1]), plugin(8, good[2]), carrier.Text{From: 8, Message: texts[1]}} {
		if outs := handle(c, now, in); len(outs) != 0 {
			t.Errorf("%v", outs)
		}
	}
}

// TestCompletingPart: the place of an object in the order is that of the part
// that completes it, for its sender as for its receivers.
func TestCompletingPart(t *testing.T) {
	a, b := object(envelope.KindMLSMessage, 1, 1500), object(envelope.KindMLSMessage, 2, 100)
	parts, single := fragmentsOf(t, a), fragment(t, b)
	c := carrier.New()
	now := start
	connectE(t, c, &now, 7)
	handle(c, now, carrier.Send{Token: 1, Object: a, To: []uint32{8}})
	if outs := handle(c, now, plugin(7, parts[0])); len(outs) != 0 {
		t.Fatal(outs)
	}
	if r, ok := handle(c, now, plugin(8, single))[0].(carrier.Received); !ok || !r.Ordered {
		t.Fatal("the one between is not received in its place")
	}
	if outs := handle(c, now, plugin(7, parts[1])); len(outs) != 1 || outs[0] != (carrier.Delivered{Token: 1, Ordered: true}) {
		t.Fatal(outs)
	}
	// A Hello of several parts is received once, whatever is repeated of it.
	hello := fragmentsOf(t, object(envelope.KindHello, 3, 3000))
	got := 0
	for range 3 {
		for _, f := range hello {
			got += len(handle(c, now, plugin(8, f)))
		}
	}
	if got != 1 || c.Stats().Duplicate != 8 {
		t.Errorf("received %d times, %+v", got, c.Stats())
	}
}

func ExampleCarrier_Ordered() {
	c := carrier.New()
	fmt.Println(c.Ordered(6916, 3), "while the regime is unknown")
	// Output: false while the regime is unknown
}
