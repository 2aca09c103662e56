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
