package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/trust"
)

const home, away = "voice.example.org:64738", "other.example.org:64738"

var start = time.Unix(1_700_000_000, 0)

// keyOf is a key of that name, always the same.
func keyOf(name string) identity.PublicKey {
	seed := sha256.Sum256([]byte(name))
	return identity.PublicKey(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
}

// hashOf is the certificate hash of that name, as Murmur writes it.
func hashOf(name string) string {
	const digits = "0123456789abcdef"
	sum := sha256.Sum256([]byte("cert" + name))
	var s strings.Builder
	for _, b := range sum[:20] {
		s.WriteByte(digits[b>>4])
		s.WriteByte(digits[b&15])
	}
	return s.String()
}

func person(key, name, cert string, registered uint32) trust.Person {
	p := trust.Person{Name: name, Registered: registered, HasRegistered: registered != 0}
	if key != "" {
		p.Identity = keyOf(key)
	}
	if cert != "" {
		p.CertHash = hashOf(cert)
	}
	return p
}

func TestJudge(t *testing.T) {
	var b trust.Book
	for _, p := range []trust.Person{
		person("alice", "Alice", "a", 7),
		person("bob", "bob", "b", 0),
	} {
		if got := b.Judge(home, p).Verdict; got != trust.FirstSeen {
			t.Fatalf("before anything: %v", got)
		}
		if !b.See(start, home, p) {
			t.Fatal("not remembered")
		}
	}
	for _, c := range []struct {
		what   string
		server string
		p      trust.Person
		want   trust.Verdict
		by     string
	}{
		{"as before", home, person("alice", "Alice", "a", 7), trust.Known, ""},
		{"the key alone", home, person("alice", "", "", 0), trust.Known, ""},
		{"another name", home, person("alice", "Al", "a", 7), trust.Known, ""},
		{"another certificate", home, person("alice", "Alice", "a2", 7), trust.Known, ""},
		{"on another server", away, person("alice", "Alice", "a", 9), trust.Known, ""},
		{"no key, alice's name", home, person("", "Alice", "a", 7), trust.Unknown, ""},
		{"a stranger", home, person("carol", "carol", "c", 8), trust.FirstSeen, ""},
		{"a stranger with alice's name elsewhere", away, person("carol", "alice", "c", 0), trust.FirstSeen, ""},
		{"a stranger with alice's id elsewhere", away, person("carol", "carol", "c", 7), trust.FirstSeen, ""},
		{"alice's certificate", home, person("eve", "eve", "a", 0), trust.Changed, "certificate"},
		{"alice's certificate elsewhere", away, person("eve", "eve", "a", 0), trust.Changed, "certificate"},
		{"alice's registration", home, person("eve", "eve", "e", 7), trust.Changed, "registered"},
		{"alice's name", home, person("eve", "Alice", "e", 0), trust.Changed, "name"},
		{"her name in other letters", home, person("eve", " ＡＬＩＣＥ ", "e", 0), trust.Changed, "name"},
		{"her certificate in capitals", home, trust.Person{Identity: keyOf("eve"), CertHash: strings.ToUpper(hashOf("a"))}, trust.Changed, "certificate"},
		{"two known people swapped", home, person("alice", "bob", "b", 0), trust.Changed, "certificate name"},
		{"everything of hers", home, person("eve", "alice", "a", 7), trust.Changed, "certificate registered name"},
		{"a hash that is none", home, trust.Person{Identity: keyOf("eve"), CertHash: "a"}, trust.FirstSeen, ""},
	} {
		j := b.Judge(c.server, c.p)
		var by []string
		for _, before := range j.Before {
			by = append(by, before.By.String())
		}
		if j.Verdict != c.want || strings.Join(by, " ") != c.by {
			t.Errorf("%s: %v by %v, want %v by %s", c.what, j.Verdict, by, c.want, c.by)
		}
		if (j.Reason() != "") != (c.want == trust.Changed) {
			t.Errorf("%s: reason %q", c.what, j.Reason())
		}
		if j.Reason() != "" {
			t.Log(j.Reason())
		}
	}
	j := b.Judge(home, person("eve", "alice", "", 0))
	if len(j.Before) != 1 || j.Before[0].Identity != keyOf("alice") || j.Before[0].Name != "Alice" || !j.Before[0].First.Equal(start) || j.KeySeen {
		t.Errorf("what was known before: %+v", j)
	}
	if j := b.Judge(home, person("alice", "bob", "", 0)); !j.KeySeen {
		t.Error("a known key is not said to be one")
	}
}

// TestSeeDecidesNothing shows the same change many times: it stays one until
// the user accepts it, and then for both keys.
func TestSeeDecidesNothing(t *testing.T) {
	var b trust.Book
	alice, eve := person("alice", "alice", "a", 7), person("eve", "alice", "a", 7)
	b.See(start, home, alice)
	for range 3 {
		if b.See(start, home, eve) {
			t.Error("a change is remembered at sight")
		}
		b.Remember(start, home, 1, []trust.Person{eve})
		if got := b.Judge(home, eve).Verdict; got != trust.Changed {
			t.Fatalf("eve is %v", got)
		}
	}
	if got := b.Judge(home, person("eve", "someone", "", 0)).Verdict; got != trust.FirstSeen {
		t.Errorf("a key in question was remembered: %v", got)
	}
	if !b.Accept(start, home, eve) || b.Judge(home, eve).Verdict != trust.Known || b.Judge(home, alice).Verdict != trust.Known {
		t.Error("accepted, but not both are known")
	}
	if got := b.Judge(home, person("carol", "alice", "", 0)).Before; len(got) != 2 {
		t.Errorf("%d keys are named, want both", len(got))
	}
	if b.Accept(start, home, person("", "alice", "", 0)) {
		t.Error("nobody's key was accepted")
	}
	small := trust.Person{Name: "small", Identity: identity.PublicKey{0: 1}}
	if b.See(start, home, small) || b.Accept(start, home, small) {
		t.Error("a key of small order is remembered")
	}
}

func TestSticky(t *testing.T) {
	var b trust.Book
	with := []trust.Person{person("alice", "Alice", "a", 7), person("", "passer-by", "p", 3)}
	if !b.Remember(start, home, 5, with) || !b.Changed() {
		t.Fatal("not remembered")
	}
	year := 365 * 24 * time.Hour
	for _, c := range []struct {
		what    string
		after   time.Duration
		server  string
		channel uint32
		people  []trust.Person
		want    string
	}{
		{"the channel, empty", 0, home, 5, nil, "channel"},
		{"another channel", 0, home, 6, nil, ""},
		{"the number on another server", 0, away, 5, nil, ""},
		{"her key", 0, away, 6, []trust.Person{person("carol", "c", "c", 1), person("alice", "x", "", 0)}, "identity key"},
		{"her certificate, no Sotto", 0, away, 6, []trust.Person{person("", "x", "a", 0)}, "certificate"},
		{"her registration", 0, home, 6, []trust.Person{person("", "x", "x", 7)}, "registration"},
		{"the number elsewhere", 0, away, 6, []trust.Person{person("", "x", "x", 7)}, ""},
		{"her name", 0, home, 6, []trust.Person{person("", "ALICE", "", 0)}, "name"},
		{"her name elsewhere", 0, away, 6, []trust.Person{person("", "alice", "", 0)}, "name"},
		{"who was present without Sotto", 0, home, 6, []trust.Person{person("", "passer-by", "p", 3)}, ""},
		{"a day before the year is over", year - 24*time.Hour, home, 5, nil, "channel"},
		{"a year later", year, home, 5, []trust.Person{person("alice", "Alice", "a", 7)}, ""},
		{"with the clock set back", -year, home, 5, nil, "channel"},
	} {
		reason, ok := b.Sticky(start.Add(c.after), c.server, c.channel, c.people)
		was := slices.ContainsFunc(c.people, func(p trust.Person) bool { return b.WasProtected(start.Add(c.after), c.server, p) })
		if was != (c.want != "" && c.want != "channel") {
			t.Errorf("%s: was protected: %v", c.what, was)
		}
		if ok != (c.want != "") || !strings.Contains(reason, c.want) || !ok && reason != "" {
			t.Errorf("%s: %v %q, want %q", c.what, ok, reason, c.want)
		}
	}
	if reason, _ := b.Sticky(start, away, 0, []trust.Person{person("alice", "a\u202e\n\"b"+strings.Repeat("x", 5000), "", 0)}); len(reason) > 300 || strings.ContainsAny(reason, "\n\u202e") {
		t.Errorf("a name shapes the sentence: %q", reason)
	}
	b.Remember(start.Add(year-time.Hour), home, 5, nil)
	if _, ok := b.Sticky(start.Add(year+time.Hour), home, 5, nil); !ok {
		t.Error("used again within the year, forgotten nevertheless")
	}
	b.Expire(start.Add(3 * year))
	if bytes.Contains(b.Marshal(), []byte("channel")) {
		t.Error("expired, but still written")
	}
}

func TestForget(t *testing.T) {
	fresh := func() *trust.Book {
		var b trust.Book
		alice, bob := person("alice", "alice", "a", 7), person("bob", "alice", "b", 0)
		b.See(start, home, alice)
		b.See(start, away, bob) // another alice, on another server
		b.Remember(start, home, 5, []trust.Person{alice})
		b.Remember(start, away, 6, []trust.Person{bob})
		return &b
	}
	b := fresh()
	if !b.Forget(keyOf("alice")) || b.Forget(keyOf("alice")) {
		t.Error("forgets not once")
	}
	if got := b.Judge(home, person("eve", "alice", "a", 7)).Verdict; got != trust.FirstSeen {
		t.Errorf("alice is forgotten, her name is %v", got)
	}
	for _, c := range []struct {
		p    trust.Person
		want bool
	}{{person("alice", "", "", 0), false}, {person("", "", "a", 7), false}, {person("", "alice", "", 0), true}, {person("bob", "", "", 0), true}} {
		if _, got := b.Sticky(start, home, 0, []trust.Person{c.p}); got != c.want {
			t.Errorf("%+v: sticky %v", c.p, got)
		}
	}
	if _, ok := b.Sticky(start, home, 5, nil); !ok {
		t.Error("the channel was forgotten with her")
	}
	if !b.ForgetChannel(home, 5) || b.ForgetChannel(home, 5) {
		t.Error("forgets the channel not once")
	}
	if _, ok := b.Sticky(start, home, 5, nil); ok {
		t.Error("the channel is not forgotten")
	}
	b = fresh()
	b.AcceptServer(start, home, trust.Facts{Suite: 0xF47A, Version: 9})
	b.ForgetServer(home)
	if _, ok := b.Sticky(start, home, 5, []trust.Person{person("", "", "", 7)}); ok {
		t.Error("something of the server is left")
	}
	if _, ok := b.Worse(start, home, trust.Facts{}); ok {
		t.Error("its facts are left")
	}
	if got := b.Judge(home, person("eve", "", "a", 0)).Verdict; got != trust.Changed {
		t.Errorf("alice's certificate is %v", got)
	}
	if got := b.Judge(home, person("eve", "alice", "", 7)).Verdict; got != trust.FirstSeen {
		t.Errorf("her marks on that server are %v", got)
	}
	if _, ok := b.Sticky(start, away, 6, nil); !ok {
		t.Error("another server went with it")
	}
}

func TestWorse(t *testing.T) {
	const hybrid, classic = 0xF47A, 0x0001
	var b trust.Book
	b.RememberServer(start, home, trust.Facts{Suite: classic, Regime: trust.RegimeEcho, Version: 100})
	b.RememberServer(start, home, trust.Facts{Suite: hybrid, Regime: trust.RegimeText, Version: 90})
	b.RememberServer(start, home, trust.Facts{Version: 80})
	for _, c := range []struct {
		what string
		f    trust.Facts
		want string
	}{
		{"the best of each", trust.Facts{Suite: hybrid, Regime: trust.RegimeEcho, Version: 100}, ""},
		{"newer", trust.Facts{Suite: hybrid, Regime: trust.RegimeEcho, Version: 200}, ""},
		{"nothing known but the version", trust.Facts{Version: 100}, ""},
		{"classic", trust.Facts{Suite: classic, Version: 100}, "weaker"},
		{"a suite of nobody", trust.Facts{Suite: 3, Version: 100}, "weaker"},
		{"no echo", trust.Facts{Regime: trust.RegimeNone, Version: 100}, "less"},
		{"older", trust.Facts{Version: 99}, "older"},
		{"no version", trust.Facts{}, "older"},
	} {
		reason, worse := b.Worse(start, home, c.f)
		if worse != (c.want != "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %v %q", c.what, worse, reason)
		}
	}
	if _, worse := b.Worse(start, away, trust.Facts{}); worse {
		t.Error("an unknown server is worse")
	}
	if _, worse := b.Worse(start.Add(trust.Memory), home, trust.Facts{}); worse {
		t.Error("worse after a year")
	}
	b.AcceptServer(start, home, trust.Facts{Suite: classic, Version: 1})
	if reason, worse := b.Worse(start, home, trust.Facts{Suite: classic, Version: 1}); worse {
		t.Errorf("accepted, still %s", reason)
	}
}

func TestNamesAreBounded(t *testing.T) {
	var b trust.Book
	for _, name := range []string{strings.Repeat("ﷺ", 1000), "\xff\xfe", strings.Repeat("é", 300), "a\x00b", "\u2028"} {
		b = trust.Book{}
		p := trust.Person{Identity: keyOf("alice"), Name: name, CertHash: strings.Repeat("a", 10_000)}
		if !b.See(start, strings.Repeat("s", 10_000), p) {
			t.Fatalf("%q is not remembered", name[:2])
		}
		p.Identity = keyOf("eve")
		if got := b.Judge(strings.Repeat("s", 10_000), p).Verdict; got != trust.Changed {
			t.Errorf("%q: %v", name[:2], got)
		}
		out := b.Marshal()
		if len(out) > 1000 || !utf8.Valid(out) {
			t.Errorf("%d bytes for one person", len(out))
		}
		if _, err := trust.Parse(out); err != nil {
			t.Errorf("%q: %v", name[:2], err)
		}
	}
}
