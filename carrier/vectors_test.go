package carrier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/internal/vectors"
)

var update = flag.Bool("update", false, "write the files of docs/spec/vectors anew that this package makes")

// reassemblyFile is docs/spec/vectors/reassembly.json: Sotto protocol §13, the
// second part of 1.
type reassemblyFile struct {
	About []string        `json:"about"`
	Runs  []reassemblyRun `json:"runs"`
}

type reassemblyRun struct {
	vectors.Case
	Parts   []partVector   `json:"parts"`
	Objects []objectVector `json:"objects,omitempty"`
}

type partVector struct {
	MS   int64       `json:"ms,omitempty"`
	From uint32      `json:"from"`
	Data vectors.Hex `json:"data,omitempty"`
	Text string      `json:"text,omitempty"`
}

type objectVector struct {
	After int         `json:"after_part"`
	From  uint32      `json:"from"`
	Kind  uint8       `json:"kind"`
	Body  vectors.Hex `json:"body"`
}

// rawRef and rawFragments are the letter of §1.1 and §1.2.
func rawRef(kind byte, body []byte) []byte {
	sum := sha256.Sum256(slices.Concat([]byte("sotto/1 object"), []byte{kind}, body))
	return sum[:]
}

func rawFragments(kind byte, body []byte) (list [][]byte) {
	id := rawRef(kind, body)[:8]
	count := (len(body) + 987) / 988
	for i := range count {
		part := body[i*988 : min((i+1)*988, len(body))]
		list = append(list, slices.Concat([]byte{1, kind}, id, []byte{byte(i), byte(count)}, part))
	}
	return list
}

func rawTexts(kind byte, body []byte, size int, image bool) (list []string) {
	id := rawRef(kind, body)[:8]
	count := (len(body) + size - 1) / size
	for i := range count {
		part := body[i*size : min((i+1)*size, len(body))]
		text := fmt.Sprintf("sotto:1,%02X,%d,%d,%s", kind, i, count, base64.StdEncoding.EncodeToString(slices.Concat(id, part)))
		if image {
			text = `<img src="` + text + `"/>`
		}
		list = append(list, text)
	}
	return list
}

// stripes is a body each of whose fragments is another byte.
func stripes(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i/988)
	}
	return b
}

func makeReassembly() reassemblyFile {
	f := reassemblyFile{About: []string{
		"How parts become objects: Sotto protocol, sections 1.2, 1.3 and 12. The receiver is session 7 in regime E, no sender is a member, and nothing was asked for.",
		"parts come one after the other, ms after the one before, from the session that the server names: data is that of a plugin message, text is a private text message.",
		"objects are what a receiver has then, and no others: after which part, counted from 0. A run that is not valid yields none.",
	}}
	const kind = 2
	a, b := stripes(0x10, 2*988+5), stripes(0x40, 988+1)
	pa, pb := rawFragments(kind, a), rawFragments(kind, b)
	from := func(session uint32, data ...[]byte) (list []partVector) {
		for _, d := range data {
			list = append(list, partVector{From: session, Data: d})
		}
		return list
	}
	object := func(after int, session uint32, body []byte) objectVector {
		return objectVector{after, session, kind, body}
	}
	run := func(c vectors.Case, parts []partVector, objects ...objectVector) {
		f.Runs = append(f.Runs, reassemblyRun{c, parts, objects})
	}
	wrong := func(d []byte, at int, to byte) []byte { d = slices.Clone(d); d[at] = to; return d }
	late := func(ms int64, list []partVector) []partVector { list[len(list)-1].MS = ms; return list }
	text := func(session uint32, s ...string) (list []partVector) {
		for _, s := range s {
			list = append(list, partVector{From: session, Text: s})
		}
		return list
	}

	run(vectors.Good("one fragment"), from(8, rawFragments(kind, a[:988])...), object(0, 8, a[:988]))
	run(vectors.Good("three in order"), from(8, pa...), object(2, 8, a))
	run(vectors.Good("three the other way round"), from(8, pa[2], pa[1], pa[0]), object(2, 8, a))
	run(vectors.Good("each twice"), from(8, pa[0], pa[0], pa[1], pa[1], pa[2], pa[2]), object(4, 8, a))
	run(vectors.Good("the second time an index comes its other bytes are ignored"), from(8, pa[0], wrong(pa[0], 12, 0xEE), pa[1], pa[2]), object(3, 8, a))
	run(vectors.Good("two objects of one sender, mixed: each stands where its last part came"), from(8, pa[0], pb[1], pa[1], pb[0], pa[2]), object(3, 8, b), object(4, 8, a))
	run(vectors.Good("one object of two senders"), slices.Concat(from(8, pa[0]), from(9, pa[2], pa[1]), from(8, pa[1], pa[2]), from(9, pa[0])), object(4, 8, a), object(5, 9, a))
	run(vectors.Good("the last part after 29.9 s"), late(29_900, from(8, pa...)), object(2, 8, a))
	run(vectors.Good("again within 60 s: ignored"), slices.Concat(from(8, pa...), late(50_000, from(8, pa[0])), from(8, pa[1], pa[2])), object(2, 8, a))
	run(vectors.Good("again after 60 s"), slices.Concat(from(8, pa...), late(61_000, from(8, pa[0])), from(8, pa[1], pa[2])), object(2, 8, a), object(5, 8, a))
	big := stripes(0, 64*988)
	run(vectors.Good("64 fragments"), from(8, rawFragments(kind, big)...), object(63, 8, big))
	hello := rawFragments(1, a[:100])[0]
	run(vectors.Good("a Hello in one fragment passes each time"), from(8, hello, hello), objectVector{0, 8, 1, a[:100]}, objectVector{1, 8, 1, a[:100]})
	ta := rawTexts(kind, a[:100], 40, false)
	run(vectors.Good("three texts, the last one first"), text(8, ta[2], ta[0], ta[1]), object(2, 8, a[:100]))
	run(vectors.Good("texts in the image form"), text(8, rawTexts(kind, a[:100], 60, true)...), object(1, 8, a[:100]))

	bad := func(why string, parts ...partVector) { run(vectors.Bad("%s", why), parts) }
	bad("the first is lost", from(8, pa[1], pa[2])...)
	bad("one in the middle is lost", from(8, pa[0], pa[2])...)
	bad("the last is lost", from(8, pa[0], pa[1], pa[0], pa[1])...)
	bad("a changed byte came first: it stays, and the whole does not match its id", from(8, pa[0], wrong(pa[1], 500, 0xEE), pa[1], pa[2])...)
	bad("wrong id in all", from(8, wrong(pa[0], 2, 0), wrong(pa[1], 2, 0), wrong(pa[2], 2, 0))...)
	bad("wrong id in one", from(8, pa[0], wrong(pa[1], 9, pa[1][9]^1), pa[2])...)
	bad("another kind in one", from(8, pa[0], wrong(pa[1], 1, 3), pa[2])...)
	bad("another kind in all: it is under the id", from(8, wrong(pa[0], 1, 3), wrong(pa[1], 1, 3), wrong(pa[2], 1, 3))...)
	bad("another count in one", from(8, pa[0], wrong(pa[1], 11, 4), pa[2])...)
	bad("another version in one", from(8, pa[0], wrong(pa[1], 0, 2), pa[2])...)
	bad("index above the count", from(8, pa[0], wrong(pa[1], 10, 3), pa[2])...)
	bad("one in the middle is a byte short", from(8, pa[0], pa[1][:999], pa[2])...)
	bad("from two sessions", slices.Concat(from(8, pa[0]), from(9, pa[1]), from(8, pa[2]))...)
	tf := rawTexts(kind, a, 988, false)
	bad("from two paths", slices.Concat(from(8, pa[0]), text(8, tf[1]), from(8, pa[2]))...)
	bad("a stranger's last part after 30 s", late(30_000, from(8, pa...))...)
	bad("from the receiver itself: an echo of nothing", from(7, pa...)...)
	bad("from session 0", from(0, pa...)...)
	bad("several parts of an unknown kind", from(8, rawFragments(0xEE, a)...)...)
	bad("a Probe of somebody else", from(8, rawFragments(0x0C, a[:8])...)...)
	var many [][]byte
	for i, d := range rawFragments(kind, stripes(0, 65*988)) {
		if i == 0 || i > 62 {
			many = append(many, d)
		}
	}
	bad("65 fragments: none of them counts", from(8, many...)...)
	bad("a text and half of another", text(8, ta[0], ta[1])...)
	bad("one of three texts is damaged", text(8, ta[0], ta[1][:len(ta[1])-1], ta[2])...)
	var five [][]byte
	for i := range byte(5) {
		five = append(five, rawFragments(kind, stripes(0x80+i, 988+9))[0])
	}
	first := rawFragments(kind, stripes(0x80, 988+9))
	bad("a fifth open object of one sender: the one silent for longest is forgotten, and its last part is the first of an object again", from(8, append(five, first[1])...)...)
	return f
}

func TestVectorsReassembly(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/reassembly.json", makeReassembly())
	for _, r := range f.Runs {
		if r.Valid != (len(r.Objects) > 0) {
			t.Fatalf("%s: valid is %v, with %d objects", r.Why, r.Valid, len(r.Objects))
		}
		c := carrier.New()
		now := start
		connectE(t, c, &now, 7)
		left := r.Objects
		for i, p := range r.Parts {
			now = now.Add(time.Duration(p.MS) * time.Millisecond)
			in := plugin(p.From, p.Data)
			if p.Text != "" {
				in = carrier.Text{From: p.From, Message: p.Text}
			}
			for _, out := range handle(c, now, in) {
				got, ok := out.(carrier.Received)
				if !ok || len(left) == 0 || left[0].After != i || got.From != left[0].From ||
					byte(got.Object.Kind) != left[0].Kind || !bytes.Equal(got.Object.Body, left[0].Body) {
					t.Errorf("%s: %+v at part %d", r.Why, out, i)
					continue
				}
				if ordered := p.Text == ""; got.Ordered != ordered {
					t.Errorf("%s: ordered is %v", r.Why, got.Ordered)
				}
				left = left[1:]
			}
		}
		if len(left) > 0 {
			t.Errorf("%s: %d objects did not come; %+v", r.Why, len(left), c.Stats())
		}
	}
}
