package keystore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/trust"
)

var someTime = time.Unix(1_700_000_000, 0)

func TestTrust(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	b, err := s.Trust()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SaveTrust(b); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "trust.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing to remember, but written: %v", err)
	}
	alice := trust.Person{Identity: identity.New().Public(), Name: "alice"}
	b.See(someTime, "a:1", alice)
	b.Remember(someTime, "a:1", 5, []trust.Person{alice})
	if err := s.SaveTrust(b); err != nil || b.Changed() {
		t.Fatalf("changed %v, %v", b.Changed(), err)
	}
	again, err := open(t, dir).Trust()
	if err != nil || again.Judge("a:1", alice).Verdict != trust.Known {
		t.Errorf("alice is not known after a restart: %v", err)
	}
	if _, ok := again.Sticky(someTime, "a:1", 5, nil); !ok {
		t.Error("the sticky memory is lost")
	}
	eve := alice
	eve.Identity = identity.New().Public()
	if got := again.Judge("a:1", eve).Verdict; got != trust.Changed {
		t.Errorf("another key is %v after a restart", got)
	}
	wantPrivate(t, dir)
}

// TestTrustCorrupt: damage is an error for reading and writing, and stays.
func TestTrustCorrupt(t *testing.T) {
	for name, bad := range map[string]string{"empty": "", "cut": `{"format":1`, "newer": "{\"format\":2}\n"} {
		dir := stateDir(t)
		s := open(t, dir)
		b, err := s.Trust()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "trust.json")
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, readErr := s.Trust()
		b.Remember(someTime, "a:1", 5, nil)
		for _, err := range []error{readErr, s.SaveTrust(b)} {
			var e *keystore.Error
			if !errors.Is(err, keystore.ErrCorrupt) || !errors.As(err, &e) || !strings.Contains(err.Error(), path) || e.Hint() == "" {
				t.Errorf("%s: %v", name, err)
			}
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != bad {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
		if !b.Changed() {
			t.Errorf("%s: the change was lost", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveTrust(b); err != nil {
			t.Errorf("%s: not even afterwards: %v", name, err)
		}
	}
}

// TestTrustTogether lets several owners of one directory write at once: nobody
// takes away what another one has seen.
func TestTrustTogether(t *testing.T) {
	dir := stateDir(t)
	const owners, each = 8, 4
	var work sync.WaitGroup
	var people [owners * each]trust.Person
	for i := range people {
		people[i] = trust.Person{Identity: identity.New().Public(), Name: fmt.Sprint("bob", i)}
	}
	for o := range owners {
		s := open(t, dir)
		b, err := s.Trust()
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			for i := range each {
				b.See(someTime, "a:1", people[o*each+i])
				if err := s.SaveTrust(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	b, err := open(t, dir).Trust()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		if got := b.Judge("a:1", p).Verdict; got != trust.Known {
			t.Errorf("%s is %v", p.Name, got)
		}
	}
}

func TestDevice(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	d, err := s.Device()
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Identity()
	if err != nil {
		t.Fatal(err)
	}
	if d.Identity() != id.Public() || d.Public() == id.Public() {
		t.Error("not a device of this identity")
	}
	if again, err := open(t, dir).Device(); err != nil || again.Public() != d.Public() {
		t.Errorf("another device the second time: %v", err)
	}
	path := filepath.Join(dir, "device.key")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty": "", "cut": string(good[:len(good)-9]), "two": string(good) + string(good), "an identity": id.Export(),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Device(); !errors.Is(err, keystore.ErrCorrupt) || strings.Contains(err.Error(), "sotto-") {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := os.ReadFile(path); string(now) != bad {
			t.Errorf("%s: overwritten", name)
		}
	}
	wantPrivate(t, dir)
}

// mayHold are all files a state directory may have: nothing in it is the state
// of a group, a secret of a KeyPackage or a counter (Sotto protocol §5). Who adds
// one here shows that a week-old copy of it does no harm.
var mayHold = []string{
	"lock", "identity.key", "device.key", "trust.json", "own.pem", "mumble.pem",
	"servers/*/server.json", "servers/*/guard.pem",
}

// TestNothingElseIsKept uses everything that writes and lists what there is.
func TestNothingElseIsKept(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	if _, err := s.Device(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OwnCertificate(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ImportMumble(legacyP12(t), ""); err != nil {
		t.Fatal(err)
	}
	v := server(t, s, "a.example", 64738)
	if _, err := v.TLSCertificate(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{v.CheckPin([]byte("c")), v.PinClient([]byte("d")), v.SetPort(7)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.Trust()
	if err != nil {
		t.Fatal(err)
	}
	b.Remember(someTime, v.Address(), 1, nil)
	if err := s.SaveTrust(b); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(mayHold, func(pattern string) bool {
			ok, _ := filepath.Match(pattern, filepath.ToSlash(name))
			return ok
		})
		if i < 0 {
			t.Errorf("%s: nobody has said that this may be kept", name)
			return nil
		}
		found[mayHold[i]] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(mayHold) {
		t.Errorf("only %v were written, so the list proves little", found)
	}
}
