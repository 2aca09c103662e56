package main

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/mumble/control"
)

func TestSplitServer(t *testing.T) {
	for _, tt := range []struct {
		in   string
		host string // "": refused
		port uint16
	}{
		{"example.org", "example.org", 64738},
		{"example.org:1234", "example.org", 1234},
		{"Example.ORG:65535", "Example.ORG", 65535},
		{"192.0.2.1", "192.0.2.1", 64738},
		{"192.0.2.1:1", "192.0.2.1", 1},
		{"::1", "::1", 64738},
		{"[::1]", "::1", 64738},
		{"[2001:db8::1]:1234", "2001:db8::1", 1234},
		{"2001:db8::1", "2001:db8::1", 64738},
		{"under_score", "under_score", 64738},
		{"münchen.example", "münchen.example", 64738},
		{"[example.org]", "example.org", 64738},
		{"", "", 0},
		{":", "", 0},
		{":64738", "", 0},
		{"[]", "", 0},
		{"[]:1", "", 0},
		{"host:", "", 0},
		{"host:0", "", 0},
		{"host:65536", "", 0},
		{"host:-1", "", 0},
		{"host:+1", "", 0},
		{"host:1:2", "", 0},
		{"host:http", "", 0},
		{"[::1", "", 0},
		{"::1]", "", 0},
		{"[::1]x", "", 0},
		{"[[::1]]", "", 0},
		{"[fe80::1%eth0]", "", 0},
		{"two words", "", 0},
		{"new\nline", "", 0},
		{"nul\x00", "", 0},
		{"del\x7f", "", 0},
		{"c1\u009b2Jx", "", 0},
		{"bidi\u202ex", "", 0},
		{"bücher.example", "bücher.example", 64738},
		{"host/path", "", 0},
		{"mumble://host", "", 0},
		{"mumble://bob@host:1", "", 0},
		{"bob@host", "", 0},
		{"bob:hunter2@host", "", 0},
		{strings.Repeat("x", 254), "", 0},
	} {
		host, port, err := splitServer(tt.in)
		if host != tt.host || port != tt.port || (err == nil) != (tt.host != "") {
			t.Errorf("%q: %q, %d, %v; want %q, %d", tt.in, host, port, err, tt.host, tt.port)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", tt.in, err)
		}
	}
}

func FuzzSplitServer(f *testing.F) {
	for _, s := range []string{"host", "host:1", "[::1]:64738", "::1", "[host]", "", ":", "a:b:c", "[", "]", "mumble://a:b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := splitServer(s)
		if err != nil {
			if host != "" || port != 0 {
				t.Errorf("%q: %q, %d and %v", s, host, port, err)
			}
			return
		}
		if host == "" || port == 0 || strings.ContainsAny(host, "/@[] \x00\n") {
			t.Errorf("%q: %q, %d", s, host, port)
		}
		again, p, err := splitServer(net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil || again != host || p != port {
			t.Errorf("%q: %q, %d becomes %q, %d, %v", s, host, port, again, p, err)
		}
	})
}

func TestParseTarget(t *testing.T) {
	ok := func(host string, port uint16, user, password, channel string) *target {
		return &target{host, port, port != 64738, user, password, channel}
	}
	for _, tt := range []struct {
		in   string
		want *target // nil: refused
	}{
		{"mumble://bob@example.org", ok("example.org", 64738, "bob", "", "")},
		{"mumble://bob@example.org/", ok("example.org", 64738, "bob", "", "")},
		{"mumble://bob:hunter2@example.org:1234/Lobby", ok("example.org", 1234, "bob", "hunter2", "Lobby")},
		{"mumble://bob@[::1]:1234/Lobby/Red%20team/", ok("::1", 1234, "bob", "", "Lobby/Red team")},
		{"mumble://bob@h:64738/x", &target{"h", 64738, true, "bob", "", "x"}},
		{"mumble://bob@h/Lobby/Red team", ok("h", 64738, "bob", "", "Lobby/Red team")},
		{"mumble://b%C3%B6b:p%40ss%2F@h/%D0%96", ok("h", 64738, "böb", "p@ss/", "Ж")},
		{"MUMBLE://bob@h", ok("h", 64738, "bob", "", "")},
		{"mumble://bob:@h", ok("h", 64738, "bob", "", "")},
		{"mumble://bob@h/x?version=1.2.0", ok("h", 64738, "bob", "", "x")},
		{"", nil},
		{"example.org", nil},
		{"bob@example.org", nil},
		{"mumble://", nil},
		{"mumble://example.org", nil},
		{"mumble://@example.org", nil},
		{"mumble://:hunter2@example.org", nil},
		{"mumble://bob@", nil},
		{"mumble://bob@/x", nil},
		{"mumble://bob@a:b]:1/", nil},
		{"mumble://bob@[::1]]/", nil},
		{"mumble://bob@h:0", nil},
		{"mumble://bob@h:65536", nil},
		{"mumble://bob@h:x", nil},
		{"mumble:bob@h", nil},
		{"http://bob@h", nil},
		{"mumble://bob:hunter2@h h", nil},
		{"mumble://bob:hunter2@h/%zz", nil},
		{"mumble://bob:hunter2%@h/", nil},
		{"mumble://bob:hunter2", nil},
		{"mumble://bob:12345", nil},
	} {
		got, err := parseTarget(tt.in)
		switch {
		case tt.want == nil && (err == nil || got != (target{})):
			t.Errorf("%q: %+v, %v; want an error", tt.in, got, err)
		case tt.want != nil && (err != nil || got != *tt.want):
			t.Errorf("%q: %+v, %v; want %+v", tt.in, got, err, *tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "12345")) {
			t.Errorf("%q: %v", tt.in, err)
		}
	}
}

// FuzzParseTarget: what is read can be written and read again, and a password
// is in no error.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"", "mumble://bob@h", "mumble://b:p@h:1/x/y", "mumble://b:p@[::1]:2/", "mumble://b:%zz@h", "http://x", "mumble://b@h/%2F"} {
		f.Add(s, "")
	}
	f.Add("mumble://bob:", "@host:x/")
	f.Add("bob:", "@host")
	f.Add("mumble://bob:", "/x")
	f.Fuzz(func(t *testing.T, before, after string) {
		if got, err := parseTarget(before); err == nil {
			u := url.URL{Scheme: "mumble", User: url.UserPassword(got.user, got.password), Host: net.JoinHostPort(got.host, strconv.Itoa(int(got.port))), Path: "/" + got.channel}
			again, err := parseTarget(u.String())
			again.typed = got.typed // the port is written here in any case
			if err != nil || again != got {
				t.Errorf("%q: %+v becomes %+v, %v by %s", before, got, again, err, u.String())
			}
		}
		// A colon before the password and, if there is one, an at sign after it.
		const password = "hunter2"
		if !strings.Contains(before, ":") || strings.Contains(before+after, password) || strings.EqualFold(before, "mumble:") || strings.EqualFold(before, "mumble://") {
			return
		}
		name, _, _ := strings.Cut(before, "@")
		if name != before && !strings.Contains(after, "@") {
			return // NAME@HOST:... is no place for one
		}
		if _, err := parseTarget(before + password + after); err != nil && strings.Contains(err.Error(), password) {
			rest := before
			if len(rest) >= 9 && strings.EqualFold(rest[:9], "mumble://") {
				rest = rest[9:]
			}
			if strings.Contains(rest, ":") {
				t.Errorf("%q and %q: %v", before, after, err)
			}
		}
	})
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"mumble://bob:hunter2@host/x", "mumble://bob:...@host/x"},
		{"mumble://bob:hunter2@host:x/", "mumble://bob:...@host:x/"},
		{"Mumble://bob:hunter2@host", "Mumble://bob:...@host"},
		{"mumble://bob:h@nter2@host", "mumble://bob:...@host"},
		{"mumble://bob:hun/ter2@host", "mumble://bob:...@host"},
		{"mumble://:hunter2@host", "mumble://:...@host"},
		{"mumble://bob:hunter2", "mumble://bob:..."},
		{"bob:hunter2@host", "bob:...@host"},
		{"bob:hunter2", "bob:..."},
		{"mumble://bob@host:99999/x", "mumble://bob@host:99999/x"},
		{"mumble://bob@host", "mumble://bob@host"},
		{"mumble://bob@host:1@x:2", "mumble://bob@host:...@x:2"},
		{"nonsense", "nonsense"},
		{"", ""},
	} {
		if got := redact(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want control.Version // 0: refused
	}{
		{"1.3.4", control.MakeVersion(1, 3, 4)},
		{"1.5.735", control.MakeVersion(1, 5, 735)},
		{"65535.65535.65535", control.MakeVersion(65535, 65535, 65535)},
		{"", 0}, {"1", 0}, {"1.3", 0}, {"1.3.4.5", 0}, {"1.3.x", 0}, {"1.3.", 0}, {"..", 0}, {"1.3.-4", 0}, {"1.3.65536", 0}, {" 1.3.4", 0},
	} {
		got, err := parseVersion(tt.in)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%q: %v, %v; want %v", tt.in, got, err, tt.want)
		}
	}
}

func TestListenOn(t *testing.T) {
	for _, six := range []bool{true, false} {
		a := &app{machine: machine{ipv6: func() bool { return six }}}
		both := func(port string) []string {
			if six {
				return []string{"[::1]:" + port, "127.0.0.1:" + port}
			}
			return []string{"127.0.0.1:" + port}
		}
		for _, tt := range []struct {
			flag string
			kept uint16
			want []string // nil: refused
		}{
			{"", 0, both("0")},
			{"", 5555, both("5555")},
			{"0", 5555, both("0")},
			{"7000", 5555, both("7000")},
			{"127.0.0.1:7000", 5555, []string{"127.0.0.1:7000"}},
			{"127.3.2.1:0", 0, []string{"127.3.2.1:0"}},
			{"[::1]:7000", 0, []string{"[::1]:7000"}},
			{"0.0.0.0:7000", 0, nil},
			{"[::]:7000", 0, nil},
			{":7000", 0, nil},
			{"192.0.2.1:7000", 0, nil},
			{"[::ffff:192.0.2.1]:7000", 0, nil},
			{"localhost:7000", 0, nil}, // a name is what somebody else says it is
			{"example.org:7000", 0, nil},
			{"127.0.0.1", 0, nil},
			{"::1", 0, nil},
			{"127.0.0.1:", 0, nil},
			{"127.0.0.1:http", 0, nil},
			{"127.0.0.1:65536", 0, nil},
			{"65536", 0, nil},
			{"-1", 0, nil},
			{"x", 0, nil},
		} {
			got, err := a.listenOn(tt.flag, tt.kept)
			if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
				t.Errorf("%q, IPv6 %v: %q, %v; want %q", tt.flag, six, got, err, tt.want)
			}
			if err != nil && errors.Unwrap(err) == nil && !strings.HasPrefix(err.Error(), "--listen ") {
				t.Errorf("%q: %v does not name the flag", tt.flag, err)
			}
		}
	}
}
