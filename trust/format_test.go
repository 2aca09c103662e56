package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/trust"
)

// sample is a Book with something of each kind.
func sample() *trust.Book {
	var b trust.Book
	alice, bob := person("alice", "Alice <a&b>", "a", 7), person("bob", "bob", "b", 0)
	b.See(start, home, alice)
	b.See(start, home, bob)
	b.Accept(start.Add(time.Hour), home, person("carol", "bob", "c", 0))
	b.Remember(start, home, 5, []trust.Person{alice, bob})
	b.RememberServer(start, home, trust.Facts{Suite: 0xF47A, Regime: trust.RegimeEcho, Version: 1 << 63})
	return &b
}

func TestFormat(t *testing.T) {
	b := sample()
	out := b.Marshal()
	t.Logf("%s", out)
	again, err := trust.Parse(out)
	if err != nil || !bytes.Equal(again.Marshal(), out) || again.Changed() {
		t.Fatalf("round trip: %v", err)
	}
	if got := again.Judge(home, person("eve", "bob", "", 0)); len(got.Before) != 2 {
		t.Errorf("after the round trip: %+v", got)
	}
	var empty trust.Book
	if _, err := trust.Parse(empty.Marshal()); err != nil {
		t.Errorf("the empty Book: %v", err)
	}
	s := string(out)
	for what, bad := range map[string]string{
		"nothing":          "",
		"zeros":            strings.Repeat("\x00", 100),
		"cut":              s[:len(s)/2],
		"cut at the end":   s[:len(s)-1],
		"more":             s + "{}",
		"newer":            strings.Replace(s, `"format":1`, `"format":2`, 1),
		"a field more":     strings.Replace(s, `{"format":1`, `{"format":1,"x":1`, 1),
		"a field twice":    strings.Replace(s, `{"format":1`, `{"format":1,"format":1`, 1),
		"other case":       strings.Replace(s, `"people"`, `"People"`, 1),
		"indented":         strings.ReplaceAll(s, ":", ": "),
		"a broken key":     strings.Replace(s, `"key":"`, `"key":"0`, 1),
		"unknown kind":     strings.Replace(s, `"kind":"name"`, `"kind":"nam"`, 1),
		"no kind":          strings.Replace(s, `"kind":"name"`, `"kind":""`, 1),
		"mark as channel":  strings.Replace(s, `{"kind":"name","server"`, `{"kind":"channel","server"`, 1),
		"unknown regime":   strings.Replace(s, `"regime":3`, `"regime":4`, 1),
		"mark of nobody":   strings.Replace(s, `"keys":["`+fmt.Sprintf("%x", keyBytes("alice")), `"keys":["`+fmt.Sprintf("%x", keyBytes("eve")), 1),
		"not a number":     strings.Replace(s, `"value":"5"`, `"value":"05"`, 1),
		"a list is a word": strings.Replace(s, `"servers":[`, `"servers":"[`, 1),
	} {
		if bad == s {
			t.Fatalf("%s: nothing was changed", what)
		}
		if _, err := trust.Parse([]byte(bad)); !errors.Is(err, trust.ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Marshal())
	f.Add(new(trust.Book).Marshal())
	f.Add([]byte(`{"format":1,"people":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := trust.Parse(data)
		if err != nil {
			if !errors.Is(err, trust.ErrFormat) {
				t.Fatalf("error without a name: %v", err)
			}
			return
		}
		if !bytes.Equal(b.Marshal(), data) {
			t.Fatal("another form was accepted")
		}
		b.See(start, home, person("alice", "alice", "a", 1))
		b.Remember(start, home, 1, []trust.Person{person("alice", "alice", "a", 1)})
		b.Forget(keyOf("alice"))
		if _, err := trust.Parse(b.Marshal()); err != nil {
			t.Fatalf("what it writes it does not read: %v", err)
		}
	})
}

// TestRebase lets two owners of one file write in turn.
func TestRebase(t *testing.T) {
	file := sample().Marshal()
	read := func() *trust.Book {
		b, err := trust.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, two := read(), read()
	one.Forget(keyOf("alice"))
	one.See(start, home, person("dave", "dave", "d", 0))
	two.See(start, home, person("eve", "eve", "e", 0))
	two.See(start, home, person("frank", "dave", "", 0)) // one was faster
	two.RememberServer(start, away, trust.Facts{Version: 5})

	file = one.Marshal()
	one.Saved()
	two.Rebase(read())
	if !two.Changed() {
		t.Error("nothing to write after Rebase")
	}
	file = two.Marshal()
	two.Saved()
	if one.Changed() || two.Changed() {
		t.Error("still something to write")
	}
	one.Rebase(read())
	if !bytes.Equal(one.Marshal(), two.Marshal()) {
		t.Fatal("they do not agree")
	}
	for _, c := range []struct {
		p    trust.Person
		want trust.Verdict
	}{
		{person("dave", "dave", "d", 0), trust.Known},
		{person("eve", "eve", "e", 0), trust.Known},
		{person("frank", "dave", "", 0), trust.Changed},
		{person("alice", "", "", 0), trust.FirstSeen},
	} {
		if got := one.Judge(home, c.p).Verdict; got != c.want {
			t.Errorf("%s: %v, want %v", c.p.Name, got, c.want)
		}
	}
	if _, worse := one.Worse(start, away, trust.Facts{}); !worse {
		t.Error("what two knew of a server is lost")
	}
}

// keyBytes is keyOf without the way a key prints itself.
func keyBytes(name string) [32]byte { return keyOf(name) }
