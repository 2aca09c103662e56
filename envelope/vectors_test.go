package envelope_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
)

var update = flag.Bool("update", false, "write the files of docs/spec/vectors anew that this package makes")

// objectsFile is docs/spec/vectors/objects.json: Sotto protocol §13, the first
// part of 1.
type objectsFile struct {
	About     []string   `json:"about"`
	Refs      []refCase  `json:"refs"`
	Fragments []fragCase `json:"fragments"`
	Singles   []fragCase `json:"whole_in_one_fragment"`
}

type refCase struct {
	vectors.Case
	Kind uint8       `json:"kind"`
	Body vectors.Hex `json:"body"`
	Ref  vectors.Hex `json:"ref"`
}

type fragCase struct {
	vectors.Case
	Data  vectors.Hex `json:"data"`
	Kind  uint8       `json:"kind,omitempty"`
	ID    vectors.Hex `json:"id,omitempty"`
	Index uint8       `json:"index,omitempty"`
	Count uint8       `json:"count,omitempty"`
	Part  vectors.Hex `json:"part,omitempty"`
}

func makeObjects() objectsFile {
	f := objectsFile{About: []string{
		"Sotto protocol, sections 1.1 and 1.2.",
		"refs: ref is, or is not, that of the object with this kind and body.",
		"fragments: data of a plugin message, which is, or is not, a fragment with this kind, id, index, count and part.",
		"whole_in_one_fragment: data is a fragment of one; what must be refused does not match its id, or is one of several.",
	}}
	ref := func(label string, kind byte, body []byte) []byte {
		sum := sha256.Sum256(slices.Concat([]byte(label), []byte{kind}, body))
		return sum[:]
	}
	const label = "sotto/1 object"
	for _, o := range []struct {
		why  string
		kind byte
		body []byte
	}{
		{"a Probe", 0x0C, []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{"one byte", 0x01, []byte{0}},
		{"a full fragment", 0x02, fill(988)},
		{"a large Welcome", 0x03, fill(512 << 10)},
		{"an unknown kind", 0xEE, []byte("body")},
	} {
		f.Refs = append(f.Refs, refCase{vectors.Good("%s", o.why), o.kind, o.body, ref(label, o.kind, o.body)})
	}
	body := []byte("body")
	f.Refs = append(f.Refs, []refCase{
		{vectors.Bad("of another kind"), 0x01, body, ref(label, 2, body)},
		{vectors.Bad("without the kind"), 0x01, body, ref(label+"body", 0, nil)},
		{vectors.Bad("of another label"), 0x01, body, ref("sotto/2 object", 1, body)},
		{vectors.Bad("without a label"), 0x01, body, ref("", 1, body)},
		{vectors.Bad("of another body"), 0x01, body, ref(label, 1, []byte("Body"))},
		{vectors.Bad("cut to 8 bytes"), 0x01, body, ref(label, 1, body)[:8]},
	}...)
	const id = "idididid"
	good := func(why string, kind byte, index, count uint8, part []byte) {
		f.Fragments = append(f.Fragments, fragCase{vectors.Good("%s", why), rawFragment(1, kind, id, index, count, part), kind, []byte(id), index, count, part})
	}
	bad := func(why string, data []byte) {
		f.Fragments = append(f.Fragments, fragCase{Case: vectors.Bad("%s", why), Data: data})
	}
	good("the shortest", 1, 0, 1, fill(1))
	good("the longest", 1, 0, 1, fill(988))
	good("the first of two", 1, 0, 2, fill(988))
	good("the last of two", 1, 1, 2, fill(1))
	good("the last of 64", 1, 63, 64, fill(7))
	good("an unknown kind has its form too", 0xEE, 0, 1, fill(7))
	bad("nothing", nil)
	bad("version 0", rawFragment(0, 1, id, 0, 1, fill(7)))
	bad("version 2", rawFragment(2, 1, id, 0, 1, fill(7)))
	bad("half a header", rawFragment(1, 1, id, 0, 1, nil)[:11])
	bad("an empty part", rawFragment(1, 1, id, 0, 1, nil))
	bad("an empty last part", rawFragment(1, 1, id, 1, 2, nil))
	bad("1001 bytes", rawFragment(1, 1, id, 0, 1, fill(989)))
	bad("count 0", rawFragment(1, 1, id, 0, 0, fill(7)))
	bad("one of 65", rawFragment(1, 1, id, 0, 65, fill(988)))
	bad("the 65th", rawFragment(1, 1, id, 64, 65, fill(7)))
	bad("index = count", rawFragment(1, 1, id, 1, 1, fill(7)))
	bad("a first part that is a byte short", rawFragment(1, 1, id, 0, 2, fill(987)))

	hello := string(ref(label, 1, fill(5))[:8])
	single := rawFragment(1, 1, hello, 0, 1, fill(5))
	f.Singles = append(f.Singles, fragCase{vectors.Good("a whole object"), single, 1, []byte(hello), 0, 1, fill(5)})
	for _, c := range []struct {
		why string
		at  int
	}{{"another kind", 1}, {"the first byte of the id", 2}, {"the last byte of the id", 9}, {"the first byte of the body", 12}, {"the last byte of the body", 16}} {
		data := slices.Clone(single)
		data[c.at] ^= 1
		f.Singles = append(f.Singles, fragCase{Case: vectors.Bad("%s", c.why), Data: data})
	}
	f.Singles = append(f.Singles, fragCase{Case: vectors.Bad("the last of two"), Data: rawFragment(1, 1, hello, 1, 2, fill(5))})
	return f
}

func TestVectorsObjects(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/objects.json", makeObjects())
	for _, c := range f.Refs {
		if ref := envelope.RefOf(envelope.Kind(c.Kind), c.Body); bytes.Equal(ref[:], c.Ref) != c.Valid {
			t.Errorf("ref, %s: %x", c.Why, ref)
		}
	}
	for _, c := range f.Fragments {
		p, err := envelope.ParseFragment(c.Data)
		if (err == nil) != c.Valid {
			t.Errorf("fragment, %s: %v", c.Why, err)
		} else if c.Valid && (byte(p.Kind) != c.Kind || !bytes.Equal(p.ID[:], c.ID) || p.Index != c.Index || p.Count != c.Count || !bytes.Equal(p.Part, c.Part)) {
			t.Errorf("fragment, %s: %+v", c.Why, p)
		}
	}
	for _, c := range f.Singles {
		p, err := envelope.ParseFragment(c.Data)
		if err != nil {
			t.Errorf("single, %s: %v", c.Why, err)
		}
		o, err := envelope.OpenSingle(p)
		if (err == nil) != c.Valid || c.Valid && (byte(o.Kind) != c.Kind || !bytes.Equal(o.Body, c.Part)) {
			t.Errorf("single, %s: %v, %v", c.Why, o, err)
		}
	}
}

// bodiesFile is docs/spec/vectors/bodies.json: the form of every structure.
type bodiesFile struct {
	About  []string   `json:"about"`
	Bodies []bodyCase `json:"bodies"`
}

type bodyCase struct {
	vectors.Case
	Structure string      `json:"structure"`
	Body      vectors.Hex `json:"body"`
}

// structures are the parsers, by the names of the protocol.
var structures = map[string]func([]byte) (interface{ Append([]byte) []byte }, error){
	"Presence": reads(envelope.ParsePresence), "Hello": reads(envelope.ParseHello), "Ref": reads(envelope.ParseRef),
	"Want": reads(envelope.ParseWant), "Beacon": reads(envelope.ParseBeacon), "Report": reads(envelope.ParseReport),
	"KeyPackageRequest": reads(envelope.ParseKeyPackageRequest), "KeyPackageReply": reads(envelope.ParseKeyPackageReply),
	"AppData": reads(envelope.ParseAppData), "TextBody": reads(envelope.ParseAppText),
	"PluginBody": reads(envelope.ParseAppPlugin),
	"SottoLeaf":  reads(envelope.ParseSottoLeaf), "SottoGroup": reads(envelope.ParseSottoGroup),
}

// structureOf is the structure of one of bodies.
func structureOf(name string) string {
	switch {
	case name == "leave":
		return "AppData"
	case strings.Contains(name, "text"):
		return "TextBody"
	}
	first, _, _ := strings.Cut(name, " ")
	return strings.TrimSuffix(first, ",")
}

func makeBodies() bodiesFile {
	f := bodiesFile{About: []string{
		"The form of every structure: Sotto protocol, sections 1.1, 2.3, 2.4, 4, 6.4 and 8. Signatures are made-up bytes, and a KeyPackage need not be one.",
		"A valid body is read to its end and written again to the same bytes; the others are refused by their form alone.",
	}}
	good := map[string][]byte{}
	for _, c := range bodies() {
		s := structureOf(c.name)
		good[c.name] = c.good
		f.Bodies = append(f.Bodies, bodyCase{vectors.Good("%s", c.name), s, c.good})
		f.Bodies = append(f.Bodies, bodyCase{vectors.Bad("%s, the last byte cut", c.name), s, c.good[:len(c.good)-1]})
		f.Bodies = append(f.Bodies, bodyCase{vectors.Bad("%s, and a byte more", c.name), s, append(slices.Clone(c.good), 0)})
	}
	for _, r := range refusals {
		f.Bodies = append(f.Bodies, bodyCase{vectors.Bad("%s: %s", r.body, r.why), structureOf(r.body), r.of(good[r.body])})
	}
	return f
}

func TestVectorsBodies(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/bodies.json", makeBodies())
	seen := map[string]bool{}
	for _, c := range f.Bodies {
		parse := structures[c.Structure]
		if parse == nil {
			t.Fatalf("%s: no structure %q", c.Why, c.Structure)
		}
		seen[c.Structure] = true
		v, err := parse(c.Body)
		if (err == nil) != c.Valid || err == nil && !bytes.Equal(v.Append(nil), c.Body) {
			t.Errorf("%s, %s: %v", c.Structure, c.Why, err)
		}
	}
	if len(seen) != len(structures) {
		t.Errorf("cases for %d of %d structures", len(seen), len(structures))
	}
}
