package audience_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// dump walks over everything that a machine reaches, and gives what is 16 bytes or
// longer to see, with the names of the fields on the way. Functions are closed to it.
func dump(v reflect.Value, path []string, seen map[uintptr]bool, see func(path []string, b []byte)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			dump(v.Elem(), path, seen, see)
		}
	case reflect.Interface:
		if !v.IsNil() {
			dump(v.Elem(), path, seen, see)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			dump(v.Field(i), append(path, v.Type().Field(i).Name), seen, see)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			dump(it.Value(), path, seen, see)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Len() >= 16 {
				b := make([]byte, v.Len())
				for i := range b {
					b[i] = byte(v.Index(i).Uint())
				}
				see(path, b)
			}
			return
		}
		for i := range v.Len() {
			dump(v.Index(i), path, seen, see)
		}
	}
}

// secretsNow collects the secrets of the epochs that a machine is in: those of the
// key schedule, and of the secret tree.
func secretsNow(m *audience.Machine) map[string]bool {
	out := map[string]bool{}
	dump(reflect.ValueOf(m), nil, map[uintptr]bool{}, func(path []string, b []byte) {
		if (slices.Contains(path, "secrets") || slices.Contains(path, "ratchets")) && !slices.Contains(path, "sig") {
			out[string(b)] = true
		}
	})
	return out
}

// remains returns how many of these a machine still holds.
func remains(m *audience.Machine, needles map[string]bool) (n int, where []string) {
	dump(reflect.ValueOf(m), nil, map[uintptr]bool{}, func(path []string, b []byte) {
		for i := 0; i+16 <= len(b); i++ {
			for _, l := range []int{32, 16} {
				if i+l <= len(b) && needles[string(b[i:i+l])] {
					n++
					where = append(where, slices.Clone(path)...)
				}
			}
		}
	})
	return n, where
}

// handed are the keys that were given out with an epoch.
func handed(e audience.EpochBegan) map[string]bool {
	out := map[string]bool{string(e.Context[:]): true, string(e.Code[:]): true}
	for _, l := range e.Leaves {
		out[string(l.BaseKey[:])] = true
	}
	return out
}

// I14: 10 s after an epoch ended nothing of it is in memory; what was handed out is
// not kept at all; and of a group that was left nothing remains.
func TestSecretsAreForgotten(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h, all := meeting(t, 110, regime, audience.SuiteClassic, 4)
			h.run(30 * time.Second)
			alice := all[0]
			e, _ := alice.home()
			if n, where := remains(alice.m, handed(e)); n > 0 {
				t.Errorf("keys that were handed out: %d in %v", n, where)
			}
			old := secretsNow(alice.m)
			if len(old) < 6 {
				t.Fatalf("the search finds %d secrets", len(old))
			}
			if n, _ := remains(alice.m, old); n < len(old) {
				t.Fatalf("the search finds %d of %d secrets again", n, len(old))
			}
			if err := all[1].say(e.Group, "hello"); err != nil {
				t.Fatal(err)
			}
			h.leave(all[3], true)
			h.until(20*time.Second, "out", func() bool { return together(all[:3]...) })
			h.run(10 * time.Second)
			if n, where := remains(alice.m, old); n > 0 {
				t.Errorf("%d secrets of a former epoch in %v", n, where)
			}
			// To another channel: nothing of the old group.
			old = secretsNow(alice.m)
			h.move(alice, 9)
			h.run(time.Second)
			if n, where := remains(alice.m, old); n > 0 {
				t.Errorf("%d secrets of a group that was left in %v", n, where)
			}
			// And after the connection nothing at all.
			bob := all[1]
			old = secretsNow(bob.m)
			bob.handle(audience.Disconnected{})
			if n, where := remains(bob.m, old); n > 0 || len(secretsNow(bob.m)) > 0 {
				t.Errorf("%d secrets after the end in %v", n, where)
			}
		})
	}
}

// A KeyPackage whose time is over can join nothing (§2.6), and a Welcome is good
// once.
func TestOfferLife(t *testing.T) {
	h := newHall(t, 111, audience.RegimeEcho, mls.InsecureSuite(t))
	alice, bob := h.arrive(3), h.arrive(3)
	var welcome envelope.Object
	h.meddle = func(_, _ uint32, o envelope.Object) []time.Duration {
		if o.Kind == envelope.KindWelcome {
			welcome = o
			return nil
		}
		return []time.Duration{h.delay()}
	}
	h.until(10*time.Second, "a Welcome", func() bool { return welcome.Kind != 0 })
	joiner, other := alice, bob
	if _, founder := alice.home(); founder {
		joiner, other = bob, alice
	}
	h.leave(other, true)
	h.run(10*time.Minute + 5*time.Second)
	joiner.handle(audience.Received{From: other.session, Object: welcome})
	if _, in := joiner.home(); in {
		t.Error("joined by a KeyPackage of ten minutes ago")
	}
	if n := joiner.m.Sizes()["offers"]; n != 0 {
		t.Errorf("%d KeyPackages are kept", n)
	}
}
