package carrier_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/envelope"
)

// fragment returns the data of a plugin message that holds o whole.
func fragment(tb testing.TB, o envelope.Object) []byte {
	tb.Helper()
	b, err := envelope.AppendSingle(nil, o)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func text(tb testing.TB, p envelope.TextPart) string {
	tb.Helper()
	b, err := envelope.AppendText(nil, p, false)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func part(o envelope.Object) envelope.TextPart {
	return envelope.TextPart{Kind: o.Kind, ID: o.Ref().ID(), Count: 1, Part: o.Body}
}

func changed(b []byte, i int, to byte) []byte {
	b = bytes.Clone(b)
	b[i] = to
	return b
}

func TestReceive(t *testing.T) {
	o := object(envelope.KindMLSMessage, 1, 200)
	data, txt := fragment(t, o), text(t, part(o))
	long := part(object(envelope.KindMLSMessage, 2, 3000))
	two := long
	two.Count = 2
	wrong := part(o)
	wrong.ID[3]++
	plugin := func(from uint32, data []byte) carrier.PluginData {
		return carrier.PluginData{From: from, ID: envelope.DataID, Data: data}
	}
	for _, tt := range []struct {
		name  string
		in    carrier.Input
		got   bool
		stats carrier.Stats
	}{
		{"a fragment", plugin(8, data), true, carrier.Stats{}},
		{"a text", carrier.Text{From: 8, Message: txt}, true, carrier.Stats{}},
		{"a long text", carrier.Text{From: 8, Message: text(t, long)}, true, carrier.Stats{}},
		{"a kind from the future: the engine's to ignore", plugin(8, fragment(t, object(0x55, 1, 9))), true, carrier.Stats{}},
		{"another plugin's data", carrier.PluginData{From: 8, ID: "other", Data: data}, false, carrier.Stats{}},
		{"another plugin's data with our prefix", carrier.PluginData{From: 8, ID: envelope.DataID + "0", Data: data}, false, carrier.Stats{}},
		{"what a human wrote", carrier.Text{From: 8, Message: "hello"}, false, carrier.Stats{}},
		{"fragment of nobody", plugin(0, data), false, carrier.Stats{Anonymous: 1}},
		{"text of nobody", carrier.Text{Message: txt}, false, carrier.Stats{Anonymous: 1}},
		{"our own fragment that we did not send", plugin(7, data), false, carrier.Stats{StrayEcho: 1}},
		{"our own text", carrier.Text{From: 7, Message: txt}, false, carrier.Stats{StrayEcho: 1}},
		{"no data", plugin(8, nil), false, carrier.Stats{Malformed: 1}},
		{"another version", plugin(8, changed(data, 0, 2)), false, carrier.Stats{Malformed: 1}},
		{"another kind than the id says", plugin(8, changed(data, 1, 9)), false, carrier.Stats{Malformed: 1}},
		{"another id", plugin(8, changed(data, 5, data[5]+1)), false, carrier.Stats{Malformed: 1}},
		{"another part", plugin(8, changed(data, 100, data[100]+1)), false, carrier.Stats{Malformed: 1}},
		{"one of two fragments", plugin(8, changed(changed(data, 10, 1), 11, 2)), false, carrier.Stats{}},
		{"one of two fragments of a kind from the future", plugin(8, changed(changed(changed(data, 10, 1), 11, 2), 1, 0x55)), false, carrier.Stats{OverBound: 1}},
		{"the second half of a Probe", plugin(8, changed(changed(changed(data, 10, 1), 11, 2), 1, 12)), false, carrier.Stats{Misplaced: 1}},
		{"text with another id", carrier.Text{From: 8, Message: text(t, wrong)}, false, carrier.Stats{Malformed: 1}},
		{"one of two texts", carrier.Text{From: 8, Message: text(t, two)}, false, carrier.Stats{}},
		{"half a text", carrier.Text{From: 8, Message: txt[:len(txt)-30]}, false, carrier.Stats{Malformed: 1}},
		{"somebody else's Probe", plugin(8, fragment(t, object(envelope.KindProbe, 1, 8))), false, carrier.Stats{Misplaced: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := carrier.New()
			now := start
			connectE(t, c, &now, 7)
			outs := handle(c, now, tt.in)
			if got := len(outs) == 1; got != tt.got || len(outs) > 1 {
				t.Errorf("outputs %v", outs)
			}
			if tt.got {
				if r, ok := outs[0].(carrier.Received); !ok || r.From != 8 {
					t.Errorf("output %+v", outs[0])
				}
			}
			if st := c.Stats(); st != tt.stats {
				t.Errorf("stats %+v, want %+v", st, tt.stats)
			}
		})
	}
	t.Run("not connected", func(t *testing.T) {
		c := carrier.New()
		if outs := handle(c, start, plugin(8, data)); len(outs) != 0 || c.Stats().Anonymous != 1 {
			t.Errorf("%v, %+v", outs, c.Stats())
		}
	})
	t.Run("the caller's buffer is free again", func(t *testing.T) {
		c := carrier.New()
		now := start
		connectE(t, c, &now, 7)
		buf := bytes.Clone(data)
		c.Handle(now, plugin(8, buf))
		clear(buf)
		out, _ := c.Next()
		if r := out.(carrier.Received); r.Object.Kind != o.Kind || !bytes.Equal(r.Object.Body, o.Body) {
			t.Error("the body changed with the buffer")
		}
	})
}

func TestDuplicates(t *testing.T) {
	type step struct {
		after time.Duration // since the first
		from  uint32
		o     envelope.Object
		txt   bool
		got   bool
	}
	o, hello := object(envelope.KindWant, 1, 40), object(envelope.KindHello, 1, 40)
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"for a minute", []step{{0, 8, o, false, true}, {time.Second, 8, o, false, false}, {59 * time.Second, 8, o, false, false}, {60 * time.Second, 8, o, false, true}, {61 * time.Second, 8, o, false, false}}},
		{"whatever path", []step{{0, 8, o, false, true}, {0, 8, o, true, false}}},
		{"per sender", []step{{0, 8, o, false, true}, {0, 9, o, false, true}}},
		{"a Hello may come again", []step{{0, 8, hello, false, true}, {time.Second, 8, hello, false, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := carrier.New()
			now := start
			connectE(t, c, &now, 7)
			for i, s := range tt.steps {
				var in carrier.Input = carrier.PluginData{From: s.from, ID: envelope.DataID, Data: fragment(t, s.o)}
				if s.txt {
					in = carrier.Text{From: s.from, Message: text(t, part(s.o))}
				}
				if outs := handle(c, now.Add(s.after), in); (len(outs) == 1) != s.got {
					t.Errorf("step %d: %v", i, outs)
				}
			}
		})
	}
}

// TestDuplicatesBounded fills the memory from both ends: a sender's 257th id
// costs its first, the 1025th sender costs the one silent for longest.
func TestDuplicatesBounded(t *testing.T) {
	c := carrier.New()
	now := start
	connectE(t, c, &now, 7)
	receive := func(from uint32, seed uint64) bool {
		return len(handle(c, now, carrier.PluginData{From: from, ID: envelope.DataID, Data: fragment(t, object(envelope.KindWant, seed, 8))})) == 1
	}
	for i := range uint64(256) {
		if !receive(8, i) {
			t.Fatalf("id %d refused", i)
		}
	}
	if receive(8, 0) || receive(8, 255) {
		t.Error("256 ids are not remembered")
	}
	if !receive(8, 256) || receive(8, 1) || receive(8, 256) {
		t.Error("the 257th id did more than replace the first")
	}
	if !receive(8, 0) {
		t.Error("the first id is still remembered: memory is not bounded")
	}
	now = now.Add(time.Second)
	for s := range uint32(1023) {
		receive(100+s, 1)
	}
	if receive(8, 256) {
		t.Error("1024 senders are not remembered")
	}
	now = now.Add(time.Second)
	receive(8, 300) // heard of last, so another one gives way
	receive(5000, 1)
	if receive(8, 256) || receive(5000, 1) {
		t.Error("the wrong sender was forgotten")
	}
	if !receive(100, 1) {
		t.Error("the sender silent for longest is still remembered: memory is not bounded")
	}
}

func TestIsOurs(t *testing.T) {
	for id, want := range map[string]bool{"sotto/1": true, "sotto/2": false, "": false, "sotto/10": false} {
		if got := carrier.IsOurs(id); got != want {
			t.Errorf("IsOurs(%q) = %v", id, got)
		}
	}
	txt := text(t, part(object(envelope.KindWant, 1, 40)))
	for s, want := range map[string]bool{txt: true, txt[:20]: true, "hello": false, "": false, strings.Repeat("a", 5000): false} {
		if got := carrier.IsText(s); got != want {
			t.Errorf("IsText(%.20q) = %v", s, got)
		}
	}
}

// FuzzInputs drives a carrier by a script of bytes: nothing panics, nothing is
// due in the past, no Send ends twice, what waits stays bounded.
func FuzzInputs(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"))
	f.Add(append([]byte{0, 7, 8, 200}, bytes.Repeat([]byte{3, 9, 1, 4}, 50)...))
	f.Add(append([]byte{0, 1, 9, 255, 9, 255, 9, 255}, bytes.Repeat([]byte{5, 3, 2, 9, 30}, 40)...))
	f.Fuzz(func(t *testing.T, script []byte) {
		c := carrier.New()
		now := start
		var token uint64
		ended := map[uint64]bool{}
		var last []byte // what we sent last, to echo
		next := func() byte {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return b
		}
		for len(script) > 0 {
			var in carrier.Input
			switch next() % 14 {
			case 0:
				in = carrier.Connected{Session: uint32(next() % 4)}
			case 1:
				in = carrier.Limits{MessageLength: uint32(next()) * 40}
			case 2:
				in = carrier.Spent{Texts: int(int8(next()))}
			case 3:
				token++
				o := object(envelope.Kind(next()), token%5, int(next())*20)
				in = carrier.Send{Token: token, Object: o, To: []uint32{uint32(next() % 4)}, Priority: carrier.Priority(next())}
			case 4:
				in = carrier.PluginData{From: uint32(next() % 4), ID: envelope.DataID, Data: last}
			case 5:
				n := min(int(next()), len(script))
				in = carrier.PluginData{From: uint32(next() % 4), ID: envelope.DataID, Data: script[:min(n, len(script))]}
			case 6:
				in = carrier.Text{From: uint32(next() % 4), Message: "sotto:1," + string(script[:min(40, len(script))])}
			case 7:
				in = carrier.SpentPlugin{N: int(next()) << 20}
			case 8:
				in = carrier.Disconnected{}
			case 9:
				now = now.Add(time.Duration(next()) * 20 * time.Millisecond)
			case 11:
				in = carrier.Cancel{Token: token - uint64(next()%8)}
			case 12:
				in = carrier.Solicit{From: uint32(next() % 4), Kind: envelope.Kind(next())}
			case 13: // one of two or three parts
				o := object(envelope.Kind(1+next()%13), uint64(next()%3), 1000+int(next())*6)
				n := (len(o.Body) + envelope.MaxPart - 1) / envelope.MaxPart
				i := int(next()) % n
				data, err := envelope.Fragment{Kind: o.Kind, ID: o.Ref().ID(), Index: uint8(i), Count: uint8(n), Part: o.Body[i*envelope.MaxPart : min((i+1)*envelope.MaxPart, len(o.Body))]}.Append(nil)
				if err != nil {
					t.Fatal(err)
				}
				in = carrier.PluginData{From: uint32(next() % 4), ID: envelope.DataID, Data: data}
			case 10:
				now = now.Add(-time.Duration(next()) * time.Second)
			}
			for _, o := range handle(c, now, in) {
				switch o := o.(type) {
				case carrier.PluginOut:
					last = o.Data
				case carrier.Delivered:
					if ended[o.Token] {
						t.Fatalf("token %d ended twice", o.Token)
					}
					ended[o.Token] = true
				case carrier.Failed:
					if ended[o.Token] {
						t.Fatalf("token %d ended twice", o.Token)
					}
					ended[o.Token] = true
				case carrier.Received:
					if o.From == 0 || len(o.Object.Body) == 0 {
						t.Fatalf("received %+v", o)
					}
				}
			}
			if open := int(token) - len(ended); open > 64+2*64 {
				t.Fatalf("%d Sends are open", open)
			}
		}
		for _, o := range handle(c, now, carrier.Disconnected{}) {
			if f, ok := o.(carrier.Failed); ok {
				ended[f.Token] = true
			}
		}
		if len(ended) != int(token) {
			t.Fatalf("%d of %d Sends ended", len(ended), token)
		}
	})
}

// FuzzReceive gives foreign bytes on both paths: what is received is what its
// id says.
func FuzzReceive(f *testing.F) {
	o := object(envelope.KindWant, 1, 40)
	f.Add(fragment(f, o), text(f, part(o)))
	f.Add([]byte{1, 12}, "sotto:1,0C,0,1,AAAA")
	f.Add([]byte{}, `<img src="sotto:1,02,0,1,AAAA"/>`)
	f.Fuzz(func(t *testing.T, data []byte, message string) {
		c := carrier.New()
		now := start
		connectE(t, c, &now, 7)
		for _, out := range handle(c, now, carrier.PluginData{From: 8, ID: envelope.DataID, Data: data}) {
			r := out.(carrier.Received)
			if !bytes.Equal(fragment(t, r.Object), data) {
				t.Errorf("received %+v from %x", r, data)
			}
		}
		for _, out := range handle(c, now, carrier.Text{From: 9, Message: message}) {
			r := out.(carrier.Received)
			if !carrier.IsText(message) || r.From != 9 || len(r.Object.Body) > len(message) {
				t.Errorf("received %+v from %q", r, message)
			}
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	c := carrier.New()
	now := start
	connectE(b, c, &now, 7)
	data := fragment(b, object(envelope.KindHello, 1, 900))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		c.Handle(now, carrier.PluginData{From: 8, ID: envelope.DataID, Data: data})
		if _, ok := c.Next(); !ok {
			b.Fatal("nothing received")
		}
	}
}

func BenchmarkSendAndEcho(b *testing.B) {
	c := carrier.New()
	now := start
	connectE(b, c, &now, 7)
	o := object(envelope.KindMLSMessage, 1, 900)
	to := []uint32{8, 9, 10, 11}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		c.Handle(now, carrier.Send{Object: o, To: to, Priority: carrier.PriorityText})
		out, _ := c.Next()
		c.Handle(now, carrier.PluginData{From: 7, ID: envelope.DataID, Data: out.(carrier.PluginOut).Data})
		if out, _ = c.Next(); out != (carrier.Delivered{Ordered: true}) {
			b.Fatal("not delivered")
		}
	}
}
