package audience_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
)

var regimes = map[string]audience.Regime{
	"E": audience.RegimeEcho, "T": audience.RegimeTextEcho, "N": audience.RegimeNoEcho,
}

// Two people meet, a third comes, the first leaves.
func TestMeet(t *testing.T) {
	for name, regime := range regimes {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, 1, regime, audience.SuiteClassic)
			if testing.Verbose() && name == "E" {
				h.log = t.Logf
			}
			alice, bob := h.arrive(3), h.arrive(3)
			d := h.until(10*time.Second, "two in a group", func() bool { return together(alice, bob) })
			t.Logf("two after %v", d)
			carol := h.arrive(3)
			d = h.until(15*time.Second, "three in a group", func() bool { return together(alice, bob, carol) })
			t.Logf("the third after %v", d)
			h.leave(alice, false)
			d = h.until(15*time.Second, "two are left", func() bool { return together(bob, carol) })
			t.Logf("removed after %v", d)
			h.run(time.Minute)
			if !together(bob, carol) {
				t.Fatalf("apart again:\n%s", h.state())
			}
			if len(bob.notices)+len(carol.notices) > 0 {
				t.Errorf("notices: %+v %+v", bob.notices, carol.notices)
			}
		})
	}
}

// Many come at the same moment.
func TestCrowd(t *testing.T) {
	for name, regime := range regimes {
		for _, n := range []int{5, 12, 25} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				h := newHall(t, 2, regime, audience.SuiteClassic)
				if n == 12 && name == "E" {
					h.log = t.Logf
				}
				var all []*person
				for range n {
					all = append(all, h.arrive(3))
				}
				d := h.until(90*time.Second, "all in one group", func() bool { return together(all...) })
				t.Logf("%d together after %v; sent %v", n, d, h.sent)
			})
		}
	}
}
