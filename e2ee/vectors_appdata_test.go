package e2ee_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
)

// appDataFile is docs/spec/vectors/appdata.json: Sotto protocol §13, 17.
type appDataFile struct {
	About    []string        `json:"about"`
	Start    int64           `json:"start_ms"`
	Received []appDataVector `json:"received"`
	Padding  []paddingVector `json:"padding"` // package audience holds its code against it
}

type appDataVector struct {
	vectors.Case
	MS      int64       `json:"ms,omitempty"`
	Session uint32      `json:"session"`
	Leaf    uint32      `json:"leaf"`
	Direct  bool        `json:"direct,omitempty"`
	Data    vectors.Hex `json:"data"`
	HTML    string      `json:"html,omitempty"`
	SentMS  uint64      `json:"sent_ms,omitempty"`
	Missing bool        `json:"missing,omitempty"`
}

type paddingVector struct {
	vectors.Case
	Commit  bool `json:"commit,omitempty"`
	Content int  `json:"content"`
	Padding int  `json:"padding"`
}

func makeAppData() appDataFile {
	const start = 1_800_000_000_000
	f := appDataFile{About: []string{
		"Application data: Sotto protocol, sections 2 and 8.",
		"received: what members wrote, as MLS gives it out, one after the other, ms after the one before; start_ms is the receiver's clock at the beginning. direct says that the group is a direct one. What is valid is shown as html, with the time sent_ms if there is one; everything else shows nothing. missing: by now a person is told that a message is missing.",
		"padding: zero bytes behind the content of a PrivateMessage of so many bytes (application_data<V> and what authenticates it).",
	}, Start: start}
	id := func(n byte) []byte { return bytes.Repeat([]byte{n}, 16) }
	data := func(kind byte, id []byte, seq uint32, sent int64, body []byte) []byte {
		return join([]byte{kind}, id, u32(seq), u64(uint64(sent)), refVec(body))
	}
	text := func(scope byte, channel uint32, html string) []byte {
		return join([]byte{scope}, u32(channel), refVec([]byte(html)))
	}
	channel := func(n byte, seq uint32, html string) []byte { return data(1, id(n), seq, start, text(0, 3, html)) }
	add := func(v appDataVector) {
		if v.Session == 0 {
			v.Session, v.Leaf = 8, 1
		}
		if v.Valid && v.SentMS == 0 {
			v.SentMS = start
		}
		f.Received = append(f.Received, v)
	}
	add(appDataVector{Case: vectors.Good("a text; seq need not begin at 0 for who joins later"), Data: channel(1, 7, "one"), HTML: "one"})
	add(appDataVector{Case: vectors.Bad("the same again"), Data: channel(1, 7, "one")})
	add(appDataVector{Case: vectors.Bad("the same id with another seq"), Data: channel(1, 8, "one")})
	add(appDataVector{Case: vectors.Good("the same id of another author"), Session: 9, Leaf: 2, Data: channel(1, 0, "two"), HTML: "two"})
	add(appDataVector{Case: vectors.Good("to the tree"), Data: data(1, id(2), 9, start, text(1, 3, "tree")), HTML: "tree"})
	add(appDataVector{Case: vectors.Good("nothing in it"), Data: channel(3, 10, ""), HTML: ""})
	add(appDataVector{Case: vectors.Bad("private, in the group of a channel"), Data: data(1, id(4), 11, start, text(2, 0xFFFFFFFF, "psst"))})
	add(appDataVector{Case: vectors.Good("private, in a direct group"), Direct: true, Data: data(1, id(5), 0, start, text(2, 0xFFFFFFFF, "psst")), HTML: "psst"})
	add(appDataVector{Case: vectors.Bad("a type of later versions"), Data: data(77, id(6), 12, start, []byte("?"))})
	add(appDataVector{Case: vectors.Bad("scope 3"), Data: data(1, id(7), 13, start, text(3, 3, "x"))})
	add(appDataVector{Case: vectors.Bad("a channel's without channel"), Data: data(1, id(8), 14, start, text(0, 0xFFFFFFFF, "x"))})
	add(appDataVector{Case: vectors.Bad("not UTF-8"), Data: data(1, id(9), 15, start, text(0, 3, "\xff"))})
	add(appDataVector{Case: vectors.Bad("a byte behind the text"), Data: data(1, id(10), 16, start, append(text(0, 3, "x"), 0))})
	add(appDataVector{Case: vectors.Bad("a byte behind the data"), Data: append(channel(11, 17, "x"), 0)})
	add(appDataVector{Case: vectors.Bad("cut"), Data: channel(12, 17, "x")[:30]})
	add(appDataVector{Case: vectors.Bad("a leave with a body"), Data: data(6, id(13), 17, start, []byte{1})})
	shown := func(v appDataVector, sent int64, keep bool) {
		v.Data = data(1, id(byte(20+len(f.Received))), 17, sent, text(0, 3, "when"))
		v.HTML, v.Session, v.Leaf = "when", 10, 3
		if v.SentMS = uint64(sent); !keep {
			v.SentMS = 1 // see below
		}
		add(v)
	}
	shown(appDataVector{Case: vectors.Good("5 min ahead of the own clock")}, start+300_000, true)
	shown(appDataVector{Case: vectors.Good("5 min behind")}, start-300_000, true)
	shown(appDataVector{Case: vectors.Good("above 5 min ahead: no time")}, start+300_001, false)
	shown(appDataVector{Case: vectors.Good("above 5 min behind: no time")}, start-300_001, false)
	for i := range f.Received {
		if f.Received[i].SentMS == 1 {
			f.Received[i].SentMS = 0
		}
	}
	later := func(v appDataVector) {
		v.Session, v.Leaf = 9, 2
		add(v)
	}
	later(appDataVector{Case: vectors.Good("1 and 2 are left out"), Data: channel(30, 3, "three"), HTML: "three"})
	later(appDataVector{Case: vectors.Good("2 comes late"), MS: 4000, Data: channel(31, 2, "late"), HTML: "late"})
	later(appDataVector{Case: vectors.Bad("5 s are over, and 1 has not come"), MS: 1000, Data: channel(31, 2, "late"), Missing: true})
	later(appDataVector{Case: vectors.Good("4 is left out"), Data: channel(32, 5, "five"), HTML: "five"})
	later(appDataVector{Case: vectors.Good("4 comes in time"), MS: 4999, Data: channel(33, 4, "four"), HTML: "four"})
	later(appDataVector{Case: vectors.Bad("nothing is missing"), MS: 6000, Data: channel(33, 4, "four")})

	for _, p := range []struct{ content, padding int }{
		{1, 63}, {64, 0}, {65, 191}, {256, 0}, {257, 767}, {1024, 0}, {1025, 3071}, {4096, 0}, {4097, 4095}, {8192, 0}, {96_100, 2204},
	} {
		f.Padding = append(f.Padding, paddingVector{vectors.Good("%d bytes", p.content), false, p.content, p.padding})
		f.Padding = append(f.Padding, paddingVector{vectors.Bad("%d bytes, and a byte more", p.content), false, p.content, p.padding + 1})
	}
	f.Padding = append(f.Padding, paddingVector{vectors.Good("a Commit: none"), true, 100, 0}, paddingVector{vectors.Bad("a Commit as text"), true, 100, 156})
	return f
}

func TestVectorsAppData(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/appdata.json", makeAppData())
	now := time.UnixMilli(f.Start)
	g := vectorEngine(t, now, nil, 8, 9, 10)
	for g.Handle(now, nil); ; {
		if _, ok := g.Next(); !ok {
			break
		}
	}
	for _, c := range f.Received {
		now = now.Add(time.Duration(c.MS) * time.Millisecond)
		g.Handle(now, nil)
		a := audience.Application{Group: envelope.GroupID(vectorGroup), Leaf: c.Leaf, Session: c.Session}
		if c.Direct {
			a.Group, a.Place = envelope.GroupID(vectorDirect), -1
		}
		var err error
		if a.Data, err = envelope.ParseAppData(c.Data); err == nil {
			g.TakeText(now, a)
		}
		shown, missing := 0, false
		for out, ok := g.Next(); ok; out, ok = g.Next() {
			switch out := out.(type) {
			case e2ee.TextReceived:
				shown++
				if out.From != c.Session || out.Text.HTML != c.HTML || out.Text.SentMS != c.SentMS {
					t.Errorf("%s: %+v", c.Why, out)
				}
			case e2ee.Notice:
				missing = missing || out.Code == e2ee.NoticeMissing
			}
		}
		if (shown == 1) != c.Valid || shown > 1 || missing != c.Missing {
			t.Errorf("%s: shown %d times, missing %v, %v", c.Why, shown, missing, err)
		}
	}
}
