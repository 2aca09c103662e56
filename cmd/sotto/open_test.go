package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestVisit: what is said when, of a client that was opened.
func TestVisit(t *testing.T) {
	type step struct {
		at                  time.Duration
		connections, logins uint64
	}
	for _, tt := range []struct {
		name   string
		steps  []step
		silent bool          // DNS
		ended  error         // of the program; nil: it goes on
		want   []string      // "SECONDS CODE"
		over   time.Duration // when it has all been said
	}{
		{"comes", []step{{2 * time.Second, 1, 1}}, false, nil, nil, 2 * time.Second},
		{"comes, and asks about the certificate", []step{{2 * time.Second, 1, 0}, {6 * time.Second, 2, 1}}, false, nil, nil, 6 * time.Second},
		{"stays away", nil, false, nil, []string{"5 absent"}, 5 * time.Second},
		{"waits for DNS", []step{{12 * time.Second, 1, 1}}, true, nil, []string{"5 dns"}, 12 * time.Second},
		{"stays away, and DNS is dead", nil, true, nil, []string{"5 dns", "25 absent"}, 25 * time.Second},
		{"is told No", []step{{2 * time.Second, 1, 0}}, false, nil, []string{"7 certificate"}, 7 * time.Second},
		{"cannot start", nil, false, errors.New("exit status 3"), []string{"0 open"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var mu sync.Mutex
				var said []string
				ended := make(chan error, 1)
				if tt.ended != nil {
					ended <- tt.ended
				}
				v := &visit{
					came: func() (uint64, uint64) {
						var now step
						for _, s := range tt.steps {
							if time.Since(begin) >= s.at {
								now = s
							}
						}
						return now.connections, now.logins
					},
					ended: ended,
					silent: func() bool {
						if tt.silent {
							time.Sleep(recordWait)
						}
						return tt.silent
					},
					tell: func(code, text string) {
						mu.Lock()
						defer mu.Unlock()
						said = append(said, fmt.Sprintf("%d %s", int(time.Since(begin).Seconds()), code))
						if code != "dns" && code != "open" && !strings.Contains(text, "port 5000") {
							t.Errorf("%s: %s does not say where to go", code, text)
						}
					},
					at: "address ::1, port 5000",
				}
				v.watch(t.Context())
				if !slices.Equal(said, tt.want) {
					t.Errorf("said %q, want %q", said, tt.want)
				}
				if took := time.Since(begin); took < tt.over || took > tt.over+2*visitLook && !tt.silent && tt.ended == nil {
					t.Errorf("over after %v, want %v", took, tt.over)
				}
			})
		})
	}
}

// TestVisitEnds: with the command the visit ends, and says nothing more.
func TestVisitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		v := &visit{
			came: func() (uint64, uint64) { return 0, 0 }, silent: func() bool { return false },
			tell: func(code, text string) { t.Errorf("said %s: %s", code, text) },
		}
		time.AfterFunc(time.Second, cancel)
		v.watch(ctx)
	})
}

func TestOpenFlags(t *testing.T) {
	for _, tt := range []struct {
		f       openFlags
		servers int
		ok      bool
		words   string
	}{
		{openFlags{}, 3, true, ""},
		{openFlags{open: true}, 1, true, "--open"},
		{openFlags{open: true, name: "al ice", channel: "a/b"}, 1, true, "--open --name 'al ice' --channel a/b"},
		{openFlags{open: true}, 2, false, "--open"},
		{openFlags{name: "x"}, 1, false, ""},
		{openFlags{channel: "x"}, 1, false, ""},
	} {
		if err := tt.f.check(tt.servers); (err == nil) != tt.ok {
			t.Errorf("%+v for %d servers: %v", tt.f, tt.servers, err)
		}
		if got := strings.Join(tt.f.words(), " "); got != tt.words {
			t.Errorf("%+v: %s, want %s", tt.f, got, tt.words)
		}
	}
}

// TestFollow: a mumble:// link in place of the server.
func TestFollow(t *testing.T) {
	for _, tt := range []struct {
		link   string
		f      openFlags // before
		target string
		want   openFlags
	}{
		{"mumble://voice.example.org", openFlags{}, "voice.example.org", openFlags{open: true}},
		{"mumble://al%20ice:p%40ss@voice.example.org:5000/Lobby/Red%20team?version=1.5.0&title=Our%20place", openFlags{}, "voice.example.org:5000",
			openFlags{open: true, name: "al ice", channel: "Lobby/Red team", password: "p@ss", title: "Our place"}},
		{"mumble://alice:secret@[::2]/Lobby/", openFlags{name: "bob", channel: "Attic"}, "[::2]", openFlags{open: true, name: "bob", channel: "Attic"}},
		{"mumble://alice:secret@[::2]:7/", openFlags{name: "alice"}, "[::2]:7", openFlags{open: true, name: "alice", password: "secret"}},
	} {
		f := tt.f
		target, err := f.follow(tt.link)
		if err != nil || target != tt.target || f != tt.want {
			t.Errorf("%s: %q, %+v, %v", tt.link, target, f, err)
		}
	}
	for _, link := range []string{
		"mumble://", "mumble:voice.example.org", "mumble://host:0", "mumble://host:70000", "mumble://a:hunter2@ho st", "mumble://a:hunter2@host:x", "mumble://%zz",
	} {
		if target, err := new(openFlags).follow(link); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, %v", link, target, err)
		}
	}
}
