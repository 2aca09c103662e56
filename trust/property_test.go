package trust_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sotto-voip/sotto/trust"
)

// TestMarksNeverMove is invariant I11 at the level of keys: whatever servers
// show in whatever order, a mark stays with the key it came with first and with
// those the user accepted or, after he had its owner forgotten, its next one.
func TestMarksNeverMove(t *testing.T) {
	names := []string{"alice", "bob", "carol"}
	keys := []string{"k0", "k1", "k2", "k3"}
	servers := []string{home, away}
	rapid.Check(t, func(t *rapid.T) {
		b := new(trust.Book)
		owners := map[string]map[string]bool{} // mark -> keys
		marks := func(server string, p trust.Person) []string {
			var out []string
			if p.CertHash != "" {
				out = append(out, "cert "+p.CertHash)
			}
			if p.HasRegistered {
				out = append(out, fmt.Sprint("reg ", server, p.Registered))
			}
			if p.Name != "" {
				out = append(out, "name "+server+strings.ToLower(p.Name))
			}
			return out
		}
		give := func(server, k string, p trust.Person) {
			for _, m := range marks(server, p) {
				if owners[m] == nil {
					owners[m] = map[string]bool{}
				}
				owners[m][k] = true
			}
		}
		known := map[string]bool{}
		now := start
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-40, 100).Draw(t, "hours")) * time.Hour)
			k := rapid.SampledFrom(keys).Draw(t, "key")
			server := rapid.SampledFrom(servers).Draw(t, "server")
			name := rapid.SampledFrom([]string{"", "alice", "ALICE", "Bob", "bob", "carol"}).Draw(t, "name")
			cert := rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "cert")
			p := person(k, name, cert, uint32(rapid.IntRange(0, 2).Draw(t, "registered")))
			foreign := false
			for _, m := range marks(server, p) {
				foreign = foreign || len(owners[m]) > 0 && !owners[m][k]
			}
			want := trust.FirstSeen
			if foreign {
				want = trust.Changed
			} else if known[k] {
				want = trust.Known
			}
			if got := b.Judge(server, p).Verdict; got != want {
				t.Fatalf("%s as %+v is %v, want %v", k, p, got, want)
			}
			switch rapid.IntRange(0, 20).Draw(t, "act") {
			default:
				if b.See(now, server, p) == foreign {
					t.Fatal("See remembers what it must not, or not what it must")
				}
				if !foreign {
					give(server, k, p)
					known[k] = true
				}
			case 0:
				b.Accept(now, server, p)
				give(server, k, p)
				known[k] = true
			case 1:
				b.Forget(p.Identity)
				delete(known, k)
				for _, o := range owners {
					delete(o, k)
				}
			case 2, 3:
				b.Remember(now, server, 1, []trust.Person{p})
			case 4:
				again, err := trust.Parse(b.Marshal())
				if err != nil {
					t.Fatal(err)
				}
				b = again
			case 5:
				b.Expire(now)
			}
		}
		for m, o := range owners {
			for _, k := range keys {
				for _, server := range servers {
					p := person(k, "", "", 0)
					if n, ok := strings.CutPrefix(m, "name "+server); ok {
						p.Name = n
					} else if h, ok := strings.CutPrefix(m, "cert "); ok {
						p.CertHash = h
					} else {
						continue
					}
					if got := b.Judge(server, p).Verdict; len(o) > 0 && (got == trust.Changed) == o[k] {
						t.Fatalf("%s belongs to %v, with %s it is %v", m, slices.Sorted(maps.Keys(o)), k, got)
					}
				}
			}
		}
	})
}

// TestBounds shows ten thousands of strangers: who was protected stays, the
// oldest others go, nothing grows without end.
func TestBounds(t *testing.T) {
	var b trust.Book
	alice, first := person("alice", "alice", "a", 7), person("first", "first", "f", 0)
	b.See(start, home, alice)
	b.Remember(start, home, 1, []trust.Person{alice})
	b.See(start.Add(time.Hour), home, first)
	long := strings.Repeat("w", 40)
	for i := range 12_000 {
		now := start.Add(2*time.Hour + time.Duration(i)*time.Second)
		p := person(fmt.Sprint(i), fmt.Sprint(long, i), fmt.Sprint(i), uint32(i+100))
		if !b.See(now, home, p) {
			t.Fatalf("stranger %d is not remembered", i)
		}
		if b.Judge(home, p).Verdict != trust.Known {
			t.Fatalf("stranger %d is not known", i)
		}
		if i%1000 == 0 {
			b.Saved()
		}
	}
	if got := b.Judge(home, person("eve", "alice", "", 0)).Verdict; got != trust.Changed {
		t.Errorf("alice was protected and is forgotten: %v", got)
	}
	if got := b.Judge(home, person("first", "", "", 0)).Verdict; got != trust.FirstSeen {
		t.Errorf("the oldest stranger is %v", got)
	}
	out := b.Marshal()
	t.Logf("%d bytes", len(out))
	again, err := trust.Parse(out)
	if err != nil || !bytes.Equal(again.Marshal(), out) {
		t.Errorf("a full Book does not come back: %v", err)
	}
}

// TestFullOfProtected fills the sticky memory: the old stays, the new is
// refused and said to be, a year later there is room.
func TestFullOfProtected(t *testing.T) {
	var b trust.Book
	server := strings.Repeat("s", 300)
	i := uint32(0)
	for ; b.Remember(start, server, i, nil); i++ {
		if i > 100_000 {
			t.Fatal("the memory has no end")
		}
		if i%1000 == 0 {
			b.Saved()
		}
	}
	if _, ok := b.Sticky(start, server, 0, nil); !ok {
		t.Error("the first was forgotten")
	}
	if n := len(b.Marshal()); n > trust.MaxBytes {
		t.Errorf("%d bytes", n)
	}
	b.Saved()
	if !b.Remember(start.Add(trust.Memory+time.Hour), server, i, nil) {
		t.Error("no room after a year")
	}
	if _, err := trust.Parse(b.Marshal()); err != nil {
		t.Error(err)
	}
}

// TestJournalIsBounded floods an owner who does not write.
func TestJournalIsBounded(t *testing.T) {
	var b trust.Book
	b.See(start, home, person("alice", "alice", "", 0))
	n := 0
	for i := 0; b.Remember(start, home, uint32(i), nil); i++ {
		if n++; n > 100_000 {
			t.Fatal("no end")
		}
	}
	if b.See(start, home, person("bob", "bob", "", 0)) {
		t.Error("a stranger is remembered although nothing is written")
	}
	if !b.Accept(start, home, person("eve", "alice", "", 0)) || !b.Forget(keyOf("alice")) {
		t.Error("the user has to wait for servers")
	}
	b.Saved()
	if !b.See(start, home, person("bob", "bob", "", 0)) {
		t.Error("not remembered after a write")
	}
}

// TestRenamed gives one key so many names that it has to stop: the first ones
// stay its own.
func TestRenamed(t *testing.T) {
	var b trust.Book
	full := false
	for i := range 100 {
		full = !b.See(start.Add(time.Duration(i)*time.Hour), home, person("bob", fmt.Sprint("bob", i), "", 0))
	}
	if !full {
		t.Error("a key gathers marks without end")
	}
	if got := b.Judge(home, person("eve", "bob0", "", 0)).Verdict; got != trust.Changed {
		t.Errorf("bob's first name is %v for another", got)
	}
}
