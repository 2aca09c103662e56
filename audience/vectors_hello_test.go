package audience_test

import (
	"bytes"
	"crypto/ed25519"
	"iter"
	"maps"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
	"github.com/sotto-voip/sotto/mls"
)

const helloVectors = "../docs/spec/vectors/hello.json"

// helloFile is docs/spec/vectors/hello.json: Sotto protocol §13, 7, and the
// KeyPackages of 4 and 6.
type helloFile struct {
	About  []string      `json:"about"`
	Now    int64         `json:"now"`
	Hellos []helloVector `json:"hellos"`
}

type helloVector struct {
	vectors.Case
	Session uint32      `json:"session"`
	Hello   vectors.Hex `json:"hello"`
}

// helloOf is a Hello around a KeyPackage, signed with key.
func helloOf(cs mls.CipherSuite, kp []byte, key ed25519.PrivateKey, label string) []byte {
	h := slices.Concat([]byte{1, 1}, mlsVec([]byte{byte(cs >> 8), byte(cs)}), []byte{0, 0}, be64(0), mlsVec(kp), []byte{0, 0}, bytes.Repeat([]byte{7}, 16))
	return append(h, mlsVec(sottoSign(key, label, h))...)
}

// inOrder goes over a map in the order of its keys.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

func makeHellos(t *testing.T) helloFile {
	f := helloFile{About: []string{
		"Hellos and their KeyPackages: Sotto protocol, sections 2, 2.2, 2.3, 2.6 and 4, in both suites.",
		"hello is the body that the server says session sent, at now (Unix seconds). A valid one may be committed, as far as it alone can show; the others must not be.",
		"The keys are those of seeds of one byte repeated: 01 identity, 21 device, 41 signature_key. What is signed anew after a change is, so that nothing but what why says is wrong.",
	}, Now: vectorNow.Unix()}
	for _, cs := range []mls.CipherSuite{audience.SuiteHybrid, audience.SuiteClassic} {
		suite := map[mls.CipherSuite]string{audience.SuiteHybrid: "hybrid", audience.SuiteClassic: "classic"}[cs]
		alice := who(1, 8)
		add := func(valid bool, why string, body []byte) {
			c := vectors.Bad("%s: %s", suite, why)
			c.Valid = valid
			f.Hellos = append(f.Hellos, helloVector{c, 8, body})
		}
		of := func(s someone) []byte { return helloOf(cs, s.keyPackage(t, cs).KeyPackage.Marshal(), s.key, "Hello") }
		add(true, "a speaker", of(alice))
		good := alice.keyPackage(t, cs).KeyPackage
		kp := good.Marshal()
		if cs == audience.SuiteClassic { // they are small
			add(true, "a listener", of(alice.with(func(s *someone) { s.leaf.Role = envelope.RoleListener })))
			add(true, "of another server certificate: a warning, and no reason to refuse", of(alice.with(func(s *someone) { s.leaf.Server[0] ^= 1 })))
			add(true, "a record in extra", of(alice.with(func(s *someone) { s.leaf.Extra = []byte{0, 9, 1, 5} })))
			add(true, "any bytes in extra", of(alice.with(func(s *someone) { s.leaf.Extra = []byte{0xFF} })))
			add(true, "an extra of 256 bytes", of(alice.with(func(s *someone) { s.leaf.Extra = make([]byte, 256) })))
			add(true, "it began now", of(alice.with(func(s *someone) { s.notBefore = -1 })))
			add(false, "signed as a Beacon", helloOf(cs, kp, alice.key, "Beacon"))
			add(false, "signed by the device", helloOf(cs, kp, alice.device, "Hello"))
			for why, change := range inOrder(map[string]func(*someone){
				"the identity is swapped for another":  func(s *someone) { s.break_ = 3 },
				"the device is swapped for another":    func(s *someone) { s.break_ = 40 },
				"the statement has version 2":          func(s *someone) { s.break_ = 1 },
				"the statement has mode 1":             func(s *someone) { s.break_ = 2 },
				"the device key is signed as Session":  func(s *someone) { s.deviceLabel = "Session" },
				"the session key is signed as Device":  func(s *someone) { s.keyLabel = "Device" },
				"the statement is for another server":  func(s *someone) { s.statedServer = make([]byte, 32) },
				"the statement is for another session": func(s *someone) { s.statedSession = 9 },
				"a direct leaf":                        func(s *someone) { s.leaf.Audience = envelope.AudienceDirect },
				"for_group is set":                     func(s *someone) { s.leaf.ForGroup = envelope.GroupID{0: 0xC1} },
				"the leaf is of session 0":             func(s *someone) { s.leaf.Session, s.statedSession = 0, 8 },
				"role 2":                               func(s *someone) { s.leaf.Role = 2 },
				"no sotto_leaf":                        func(s *someone) { s.noLeaf = true },
				"sotto_leaf is not in the capabilities": func(s *someone) {
					s.noCapability = true
				},
				"its lifetime is over":        func(s *someone) { s.notBefore, s.notAfter = -90_000, -1 },
				"its lifetime has not begun":  func(s *someone) { s.notBefore = 1 },
				"a lifetime of a month":       func(s *someone) { s.notAfter = 30 * 86_400 },
				"a lifetime of 49 h and 1 s":  func(s *someone) { s.notAfter = 90_001 },
				"a lifetime that ends first":  func(s *someone) { s.notBefore, s.notAfter = -10, -20 },
				"an extra of 257 bytes":       func(s *someone) { s.leaf.Extra = make([]byte, 257) },
				"the leaf is of session 9":    func(s *someone) { s.leaf.Session = 9 },
				"a kind of audience too many": func(s *someone) { s.leaf.Audience = 3 },
			}) {
				add(false, why, of(alice.with(change)))
			}
			for why, change := range inOrder(map[string]func([]byte) []byte{
				"protocol version 2":      func(b []byte) []byte { b[1] = 2; return b },
				"an unknown suite":        func(b []byte) []byte { b[3] = 0x77; return b },
				"init_key of all zeros":   func(b []byte) []byte { copy(b[5:37], make([]byte, 32)); return b },
				"a byte behind":           nil,
				"a byte of init_key cut":  func(b []byte) []byte { return slices.Delete(b, 10, 11) },
				"init_key is another one": nil,
			}) {
				b := slices.Clone(kp)
				switch {
				case why == "a byte behind":
					b = append(signKeyPackage(alice.key, b), 0)
				case change == nil: // not signed anew
					b[10] ^= 1
				default:
					b = signKeyPackage(alice.key, change(b))
				}
				add(false, "KeyPackage: "+why, helloOf(cs, b, alice.key, "Hello"))
			}
		}
		keyVectors(cs, kp, alice.key, add)
		body := helloOf(cs, kp, alice.key, "Hello")
		bad := slices.Clone(body)
		bad[len(bad)-1] ^= 1
		add(false, "its signature is changed", bad)
		add(false, "signed by another key", helloOf(cs, kp, vectorKey(0xEE), "Hello"))
		b := slices.Clone(kp)
		b[len(b)-1] ^= 1
		add(false, "the signature of the KeyPackage is changed", helloOf(cs, b, alice.key, "Hello"))
		b = slices.Clone(kp)
		b[bytes.Index(b, good.LeafNode.Signature)+9] ^= 1
		add(false, "the signature of the leaf is changed", helloOf(cs, signKeyPackage(alice.key, b), alice.key, "Hello"))
		add(false, "the device signature of the statement is changed", of(alice.with(func(s *someone) { s.break_ = 80 })))
		add(false, "the session signature of the statement is changed", of(alice.with(func(s *someone) { s.break_ = 150 })))
		if cs == audience.SuiteClassic {
			add(false, "a byte more", append(slices.Clone(body), 0))
			add(false, "a byte short", body[:len(body)-1])
			f.Hellos = append(f.Hellos, helloVector{vectors.Bad("%s: under another session", suite), 9, body})
		}
	}
	slices.SortStableFunc(f.Hellos, func(a, b helloVector) int { return bytes.Compare([]byte(a.Why), []byte(b.Why)) })
	return f
}

// keyVectors changes the HPKE keys of a KeyPackage, and signs it anew (§2).
func keyVectors(cs mls.CipherSuite, kp []byte, key ed25519.PrivateKey, add func(valid bool, why string, body []byte)) {
	order8 := []byte("\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x80")
	prime := slices.Concat([]byte{0xED}, bytes.Repeat([]byte{0xFF}, 30), []byte{0x7F})
	x25519 := map[string][]byte{
		"0": make([]byte, 32), "1": append([]byte{1}, make([]byte, 31)...), "p": prime, "order 8 and the top bit set": order8,
	}
	const ek = 1184
	size := 32
	if cs == audience.SuiteHybrid {
		size = ek + 32
	}
	init := 4 + len(mlsVec(make([]byte, size))) - size
	for name, at := range map[string]int{"init_key": init, "encryption_key": init + len(mlsVec(make([]byte, size)))} {
		changed := func(change func(public []byte)) []byte {
			b := slices.Clone(kp)
			change(b[at : at+size])
			return helloOf(cs, signKeyPackage(key, signLeaf(key, b, init+size)), key, "Hello")
		}
		for what, point := range inOrder(x25519) {
			if what == "0" || what[0] == 'o' || cs == audience.SuiteHybrid && name[0] == 'e' {
				add(false, name+": an X25519 part of low order, "+what, changed(func(b []byte) { copy(b[size-32:], point) }))
			}
		}
		if cs != audience.SuiteHybrid {
			continue
		}
		first := func(n uint16) func([]byte) {
			return func(b []byte) { b[0], b[1] = byte(n), b[1]&0xF0|byte(n>>8) }
		}
		last := func(n uint16) func([]byte) {
			return func(b []byte) { b[1150], b[1151] = b[1150]&0x0F|byte(n<<4), byte(n>>4) }
		}
		add(true, name+": the first coefficient of ek is 3328", changed(first(3328)))
		add(false, name+": the first coefficient of ek is 3329", changed(first(3329)))
		add(false, name+": the last coefficient of ek is 3329", changed(last(3329)))
		add(false, name+": the last coefficient of ek is 4095", changed(last(4095)))
	}
}

func TestVectorsHello(t *testing.T) {
	if *update {
		cryptotest.SetGlobalRandom(t, 7)
		vectors.Write(t, helloVectors, makeHellos(t))
	}
	f := vectors.Read[helloFile](t, helloVectors)
	if f.Now != vectorNow.Unix() {
		t.Fatalf("now is %d", f.Now)
	}
	for _, c := range f.Hellos {
		m := vectorMachine(t, nil, 1, 8, 9)
		if m.JudgeHello(vectorNow, c.Session, c.Hello) != c.Valid {
			t.Errorf("%s: taken is %v; %+v", c.Why, !c.Valid, m.Stats())
		}
	}
}
