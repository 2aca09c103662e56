package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/identity"
)

func TestPrivateKeyText(t *testing.T) {
	k := identity.New()
	text := k.Export()
	t.Logf("%d characters", len(text))
	if !strings.HasPrefix(text, "sotto-identity-1") || strings.ToLower(text) != text {
		t.Errorf("the text does not say what it is: %.20s", text)
	}
	again, err := identity.ParsePrivateKey(text)
	if err != nil || !again.Equal(*k) || again.Public() != k.Public() {
		t.Fatalf("ParsePrivateKey: %v", err)
	}
	if identity.New().Equal(*k) {
		t.Error("two new keys are equal")
	}
	bad := map[string]string{
		"nothing": "", "space before": " " + text, "newline": text + "\n", "upper case": strings.ToUpper(text),
		"cut": text[:len(text)-1], "a contact": k.Public().Contact(), "prefix only": "sotto-identity-1",
	}
	for i := range text { // every single wrong character is found
		c := byte('q')
		if text[i] == c {
			c = 'p'
		}
		bad[fmt.Sprintf("character %d", i)] = text[:i] + string(c) + text[i+1:]
	}
	for name, s := range bad {
		if _, err := identity.ParsePrivateKey(s); !errors.Is(err, identity.ErrPrivateKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPrivateKeyHides looks for the key in everything that prints.
func TestPrivateKeyHides(t *testing.T) {
	k := identity.New()
	seed := ed25519.NewKeyFromSeed(decodeSeed(t, k)).Seed()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%b", "%o", "%c", "%t", "%!"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+" "+verb+"\n", k, *k, struct{ k identity.PrivateKey }{*k}, &struct{ K *identity.PrivateKey }{k})
		fmt.Fprintf(&out, verb+"\n", []any{k, *k, []identity.PrivateKey{*k}, map[string]identity.PrivateKey{"a": *k}})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "key", k, "value", *k, "in", struct{ k identity.PrivateKey }{*k})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "key", k, "value", *k)
	j, _ := json.Marshal(map[string]any{"pointer": k, "value": *k})
	out.Write(j)
	got := out.String()
	for name, leak := range map[string]string{
		"text": k.Export()[20:30], "hex": hex.EncodeToString(seed[:4]), "HEX": strings.ToUpper(hex.EncodeToString(seed[:4])),
		"decimal":  strings.Trim(fmt.Sprint(seed[:4]), "[]"),
		"octal":    strings.Trim(fmt.Sprintf("%o", seed[:4]), "[]"),
		"binary":   strings.Trim(fmt.Sprintf("%b", seed[:4]), "[]"),
		"Go":       strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", seed[:4]), "[]byte{"), "}"),
		"the type": "sotto-identity-1",
	} {
		if strings.Contains(got, leak) {
			i := strings.Index(got, leak)
			t.Errorf("the key is printed (%s): %.80s", name, got[max(0, i-40):])
		}
	}
	if !strings.Contains(got, "redacted") {
		t.Error("nothing says that something is hidden")
	}
}

// decodeSeed takes the seed out of the text form, by the letter of BIP 350.
func decodeSeed(t *testing.T, k *identity.PrivateKey) []byte {
	t.Helper()
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	text := strings.TrimPrefix(k.Export(), "sotto-identity-1")
	bits := new(big.Int)
	for _, c := range text[:len(text)-6] {
		bits.Lsh(bits, 5).Or(bits, big.NewInt(int64(strings.IndexRune(alphabet, c))))
	}
	bits.Rsh(bits, uint(len(text)-6)*5%8)
	b := bits.FillBytes(make([]byte, 33))
	if b[0] != 1 {
		t.Fatalf("version %d", b[0])
	}
	if pub := identity.PublicKey(ed25519.NewKeyFromSeed(b[1:]).Public().(ed25519.PublicKey)); pub != k.Public() {
		t.Fatal("the text is another key")
	}
	return b[1:]
}

func TestZeroPrivateKey(t *testing.T) {
	var k identity.PrivateKey
	if k.Export() != "" || k.Public() != (identity.PublicKey{}) || k.Sign(identity.LabelHello, nil) != nil || k.Equal(k) {
		t.Error("the zero key does something")
	}
}

func TestFingerprint(t *testing.T) {
	p := identity.New().Public()
	got := p.String()
	t.Log(got)
	if !regexp.MustCompile(`^\d{5}( \d{5}){5}$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	// The same by another way: section 9.2 with big numbers.
	sum := sha256.Sum256(append([]byte("sotto/1 pair"), p[:]...))
	for i, group := range strings.Fields(got) {
		n := new(big.Int).SetBytes(sum[5*i : 5*i+5])
		if want := fmt.Sprintf("%05d", n.Mod(n, big.NewInt(100000))); group != want {
			t.Errorf("group %d is %s, want %s", i, group, want)
		}
	}
}

func TestSign(t *testing.T) {
	k := identity.New()
	p := k.Public()
	for _, n := range []int{0, 1, 63, 64, 16383, 16384, 70000} {
		content := bytes.Repeat([]byte{7}, n)
		sig := k.Sign(identity.LabelHello, content)
		if !p.Verify(identity.LabelHello, content, sig) {
			t.Fatalf("%d bytes do not verify", n)
		}
		// By the letter: length, "Sotto 1 Hello", length, content.
		head := map[int]string{0: "00", 1: "01", 63: "3f", 64: "4040", 16383: "7fff", 16384: "80004000", 70000: "80011170"}[n]
		want := append([]byte("\x0dSotto 1 Hello"), append(unhex(t, head), content...)...)
		if !ed25519.Verify(p[:], want, sig) || !bytes.Equal(want, identity.SignContent(identity.LabelHello, content)) {
			t.Errorf("%d bytes: something else was signed", n)
		}
		if p.Verify(identity.LabelBeacon, content, sig) {
			t.Error("verifies under another label")
		}
		if p.Verify(identity.LabelHello, append(content, 0), sig) {
			t.Error("verifies other content")
		}
		if identity.New().Public().Verify(identity.LabelHello, content, sig) {
			t.Error("verifies for another key")
		}
	}
	sig := k.Sign(identity.LabelHello, nil)
	for i := range sig {
		bad := slices.Clone(sig)
		bad[i] ^= 1
		if p.Verify(identity.LabelHello, nil, bad) {
			t.Errorf("byte %d changed", i)
		}
	}
	for _, bad := range [][]byte{nil, sig[:63], append(sig[:64:64], 0)} {
		if p.Verify(identity.LabelHello, nil, bad) {
			t.Errorf("signature of %d bytes", len(bad))
		}
	}
	// S + L solves the same equation; RFC 8032 §5.1.7 forbids it.
	s, l := new(big.Int), new(big.Int)
	l.SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	le := slices.Clone(sig[32:])
	slices.Reverse(le)
	s.SetBytes(le).Add(s, l)
	le = s.FillBytes(make([]byte, 32))
	slices.Reverse(le)
	if p.Verify(identity.LabelHello, nil, append(sig[:32:32], le...)) {
		t.Error("S is not canonical")
	}
}

// curve is Ed25519 in affine coordinates and big numbers, slow and plain, to
// check the table of points of small order against the group itself.
type point struct{ x, y *big.Int }

var (
	fieldP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldP)
		return d.Mul(d, big.NewInt(-121665)).Mod(d, fieldP)
	}()
)

func double(a point) point {
	xx, yy := new(big.Int).Mul(a.x, a.x), new(big.Int).Mul(a.y, a.y)
	k := new(big.Int).Mul(xx, yy)
	k.Mul(k, curveD)
	div := func(n, d *big.Int) *big.Int {
		n.Mul(n, new(big.Int).ModInverse(d.Mod(d, fieldP), fieldP))
		return n.Mod(n, fieldP)
	}
	x := new(big.Int).Mul(a.x, a.y)
	return point{
		div(x.Lsh(x, 1), new(big.Int).Add(big.NewInt(1), k)),
		div(new(big.Int).Add(yy, xx), new(big.Int).Sub(big.NewInt(1), k)),
	}
}

// decompress finds x for an encoding, whatever its sign.
func decompress(p identity.PublicKey) (point, bool) {
	p[31] &= 0x7f
	slices.Reverse(p[:])
	y := new(big.Int).SetBytes(p[:])
	y.Mod(y, fieldP)
	yy := new(big.Int).Mul(y, y)
	n := new(big.Int).Sub(yy, big.NewInt(1))
	d := new(big.Int).Mul(yy, curveD)
	d.Add(d, big.NewInt(1)).ModInverse(d.Mod(d, fieldP), fieldP)
	x := new(big.Int).ModSqrt(n.Mul(n, d).Mod(n, fieldP), fieldP)
	return point{x, y}, x != nil
}

func TestPublicKeyCheck(t *testing.T) {
	var small []identity.PublicKey
	for _, h := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		p := identity.PublicKey(unhex(t, h))
		pt, ok := decompress(p)
		if !ok {
			t.Fatalf("%s is not on the curve", h)
		}
		if pt = double(double(double(pt))); pt.x.Sign() != 0 || pt.y.Cmp(big.NewInt(1)) != 0 {
			t.Errorf("%s is not of small order", h)
		}
		small = append(small, p)
		p[31] |= 0x80
		small = append(small, p)
	}
	for i := range 19 { // y = p .. p+18, what 255 bits can say twice
		p := identity.PublicKey(unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))
		p[0] += byte(i)
		small = append(small, p)
		p[31] |= 0x80
		small = append(small, p)
	}
	for _, p := range small {
		if err := p.Check(); !errors.Is(err, identity.ErrPublicKey) {
			t.Errorf("%x: %v", p, err)
		}
		if _, err := identity.ParseContact(p.Contact()); !errors.Is(err, identity.ErrContact) || !errors.Is(err, identity.ErrPublicKey) {
			t.Errorf("contact of %x: %v", p, err)
		}
	}
	// Under the neutral element R = [S]B fits every message: crypto/ed25519 takes
	// it, Verify must not.
	one := identity.PublicKey{0: 1}
	sig := make([]byte, 64)
	sig[0] = 1 // R neutral, S = 0
	if !ed25519.Verify(one[:], identity.SignContent(identity.LabelHello, nil), sig) {
		t.Log("crypto/ed25519 refuses small orders by now")
	}
	if one.Verify(identity.LabelHello, nil, sig) {
		t.Error("a key of small order verifies")
	}
	for range 100 {
		if err := identity.New().Public().Check(); err != nil {
			t.Fatal(err)
		}
	}
	near := identity.PublicKey(unhex(t, "ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))
	if near.Check() != nil {
		t.Error("p - 2 is canonical")
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
