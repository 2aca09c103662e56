package identity

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The strings of BIP 350, section "Test vectors for Bech32m", in lower case:
// Sotto reads no other.
func TestBech32mValid(t *testing.T) {
	for _, s := range []string{
		"a1lqfn3a",
		"an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
		"split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
		"?1v759aa",
	} {
		hrp := s[:strings.LastIndexByte(s, '1')]
		data, err := decodeBech32m(hrp, s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if got := encodeBech32m(hrp, data); got != s {
			t.Errorf("%s became %s", s, got)
		}
	}
	// All 32 values, backwards.
	want := []byte{0xff, 0xbb, 0xcd, 0xeb, 0x38, 0xbd, 0xab, 0x49, 0xca, 0x30, 0x7b, 0x9a, 0xc5, 0xa9, 0x28, 0x39, 0x8a, 0x41, 0x88, 0x20}
	if data, err := decodeBech32m("abcdef", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"); err != nil || !bytes.Equal(data, want) {
		t.Errorf("%x, %v", data, err)
	}
}

// The strings that BIP 350 says are wrong, as far as lower case can say them.
func TestBech32mInvalid(t *testing.T) {
	for _, tt := range []struct {
		hrp, s string
		err    error
	}{
		{"y", "y1b0jsk6g", errAlphabet},
		{"lt", "lt1igcx5c0", errAlphabet},
		{"in", "in1muywd", errLength},
		{"mm", "mm1crxm3i", errAlphabet},
		{"au", "au1s5cgom", errAlphabet},
		{"m", "M1VUXWEZ", errPrefix},
		{"m", "m1vuxwez", errChecksum}, // made with the upper-case prefix
		{"a", "a12uel5l", errChecksum}, // BIP 173's bech32, without m
		{"a", "a1lqfn3A", errAlphabet},
		{"b", "a1lqfn3a", errPrefix},
		{"a", "a1lqfn3aq", errChecksum},
		{"a", "a" + strings.Repeat("1", 200), errLength},
		// Sound checksums over what are no bytes: half a character too many, and filling that is not zero.
		{"a", withChecksum("a", 0), errPadding},
		{"a", withChecksum("a", 0, 1), errPadding},
	} {
		if _, err := decodeBech32m(tt.hrp, tt.s); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.s, err, tt.err)
		}
	}
}

// withChecksum makes a string of any values of five bits.
func withChecksum(hrp string, values ...byte) string {
	s := hrp + "1"
	chk := polymodHRP(hrp)
	for _, v := range values {
		chk = polymod(chk, v)
		s += alphabet[v : v+1]
	}
	for range checksumLen {
		chk = polymod(chk, 0)
	}
	chk ^= checksumConst
	for i := range checksumLen {
		s += string(alphabet[chk>>(5*(checksumLen-1-i))&31])
	}
	return s
}

// TestBech32mInsertion: insertions of q before a final p are what bech32 missed and bech32m finds.
func TestBech32mInsertion(t *testing.T) {
	found := 0
	for range 4000 {
		s := New().Public().Contact()
		if s[len(s)-1] != 'p' {
			continue
		}
		found++
		if _, err := ParseContact(s[:len(s)-1] + "qp"); !errors.Is(err, ErrContact) {
			t.Fatalf("%s with a q before the last p is accepted", s)
		}
	}
	t.Logf("%d strings ended in p", found)
	if found == 0 {
		t.Error("nothing was tested")
	}
}

func TestContact(t *testing.T) {
	p := New().Public()
	s := p.Contact()
	t.Log(s)
	if len(s) != 65 || !strings.HasPrefix(s, "sotto1") || s != strings.ToLower(s) {
		t.Errorf("%q of %d characters", s, len(s))
	}
	if got, err := ParseContact(s); err != nil || got != p {
		t.Errorf("ParseContact: %v, %v", got, err)
	}
	for i := range s { // any single character, any other one
		for _, c := range []byte(alphabet + "1bioQ ") {
			if c == s[i] {
				continue
			}
			if _, err := ParseContact(s[:i] + string(c) + s[i+1:]); !errors.Is(err, ErrContact) {
				t.Fatalf("character %d as %q: %v", i, c, err)
			}
		}
		if i > 0 && s[i] != s[i-1] {
			if _, err := ParseContact(s[:i-1] + s[i:i+1] + s[i-1:i] + s[i+1:]); !errors.Is(err, ErrContact) {
				t.Fatalf("characters %d and %d swapped: %v", i-1, i, err)
			}
		}
	}
}

func TestContactRecords(t *testing.T) {
	p := New().Public()
	head := append([]byte{1}, p[:]...)
	record := func(kind byte, data string) string { return string([]byte{kind, byte(len(data))}) + data }
	for _, tt := range []struct {
		name string
		data string
		ok   bool
	}{
		{"none", string(head), true},
		{"a name", string(head) + record(1, "Ada"), true},
		{"the longest name", string(head) + record(1, strings.Repeat("é", 16)), true},
		{"a server", string(head) + record(2, strings.Repeat("s", 32)), true},
		{"one from the future", string(head) + record(77, "anything") + record(78, ""), true},
		{"a name too long", string(head) + record(1, strings.Repeat("a", 33)), false},
		{"a name that is no UTF-8", string(head) + record(1, "\xff"), false},
		{"half a server", string(head) + record(2, "short"), false},
		{"a record without length", string(head) + "\x01", false},
		{"a record that ends too early", string(head) + "\x4d\x05abcd", false},
		{"another version", "\x02" + string(p[:]), false},
		{"a key too short", string(head[:32]), false},
		{"nothing", "", false},
	} {
		got, err := ParseContact(encodeBech32m("sotto", []byte(tt.data)))
		if ok := err == nil && got == p; ok != tt.ok || !tt.ok && !errors.Is(err, ErrContact) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for name, s := range map[string]string{
		"nothing": "", "spaces": " " + p.Contact(), "upper case": strings.ToUpper(p.Contact()), "a link": "sotto:" + p.Contact(),
		"an invite": encodeBech32m("sottoi", head), "201 characters": encodeBech32m("sotto", append(head, bytes.Repeat([]byte{77, 0}, 43)...)),
	} {
		if _, err := ParseContact(s); !errors.Is(err, ErrContact) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseContact: what is accepted is written back with the same key, and
// without records with the same letters.
func FuzzParseContact(f *testing.F) {
	f.Add("sotto1qpzry9x8gf2tvdw0s3jn54khce6mua7l")
	f.Add(New().Public().Contact())
	f.Add(encodeBech32m("sotto", append([]byte{1: 2, 33: 0}, 1, 3, 'A', 'd', 'a')))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseContact(s)
		if err != nil {
			if !errors.Is(err, ErrContact) {
				t.Errorf("%v", err)
			}
			return
		}
		if p.Check() != nil || len(s) > 200 {
			t.Errorf("%q accepted", s)
		}
		if len(s) == 65 && p.Contact() != s {
			t.Errorf("%q is not the only way to write %x", s, p)
		}
	})
}

func FuzzParsePrivateKey(f *testing.F) {
	f.Add("sotto-identity-1qpzry9x8gf2tvdw0s3jn54khce6mua7l")
	f.Add(New().Export())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParsePrivateKey(s); err == nil && k.Export() != s {
			t.Errorf("%d characters are another way to write a key", len(s))
		}
	})
}

// FuzzBech32m lets the coder and decoder meet on any data.
func FuzzBech32m(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4, 5, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := encodeBech32m("sotto", data)
		got, err := decodeBech32m("sotto", s)
		if len(s) > maxString {
			if err == nil {
				t.Error("too long and accepted")
			}
			return
		}
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%x came back as %x, %v", data, got, err)
		}
	})
}

func BenchmarkParseContact(b *testing.B) {
	s := New().Public().Contact()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseContact(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	k := New()
	p, content := k.Public(), make([]byte, 200)
	sig := k.Sign(LabelBeacon, content)
	b.ReportAllocs()
	for b.Loop() {
		if !p.Verify(LabelBeacon, content, sig) {
			b.Fatal("does not verify")
		}
	}
}
