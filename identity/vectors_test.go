package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/internal/vectors"
)

var update = flag.Bool("update", false, "write the files of docs/spec/vectors anew that this package makes")

// identityFile is docs/spec/vectors/identity.json: Sotto protocol §13, of 4 the
// statement, and the contact strings of 15.
type identityFile struct {
	About      []string          `json:"about"`
	Keys       []keyVector       `json:"keys"`
	Signatures []signVector      `json:"signatures"`
	Statements []statementVector `json:"statements"`
	Contacts   []contactVector   `json:"contacts"`
}

type keyVector struct {
	Name   string      `json:"name"`
	Seed   vectors.Hex `json:"seed"`
	Public vectors.Hex `json:"public"`
}

type signVector struct {
	vectors.Case
	Public    vectors.Hex `json:"public"`
	Label     string      `json:"label"`
	Content   vectors.Hex `json:"content"`
	Signature vectors.Hex `json:"signature"`
}

type statementVector struct {
	vectors.Case
	Statement  vectors.Hex `json:"statement"`
	SessionKey vectors.Hex `json:"session_key"`
	Server     vectors.Hex `json:"server"`
	Session    uint32      `json:"session"`
}

type contactVector struct {
	vectors.Case
	Text   string      `json:"text"`
	Public vectors.Hex `json:"public,omitempty"`
}

func refKey(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, 32))
}

func refVector(b []byte) []byte {
	if len(b) < 64 {
		return append([]byte{byte(len(b))}, b...)
	}
	return append(binary.BigEndian.AppendUint16(nil, 0x4000|uint16(len(b))), b...)
}

// refSign is SottoSign by the letter of §2.1.
func refSign(k ed25519.PrivateKey, label string, content []byte) []byte {
	return ed25519.Sign(k, append(refVector([]byte("Sotto 1 "+label)), refVector(content)...))
}

func refPublic(k ed25519.PrivateKey) []byte { return k.Public().(ed25519.PublicKey) }

// order is that of the base point of edwards25519, for signatures whose S is not
// reduced.
var order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

func notReduced(signature []byte) []byte {
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	n := new(big.Int).Add(new(big.Int).SetBytes(s), order)
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return append(slices.Clone(signature[:32]), b...)
}

func flipped(b []byte, at int) []byte { b = slices.Clone(b); b[at] ^= 1; return b }

// refStatement has its parts where §2.2 puts them; signatures are made last.
type refStatement struct {
	identity, device, session ed25519.PrivateKey
	notAfter                  uint64
	server                    []byte
	number                    uint32
	extra                     []byte
	deviceLabel, sessionLabel string
}

func (r refStatement) bytes() []byte {
	head := binary.BigEndian.AppendUint64(slices.Concat(refPublic(r.identity), refPublic(r.device)), r.notAfter)
	device := refSign(r.identity, r.deviceLabel, append([]byte{0, 1}, head...))
	session := refSign(r.device, r.sessionLabel, binary.BigEndian.AppendUint32(slices.Concat(refPublic(r.session), r.server), r.number))
	return slices.Concat([]byte{0, 1, 0}, head, device, session, refVector(r.extra))
}

func makeIdentity() identityFile {
	id, device, session, eve := refKey(0x11), refKey(0x22), refKey(0x33), refKey(0xEE)
	f := identityFile{About: []string{
		"Sotto protocol, sections 2.1, 2.2 and 9.3. The seeds are those of RFC 8032; whoever has them makes the same signatures.",
		"signatures: SottoSign(key, label, content), which verifies or does not.",
		"statements: an identity statement in a leaf with this signature key, whose SottoLeaf has this server and session.",
		"contacts: strings that are, or are not, that of this identity key.",
	}}
	for _, k := range []struct {
		name string
		key  ed25519.PrivateKey
	}{{"identity", id}, {"device", device}, {"session", session}, {"another", eve}} {
		f.Keys = append(f.Keys, keyVector{k.name, k.key.Seed(), refPublic(k.key)})
	}

	content := []byte("what is signed")
	sign := func(c vectors.Case, public []byte, label string, content, signature []byte) {
		f.Signatures = append(f.Signatures, signVector{c, public, label, content, signature})
	}
	for _, label := range []string{"Device", "Session", "Hello", "Beacon", "Report", "Contact", "Certificate"} {
		sign(vectors.Good("label %s", label), refPublic(id), label, content, refSign(id, label, content))
		sign(vectors.Bad("label %s, signed as %s", label, "Other"), refPublic(id), label, content, refSign(id, "Other", content))
	}
	long := bytes.Repeat([]byte{0xA5}, 300)
	sign(vectors.Good("a content with a length of two bytes"), refPublic(id), "Hello", long, refSign(id, "Hello", long))
	sign(vectors.Good("no content"), refPublic(id), "Hello", nil, refSign(id, "Hello", nil))
	good := refSign(id, "Hello", content)
	sign(vectors.Bad("another key"), refPublic(eve), "Hello", content, good)
	sign(vectors.Bad("another content"), refPublic(id), "Hello", flipped(content, 0), good)
	sign(vectors.Bad("R changed"), refPublic(id), "Hello", content, flipped(good, 0))
	sign(vectors.Bad("S changed"), refPublic(id), "Hello", content, flipped(good, 40))
	sign(vectors.Bad("S not reduced"), refPublic(id), "Hello", content, notReduced(good))
	sign(vectors.Bad("a byte short"), refPublic(id), "Hello", content, good[:63])
	sign(vectors.Bad("a byte more"), refPublic(id), "Hello", content, append(slices.Clone(good), 0))
	sign(vectors.Bad("signed without a label"), refPublic(id), "Hello", content, ed25519.Sign(id, content))
	sign(vectors.Bad("signed under MLS 1.0"), refPublic(id), "Hello", content, ed25519.Sign(id, append(refVector([]byte("MLS 1.0 Hello")), refVector(content)...)))
	sign(vectors.Bad("signed without lengths"), refPublic(id), "Hello", content, ed25519.Sign(id, append([]byte("Sotto 1 Hello"), content...)))
	sign(vectors.Bad("a key of small order: the identity, whose signature 1, 0 verifies in loose code"), append([]byte{1}, make([]byte, 31)...), "Hello", content, slices.Concat([]byte{1}, make([]byte, 63)))
	sign(vectors.Bad("a key that is not canonical: p + 1"), slices.Concat([]byte{0xEE}, bytes.Repeat([]byte{0xFF}, 30), []byte{0x7F}), "Hello", content, slices.Concat([]byte{1}, make([]byte, 63)))

	server := bytes.Repeat([]byte{0xC0}, 32)
	base := refStatement{id, device, session, 1_893_456_000, server, 9, nil, "Device", "Session"}
	state := func(c vectors.Case, r refStatement, change func([]byte) []byte) {
		b := r.bytes()
		if change != nil {
			b = change(b)
		}
		f.Statements = append(f.Statements, statementVector{c, b, refPublic(session), server, 9})
	}
	record := func(n int) []byte { return append([]byte{0, 7}, refVector(bytes.Repeat([]byte{5}, n))...) }
	state(vectors.Good("without extra"), base, nil)
	with := func(change func(*refStatement)) refStatement { r := base; change(&r); return r }
	state(vectors.Good("without an end"), with(func(r *refStatement) { r.notAfter = 0 }), nil)
	state(vectors.Good("a record of an unknown type"), with(func(r *refStatement) { r.extra = record(3) }), nil)
	state(vectors.Good("two records"), with(func(r *refStatement) { r.extra = append(record(0), record(70)...) }), nil)
	state(vectors.Good("the longest extra"), with(func(r *refStatement) { r.extra = record(508) }), nil)
	state(vectors.Good("the device is the identity"), with(func(r *refStatement) { r.device = id }), nil)
	for _, c := range []struct {
		why    string
		r      refStatement
		change func([]byte) []byte
	}{
		{"the device signature is of another key", base, func(b []byte) []byte {
			other := with(func(r *refStatement) { r.identity = eve }).bytes()
			return slices.Concat(b[:75], other[75:139], b[139:])
		}},
		{"the session signature is of another key", base, func(b []byte) []byte {
			other := with(func(r *refStatement) { r.device = eve }).bytes()
			return slices.Concat(b[:139], other[139:203], b[203:])
		}},
		{"the device signature has another label", with(func(r *refStatement) { r.deviceLabel = "Session" }), nil},
		{"the session signature has another label", with(func(r *refStatement) { r.sessionLabel = "Device" }), nil},
		{"for another session key", with(func(r *refStatement) { r.session = eve }), nil},
		{"for another server", with(func(r *refStatement) { r.server = flipped(server, 31) }), nil},
		{"for another session", with(func(r *refStatement) { r.number = 10 }), nil},
		{"the identity swapped for another", base, func(b []byte) []byte { return slices.Concat(b[:3], refPublic(eve), b[35:]) }},
		{"the device swapped for another", base, func(b []byte) []byte { return slices.Concat(b[:35], refPublic(eve), b[67:]) }},
		{"the end taken away", base, func(b []byte) []byte { return slices.Concat(b[:67], make([]byte, 8), b[75:]) }},
		{"the device signature changed", base, func(b []byte) []byte { return flipped(b, 100) }},
		{"the session signature changed", base, func(b []byte) []byte { return flipped(b, 200) }},
		{"version 2", base, func(b []byte) []byte { b[1] = 2; return b }},
		{"mode 1", base, func(b []byte) []byte { b[2] = 1; return b }},
		{"an identity of small order", base, func(b []byte) []byte { return slices.Concat(b[:3], make([]byte, 32), b[35:]) }},
		{"an extra of 513 bytes", with(func(r *refStatement) { r.extra = record(509) }), nil},
		{"half a record", with(func(r *refStatement) { r.extra = []byte{0} }), nil},
		{"a record longer than extra", with(func(r *refStatement) { r.extra = []byte{0, 7, 2, 1} }), nil},
		{"a length that is not the shortest", base, func(b []byte) []byte { return append(b[:203], 0x40, 0) }},
		{"a byte more", base, func(b []byte) []byte { return append(b, 0) }},
		{"a byte short", base, func(b []byte) []byte { return b[:len(b)-1] }},
	} {
		state(vectors.Bad("%s", c.why), c.r, c.change)
	}

	key := identity.PublicKey(refPublic(id))
	text := key.Contact() // bech32m itself is held against BIP 350 in contact_test.go
	f.Contacts = append(f.Contacts, contactVector{vectors.Good("version 1, no records"), text, key[:]})
	for _, c := range [][2]string{
		{"a character wrong", text[:20] + map[bool]string{true: "q", false: "p"}[text[20] == 'p'] + text[21:]},
		{"two characters swapped", text[:10] + text[11:12] + text[10:11] + text[12:]},
		{"a character missing", text[:30] + text[31:]},
		{"a character too many", text + "q"},
		{"a q before the end", text[:64] + "q" + text[64:]},
		{"upper case", strings.ToUpper(text)},
		{"a character that there is not", text[:8] + "b" + text[9:]},
		{"a blank in front", " " + text},
		{"another beginning", "sotti" + text[5:]},
		{"nothing", ""},
		{"checksum of bech32 without m", "sotto1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqsdzyl5d"},
	} {
		f.Contacts = append(f.Contacts, contactVector{Case: vectors.Bad("%s", c[0]), Text: c[1]})
	}
	return f
}

func TestVectors(t *testing.T) {
	f := vectors.Golden(t, *update, "../docs/spec/vectors/identity.json", makeIdentity())
	for _, k := range f.Keys {
		if !bytes.Equal(ed25519.NewKeyFromSeed(k.Seed).Public().(ed25519.PublicKey), k.Public) {
			t.Errorf("key %s: another public key", k.Name)
		}
	}
	for _, c := range f.Signatures {
		if identity.PublicKey(c.Public).Verify(identity.Label(c.Label), c.Content, c.Signature) != c.Valid {
			t.Errorf("signature, %s: verifies is %v", c.Why, !c.Valid)
		}
	}
	for _, c := range f.Statements {
		s, err := identity.ParseStatement(c.Statement)
		if err == nil {
			err = s.Verify(identity.PublicKey(c.SessionKey), identity.SHA256(c.Server), c.Session)
		}
		if (err == nil) != c.Valid || err == nil && !bytes.Equal(s.Append(nil), c.Statement) {
			t.Errorf("statement, %s: %v", c.Why, err)
		}
	}
	for _, c := range f.Contacts {
		p, err := identity.ParseContact(c.Text)
		if (err == nil) != c.Valid || err == nil && (!bytes.Equal(p[:], c.Public) || p.Contact() != c.Text) {
			t.Errorf("contact, %s: %v", c.Why, err)
		}
	}
}
