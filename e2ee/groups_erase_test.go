package e2ee_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
)

// place is where a key lay: it is looked at again when the key must be gone, also
// if nothing leads there any more.
type place struct {
	path string
	at   reflect.Value
	was  string // the bytes of a key; "" for an SFrame key, which is made of one
	key  uintptr
}

// keyPlaces walks over all that v reaches and returns where keys lie: of steps, of
// contexts, and SFrame keys.
func keyPlaces(v reflect.Value) (list []place) {
	seen := map[uintptr]bool{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				return
			}
			if v.Type().String() == "*sframe.Key" {
				list = append(list, place{path, v, "", v.Pointer()})
				return
			}
			if !seen[v.Pointer()] {
				seen[v.Pointer()] = true
				walk(v.Elem(), path)
			}
		case reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem(), path)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		case reflect.Map:
			for it := v.MapRange(); it.Next(); {
				walk(it.Value(), path+"[]")
			}
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() != reflect.Uint8 {
				for i := range v.Len() {
					walk(v.Index(i), path+"[]")
				}
			} else if b := bytesOf(v); v.Len() >= 16 && slices.Max(b) > 0 {
				list = append(list, place{path, v, string(b), 0})
			}
		}
	}
	walk(v, "")
	return list
}

func bytesOf(v reflect.Value) []byte {
	b := make([]byte, v.Len())
	for i := range b {
		b[i] = byte(v.Index(i).Uint())
	}
	return b
}

// voiceKeys are where e keeps its keys of voice now.
func voiceKeys(e *e2ee.Groups) []place {
	list := keyPlaces(reflect.ValueOf(e).Elem().FieldByName("media"))
	return slices.DeleteFunc(list, func(p place) bool {
		return p.was != "" && !slices.ContainsFunc([]string{".base", ".context"}, func(s string) bool { return len(p.path) > len(s) && p.path[len(p.path)-len(s):] == s })
	})
}

// wiped fails the test for each of these keys that still lies where it lay, or that e
// still reaches anywhere.
func wiped(t *testing.T, what string, e *e2ee.Groups, list []place) {
	t.Helper()
	if len(list) == 0 {
		t.Fatalf("%s: no key was found", what)
	}
	needles := map[string]bool{}
	pointers := map[uintptr]bool{}
	for _, p := range list {
		switch {
		case p.was == "":
			pointers[p.key] = true
			if p.at.Pointer() == p.key {
				t.Errorf("%s: an SFrame key is left at %s", what, p.path)
			}
		default:
			needles[p.was] = true
			if string(bytesOf(p.at)) == p.was {
				t.Errorf("%s: a key is left in memory that was %s", what, p.path)
			}
		}
	}
	for _, p := range keyPlaces(reflect.ValueOf(e)) {
		for i := 0; i+32 <= len(p.was); i++ {
			if needles[p.was[i:i+32]] {
				t.Errorf("%s: a key is reached by %s", what, p.path)
			}
		}
		if p.was == "" && pointers[p.at.Pointer()] {
			t.Errorf("%s: an SFrame key is reached by %s", what, p.path)
		}
	}
}

// erasing is alice, bob and eve in epoch 1 of groupA, who have all spoken: bob's engine
// and where it keeps the keys.
func erasing(t *testing.T) (alice, bob *e2ee.Groups, keys []place) {
	t.Helper()
	alice, bob = talk(t)
	if _, _, err := openAt(bob, dawn, 1, sealOne(t, alice, dawn)); err != nil {
		t.Fatal(err)
	}
	sealOne(t, bob, dawn)
	keys = voiceKeys(bob)
	bases, sframes := 0, 0
	for _, p := range keys {
		if p.was == "" {
			sframes++
		} else {
			bases++
		}
	}
	if bases != 4 || sframes != 2 {
		t.Fatalf("%d keys and %d SFrame keys: %v", bases, sframes, keys)
	}
	return alice, bob, keys
}

// I14 (SECURITY.md §3.4): the keys of an epoch are overwritten when its time is over,
// 5 s after it or 2 s where somebody was removed, though nothing is heard meanwhile.
func TestGroupsEraseEpoch(t *testing.T) {
	for removed, life := range map[bool]time.Duration{false: 5 * time.Second, true: 2 * time.Second} {
		t.Run(fmt.Sprint("removed ", removed), func(t *testing.T) {
			_, bob, keys := erasing(t)
			next := epochOf(dawn, groupA, 2, 2, 1, 2, 3)
			var eves []place
			if removed {
				next = epochOf(dawn, groupA, 2, 2, 1, 2)
				next.Removed = []uint32{2}
				for _, p := range keys {
					if p.was == string(baseOf(epochOf(dawn, groupA, 1, 2, 3), 3)) {
						eves = append(eves, p)
					}
				}
			}
			bob.BeginEpoch(dawn, next)
			if removed {
				wiped(t, "at once", bob, eves)
			}
			if at := bob.Deadline(); at.IsZero() || at.After(dawn.Add(life)) {
				t.Errorf("the clock is set to %v, want %v", at.Sub(dawn), life)
			}
			bob.Handle(dawn.Add(life), nil)
			wiped(t, "after the epoch", bob, keys)
		})
	}
}

func baseOf(b audience.EpochBegan, session uint32) []byte {
	for _, l := range b.Leaves {
		if l.Session == session {
			return l.BaseKey[:]
		}
	}
	return nil
}

// Of a group that is gone, and of a connection that is over, nothing stays.
func TestGroupsEraseGroup(t *testing.T) {
	_, bob, keys := erasing(t)
	bob.LoseGroup(dawn, groupA)
	wiped(t, "after the group", bob, keys)

	_, bob, keys = erasing(t)
	bob.Handle(dawn, e2ee.Disconnected{})
	wiped(t, "after the connection", bob, keys)

	// Epochs that come faster than they end: five are kept.
	_, bob, keys = erasing(t)
	for epoch := range uint64(5) {
		bob.BeginEpoch(dawn, epochOf(dawn, groupA, 2+epoch, 2, 1, 2, 3))
	}
	wiped(t, "after five epochs", bob, keys)
}

// The key of a step is overwritten when the sender goes on to the next, and 10 s
// later at the receiver, by frames or by time, though nobody speaks any more.
func TestGroupsEraseStep(t *testing.T) {
	sent := func(e *e2ee.Groups) []place {
		return slices.DeleteFunc(voiceKeys(e), func(p place) bool {
			return p.was == "" || p.path[len(p.path)-len(".own.ratchet.base"):] != ".own.ratchet.base"
		})
	}
	base := func(e *e2ee.Groups, session uint32) []place {
		was := string(baseOf(epochOf(dawn, groupA, 1, 2, 1, 2, 3), session))
		return slices.DeleteFunc(voiceKeys(e), func(p place) bool { return p.was != was })
	}
	t.Run("frames", func(t *testing.T) {
		alice, bob, _ := erasing(t)
		own, heard := sent(alice), base(bob, 1)
		for range 1 << 14 {
			sealOne(t, alice, dawn)
		}
		wiped(t, "a step of 2^14 frames", alice, own)
		if _, _, err := openAt(bob, dawn, 1, sealOne(t, alice, dawn)); err != nil {
			t.Fatal(err)
		}
		if len(base(bob, 1)) != 1 {
			t.Error("the step before is not kept for stragglers")
		}
		until(t, bob, dawn.Add(10*time.Second))
		wiped(t, "10 s after a step", bob, heard)
	})
	t.Run("time", func(t *testing.T) {
		alice, bob, _ := erasing(t)
		own, heard := sent(alice), base(bob, 1)
		until(t, alice, dawn.Add(5*time.Minute))
		wiped(t, "5 min after the first frame", alice, own)
		until(t, bob, dawn.Add(5*time.Minute+10*time.Second))
		wiped(t, "10 s after the step", bob, heard)
		now := dawn.Add(5*time.Minute + 10*time.Second)
		if _, _, err := openAt(bob, now, 1, sealOne(t, alice, now)); err != nil {
			t.Errorf("the next frame: %v", err)
		}
	})
}

// until lets an engine do what its own clock wants, until a time.
func until(t *testing.T, e *e2ee.Groups, end time.Time) {
	t.Helper()
	for range 1000 {
		at := e.Deadline()
		if at.IsZero() || at.After(end) {
			return
		}
		e.Handle(at, nil)
	}
	t.Fatal("the clock stands still")
}
