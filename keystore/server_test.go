package keystore_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sotto-voip/sotto/keystore"
)

func TestServerNames(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	long := strings.Repeat("a", 250)
	files := map[string]string{}
	for _, tt := range []struct {
		host    string
		port    uint16
		address string
	}{
		{"example.org", 64738, "example.org:64738"},
		{"example.org", 64739, "example.org:64739"},
		{"example.org.", 64738, "example.org.:64738"},
		{"::1", 64738, "[::1]:64738"},
		{"fe80::1%eth0", 64738, "[fe80::1%eth0]:64738"},
		{"..", 64738, "..:64738"},
		{"../../etc", 64738, "../../etc:64738"},
		{"a/b", 64738, "a/b:64738"},
		{`a\b`, 64738, `a\b:64738`},
		{"a_b", 64738, "a_b:64738"},
		{"a=5fb", 64738, "a=5fb:64738"},
		{"con", 64738, "con:64738"},
		{"bücher.example", 64738, "bücher.example:64738"},
		{"a\x00b", 1, "a\x00b:1"},
		{long, 1, long + ":1"},
		{long + "b", 1, long + "b:1"},
	} {
		v := server(t, s, tt.host, tt.port)
		if got := v.Address(); got != tt.address {
			t.Errorf("%q: address %q, want %q", tt.host, got, tt.address)
		}
		if err := v.SetPort(0); err != nil { // writes the record
			t.Errorf("%q: %v", tt.host, err)
		}
		for _, name := range names(t, filepath.Join(dir, "servers")) {
			if _, ok := files[name]; !ok {
				files[name] = tt.host
				t.Logf("%q is %s", tt.host, name)
			}
		}
	}
	if len(files) != 16 {
		t.Errorf("16 servers have %d directories", len(files))
	}
	for name := range files {
		if len(name) > 140 || strings.ContainsAny(name, "/\\:%\x00") || name[0] == '.' {
			t.Errorf("bad name %q", name)
		}
	}
	if got := names(t, filepath.Dir(dir)); len(got) != 1 {
		t.Errorf("something was written outside: %v", got)
	}
	a, b := server(t, s, "[::1]", 64738), server(t, s, "::1", 64738)
	if a.Address() != b.Address() {
		t.Error("brackets make another server")
	}
	for _, tt := range []struct {
		host string
		port uint16
	}{{"", 64738}, {"[]", 64738}, {"a", 0}, {strings.Repeat("a", 256), 1}} {
		if _, err := s.Server(tt.host, tt.port); !errors.Is(err, keystore.ErrAddress) {
			t.Errorf("%q %d: %v", tt.host, tt.port, err)
		}
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestPins(t *testing.T) {
	first, second := []byte("first certificate"), []byte("second certificate")
	for _, client := range []bool{false, true} {
		dir := stateDir(t)
		v := server(t, open(t, dir), "example.org", 64738)
		check, pin, replace := v.CheckPin, v.Pin, v.ReplacePin
		other := v.ClientPin
		if client {
			check, pin, replace, other = v.PinClient, v.ClientPin, v.ReplaceClientPin, v.Pin
		}
		if _, ok, err := pin(); ok || err != nil {
			t.Fatalf("a pin before the first connection: %v", err)
		}
		if err := check(first); err != nil {
			t.Fatalf("first use: %v", err)
		}
		// On disk by now, for everybody.
		again := server(t, open(t, dir), "example.org", 64738)
		recheck := again.CheckPin
		if client {
			recheck = again.PinClient
		}
		if err := recheck(first); err != nil {
			t.Errorf("same again: %v", err)
		}
		for range 2 { // an alarm does not wear off
			var e *keystore.PinError
			err := recheck(second)
			if !errors.As(err, &e) {
				t.Fatalf("changed: %v", err)
			}
			if e.Old != sha256.Sum256(first) || e.New != sha256.Sum256(second) || e.Client != client || e.Address != "example.org:64738" {
				t.Errorf("%+v", e)
			}
			for _, want := range []string{keystore.Fingerprint(e.Old), keystore.Fingerprint(e.New), "identity changed", "example.org:64738"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q: %v", want, err)
				}
			}
			if e.Hint() == "" || strings.Contains(e.Hint(), "--accept-certificate") == client {
				t.Errorf("hint %q", e.Hint())
			}
		}
		if err := replace(second, sha256.Sum256(first)); !errors.Is(err, keystore.ErrFingerprint) {
			t.Errorf("another certificate than accepted: %v", err)
		}
		if err := check(first); err != nil {
			t.Errorf("after a refused replacement: %v", err)
		}
		if err := replace(second, sha256.Sum256(second)); err != nil {
			t.Error(err)
		}
		if sum, ok, err := pin(); sum != sha256.Sum256(second) || !ok || err != nil {
			t.Errorf("after the replacement: %x, %v, %v", sum, ok, err)
		}
		if err := check(first); err == nil {
			t.Error("the old one is still good")
		}
		if _, ok, err := other(); ok || err != nil {
			t.Errorf("the other pin changed too: %v", err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	s := keystore.Fingerprint(sum)
	t.Log(s)
	if len(s) != 79 || len(strings.Fields(s)) != 16 || s != strings.ToUpper(s) {
		t.Errorf("%q", s)
	}
	for _, in := range []string{s, strings.ToLower(s), strings.ReplaceAll(s, " ", ""), strings.ReplaceAll(s, " ", ":"), "  " + s + "\n"} {
		if got, err := keystore.ParseFingerprint(in); err != nil || got != sum {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{"", s[:78], s + "A", "x" + s[1:], strings.Repeat(" ", 300) + s} {
		if _, err := keystore.ParseFingerprint(in); !errors.Is(err, keystore.ErrFingerprint) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestPorts(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir)
	a, b := server(t, s, "a.example", 64738), server(t, s, "b.example", 64738)
	if _, ok, err := a.Port(); ok || err != nil {
		t.Fatalf("a port before anybody chose one: %v", err)
	}
	if err := a.SetPort(64801); err != nil {
		t.Fatal(err)
	}
	if p, ok, err := server(t, open(t, dir), "a.example", 64738).Port(); p != 64801 || !ok || err != nil {
		t.Errorf("%d, %v, %v", p, ok, err)
	}
	var e *keystore.Error
	if err := b.SetPort(64801); !errors.Is(err, keystore.ErrPortTaken) || !errors.As(err, &e) || e.Hint() == "" || !strings.Contains(err.Error(), "a.example") {
		t.Errorf("a port twice: %v", err)
	}
	if err := a.SetPort(64801); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := a.SetPort(64802); err != nil {
		t.Error(err)
	}
	if err := b.SetPort(64801); err != nil {
		t.Errorf("a port that became free: %v", err)
	}
	if err := b.SetPort(0); err != nil {
		t.Error(err)
	}
	if p, ok, err := b.Port(); ok || err != nil {
		t.Errorf("a port that was given up: %d, %v", p, err)
	}
}

// TestPinRace: of many first connections at once that saw different
// certificates, one is right and all others are alarms.
func TestPinRace(t *testing.T) {
	for range 4 {
		dir := stateDir(t)
		var wg sync.WaitGroup
		start := make(chan struct{})
		errs := make([]error, 12)
		for i := range errs {
			v := server(t, open(t, dir), "a.example", 64738)
			wg.Go(func() {
				<-start
				errs[i] = v.CheckPin([]byte{byte(i)})
			})
		}
		close(start)
		wg.Wait()
		winners := 0
		for i, err := range errs {
			var e *keystore.PinError
			switch {
			case err == nil:
				winners++
				if sum, _, err := server(t, open(t, dir), "a.example", 64738).Pin(); sum != sha256.Sum256([]byte{byte(i)}) {
					t.Errorf("accepted, but another one is remembered: %v", err)
				}
			case !errors.As(err, &e):
				t.Errorf("%v", err)
			}
		}
		if winners != 1 {
			t.Errorf("%d different certificates were accepted", winners)
		}
	}
}

// TestUnknownFields: what a newer Sotto wrote survives an older one.
func TestUnknownFields(t *testing.T) {
	dir := stateDir(t)
	v := server(t, open(t, dir), "a.example", 64738)
	if err := v.SetPort(64801); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "servers", "a.example_64738", "server.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), "{", `{"zz_future": {"deep": [1, 2.50, "x"]}, "FORMAT": 9,`, 1))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.CheckPin([]byte("certificate")); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", b)
	if f := strings.Join(strings.Fields(string(got["zz_future"])), ""); f != `{"deep":[1,2.50,"x"]}` || string(got["FORMAT"]) != "9" {
		t.Errorf("unknown fields became %s, %s", f, got["FORMAT"])
	}
	for _, name := range []string{"format", "address", "first_seen", "port", "pin"} {
		if got[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestCorrupt damages each file in several ways: an error says where, and
// nothing is written.
func TestCorrupt(t *testing.T) {
	text := sha256.Sum256([]byte("x"))
	good := fmt.Sprintf(`{"format":1,"address":"a.example:64738","first_seen":"2026-01-01T00:00:00Z","pin":"%x"}`, text)
	for _, tt := range []struct {
		file string // below the state directory
		bad  map[string]string
	}{
		{"identity.key", map[string]string{"empty": "", "comment only": "# x\n", "cut": "sotto-identity-1qqqq", "no text": "\x00\xff", "huge": strings.Repeat("#\n", 200_000)}},
		{"own.pem", map[string]string{"empty": "", "no PEM": "x", "no key": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}},
		{"mumble.pem", map[string]string{"empty": "", "no PEM": "x"}},
		{"servers/a.example_64738/guard.pem", map[string]string{"empty": "", "no PEM": "x"}},
		{"servers/a.example_64738/server.json", map[string]string{
			"empty": "", "cut": good[:len(good)-20], "null": "null", "a list": "[]", "two": good + good,
			"another server": strings.Replace(good, "a.example", "b.example", 1), "no format": strings.Replace(good, `"format":1,`, "", 1),
			"newer format": strings.Replace(good, `"format":1`, `"format":2`, 1), "a short pin": strings.Replace(good, good[len(good)-6:len(good)-2], "", 1),
			"a pin that is no hex": good[:len(good)-4] + `zz"}`, "a number for a pin": `{"format":1,"address":"a.example:64738","pin":5}`,
			"an impossible port": `{"format":1,"address":"a.example:64738","port":65536}`,
		}},
	} {
		for name, bad := range tt.bad {
			t.Run(tt.file+" "+name, func(t *testing.T) {
				dir := stateDir(t)
				server(t, open(t, dir), "a.example", 64738)
				path := filepath.Join(dir, filepath.FromSlash(tt.file))
				if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
					t.Fatal(err)
				}
				s := open(t, dir)
				var errs []error
				switch filepath.Base(tt.file) {
				case "identity.key":
					_, err := s.Identity()
					errs = append(errs, err)
				case "own.pem":
					_, err := s.OwnCertificate()
					_, _, err2 := s.MumbleCertificate()
					errs = append(errs, err, err2)
				case "mumble.pem":
					_, _, err := s.MumbleCertificate()
					errs = append(errs, err)
				case "guard.pem":
					_, err := server(t, s, "a.example", 64738).TLSCertificate()
					errs = append(errs, err)
				case "server.json":
					_, err := s.Server("a.example", 64738)
					errs = append(errs, err)
				}
				for _, err := range errs {
					var e *keystore.Error
					if !errors.Is(err, keystore.ErrCorrupt) || !errors.As(err, &e) || !strings.Contains(err.Error(), path) || e.Hint() == "" {
						t.Errorf("%v", err)
					}
					if err != nil && strings.Contains(err.Error(), "sotto-identity-1") {
						t.Error("the error repeats the key")
					}
				}
				if now, err := os.ReadFile(path); err != nil || string(now) != bad {
					t.Errorf("the file was changed: %v", err)
				}
			})
		}
	}
}

// TestDamageBehindOurBack: a record that breaks while a Server is in use is an
// error in each method, never "no pin yet".
func TestDamageBehindOurBack(t *testing.T) {
	dir := stateDir(t)
	v := server(t, open(t, dir), "a.example", 64738)
	if err := v.CheckPin([]byte("certificate")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "servers", "a.example_64738", "server.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, pinErr := v.Pin()
	_, _, clientErr := v.ClientPin()
	_, _, portErr := v.Port()
	for name, err := range map[string]error{
		"CheckPin": v.CheckPin([]byte("certificate")), "PinClient": v.PinClient([]byte("c")), "SetPort": v.SetPort(1),
		"ReplacePin": v.ReplacePin([]byte("c"), sha256.Sum256([]byte("c"))), "Pin": pinErr, "ClientPin": clientErr, "Port": portErr,
	} {
		if !errors.Is(err, keystore.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, _ := os.ReadFile(path); string(b) != "{" {
		t.Error("the damaged file was overwritten")
	}
}

// FuzzServerJSON reads any record; what is accepted can be changed and read
// again and keeps its pin.
func FuzzServerJSON(f *testing.F) {
	f.Add(`{"format":1,"address":"a:1","pin":"0000000000000000000000000000000000000000000000000000000000000000"}`)
	f.Add(`{"format":1,"address":"a:1","port":5,"x":{"y":[]}}`)
	f.Add(`{"format":1,"address":"a:1","client_pin":null,"first_seen":"2026-01-01T00:00:00Z"}`)
	dir := stateDir(f)
	s := open(f, dir)
	server(f, s, "a", 1)
	path := filepath.Join(dir, "servers", "a_1", "server.json")
	f.Fuzz(func(t *testing.T, b string) {
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := s.Server("a", 1)
		if err != nil {
			if !errors.Is(err, keystore.ErrCorrupt) {
				t.Errorf("%v", err)
			}
			return
		}
		pin, had, err := v.Pin()
		if err != nil {
			t.Fatal(err)
		}
		if err := v.SetPort(7); err != nil {
			t.Fatal(err)
		}
		if now, has, err := v.Pin(); now != pin || has != had || err != nil {
			t.Errorf("the pin %x %v became %x %v, %v", pin, had, now, has, err)
		}
		if p, ok, err := v.Port(); p != 7 || !ok || err != nil {
			t.Errorf("port %d, %v, %v", p, ok, err)
		}
	})
}
