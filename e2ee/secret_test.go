package e2ee_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
)

var testServer = [32]byte{0: 0x5E, 31: 0xED}

func parse(t testing.TB, text string) *e2ee.Secret {
	t.Helper()
	s, err := e2ee.ParseSecret(text, testServer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		text := e2ee.NewSecret()
		if len(text) != len("sotto-secret-")+26 || seen[text] {
			t.Fatalf("NewSecret gives %q", text)
		}
		seen[text] = true
		if s := parse(t, " "+text+"\n"); !s.MachineMade() {
			t.Errorf("%q is not taken for machine-made", text)
		}
	}
}

// Texts that are no secret, one row each. None may fall through to a phrase.
func TestParseSecretErrors(t *testing.T) {
	const good = "sotto-secret-aaaqeayeaudaocajbifqydiob4"
	if s := parse(t, good); !s.MachineMade() {
		t.Fatal("the good one is not machine-made")
	}
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"one character short", good[:len(good)-1], e2ee.ErrMachineMade},
		{"one character more", good + "a", e2ee.ErrMachineMade},
		{"set bits behind the last byte", good[:len(good)-1] + "5", e2ee.ErrMachineMade},
		{"a digit that base32 does not have", good[:len(good)-2] + "14", e2ee.ErrMachineMade},
		{"padding", good + "======", e2ee.ErrMachineMade},
		{"capitals", strings.ToUpper(good), e2ee.ErrMachineMade},
		{"capital code", "sotto-secret-" + strings.ToUpper(good[13:]), e2ee.ErrMachineMade},
		{"a line break inside", good[:20] + "\n" + good[20:], e2ee.ErrMachineMade},
		{"a line break for a character", good[:20] + "\n" + good[21:], e2ee.ErrMachineMade},
		{"prefix alone", "sotto-secret-", e2ee.ErrMachineMade},
		{"prefix and words", "sotto-secret-correct horse", e2ee.ErrMachineMade},
		{"nothing", "", e2ee.ErrPhrase},
		{"seven characters", "sevench", e2ee.ErrPhrase},
		{"seven after trimming", "  sevench  ", e2ee.ErrPhrase},
		{"seven after one space", "abc   def", e2ee.ErrPhrase},
		{"seven letters in sixteen bytes", "éééééééé"[:14], e2ee.ErrPhrase},
		{"seven letters, decomposed", strings.Repeat("e\u0301", 7), e2ee.ErrPhrase},
		{"not UTF-8", "correct\xff horse", e2ee.ErrPhrase},
		{"1025 bytes", strings.Repeat("x", 1025), e2ee.ErrPhrase},
	} {
		if s, err := e2ee.ParseSecret(tt.text, testServer); !errors.Is(err, tt.want) || s != nil {
			t.Errorf("%s: got %v, %v, want %v", tt.name, s, err, tt.want)
		}
	}
}

// What people type alike is one phrase; what differs is not.
func TestPhraseNormalization(t *testing.T) {
	want := parse(t, "café au lait").KeyID(1)
	for _, same := range []string{"  café au lait\n", "café \t au\u00a0lait", "cafe\u0301 au lait"} {
		s := parse(t, same)
		if s.KeyID(1) != want {
			t.Errorf("%q is another secret", same)
		}
		if s.MachineMade() {
			t.Errorf("%q is taken for machine-made", same)
		}
	}
	// Its length is that of its NFC: U+0344 is one character as typed and two there.
	if s := parse(t, "\u0344sevenc"); s.MachineMade() {
		t.Error("eight characters in NFC are taken for machine-made")
	}
	if testing.Short() {
		return
	}
	for _, other := range []string{"cafe au lait", "Café au lait", "caféau lait"} {
		if parse(t, other).KeyID(1) == want {
			t.Errorf("%q is the same secret", other)
		}
	}
}

// A key id depends on secret, server and channel.
func TestKeyID(t *testing.T) {
	a, b := e2ee.NewSecret(), e2ee.NewSecret()
	other := [32]byte{1}
	otherServer, err := e2ee.ParseSecret(a, other)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, id := range []string{parse(t, a).KeyID(0), parse(t, a).KeyID(1), parse(t, b).KeyID(0), otherServer.KeyID(0)} {
		if len(id) != 8 || ids[id] {
			t.Errorf("key id %q", id)
		}
		ids[id] = true
	}
	if again := parse(t, a).KeyID(0); !ids[again] {
		t.Errorf("the same secret has another key id, %s", again)
	}
}

func TestSecretIsSecret(t *testing.T) {
	s := parse(t, e2ee.NewSecret())
	want := s.String()
	if !strings.Contains(want, "secret") || s.GoString() != want {
		t.Errorf("a secret prints as %q, %q", want, s.GoString())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{s, *s} {
			if got := fmt.Sprintf(verb, v); got != want {
				t.Errorf("%s prints %q", verb, got)
			}
		}
	}
}

func TestNewErrors(t *testing.T) {
	s := parse(t, e2ee.NewSecret())
	for _, tt := range []struct {
		name string
		cfg  e2ee.Config
		want error
	}{
		{"no secret", e2ee.Config{Server: testServer}, e2ee.ErrNoSecret},
		{"no secret under require", e2ee.Config{Policy: e2ee.PolicyRequire, Server: testServer}, e2ee.ErrNoSecret},
		{"another server", e2ee.Config{Secret: s}, e2ee.ErrServer},
		{"no such policy", e2ee.Config{Policy: 3, Secret: s, Server: testServer}, e2ee.ErrPolicy},
		{"off, no secret", e2ee.Config{Policy: e2ee.PolicyOff}, nil},
		{"all there", e2ee.Config{Secret: s, Server: testServer}, nil},
	} {
		if _, err := e2ee.New(tt.cfg); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}
