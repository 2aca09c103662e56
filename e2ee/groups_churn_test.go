package e2ee_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// "every voice packet sent through 100 membership changes is decrypted by every
// remaining member". Without an order of Commits (regime N) two can take effect at
// once; that is healed (Sotto protocol §6.3), and little may be lost meanwhile.
func TestGroupsVoiceChurn(t *testing.T) {
	for regime := range groupRegimes {
		t.Run(regime, func(t *testing.T) {
			changes := 100
			if testing.Short() {
				changes = 10
			}
			h, list := meet(t, regime, "alice", "bob", "carol")
			h.voice = func() time.Duration { return time.Duration(10+h.rng.IntN(120)) * time.Millisecond }
			speakers := list[:2]
			var sent, ticks [2]int
			quiet := map[string]int{}
			for i, g := range speakers {
				var tick func()
				tick = func() {
					ticks[i]++
					if err := g.say(fmt.Sprint(sent[i])); err == nil {
						sent[i]++
					} else {
						quiet[g.State().String()]++
					}
					h.at(20*time.Millisecond, tick)
				}
				h.at(0, tick)
			}
			var others []*guest
			for n := range changes {
				switch k := h.rng.IntN(3); {
				case len(others) < 3 || k == 0 && len(others) < 8:
					others = append(others, h.join(fmt.Sprint("guest", n), 3))
				default:
					i := h.rng.IntN(len(others))
					h.leave(others[i], k == 1)
					others = slices.Delete(others, i, i+1)
				}
				pause := time.Duration(200+h.rng.IntN(3000)) * time.Millisecond
				if regime == "N" {
					pause *= 3
				}
				h.run(pause)
			}
			h.until(2*time.Minute, "all together", func() bool { return together(append(others, list...)...) })
			n := sent
			h.run(time.Second)
			for _, g := range list {
				for i, q := range speakers {
					if g == q {
						continue
					}
					seen := map[string]bool{}
					for _, f := range g.heardOf(q.session) {
						seen[f] = true
					}
					lost := 0
					for k := range n[i] {
						if !seen[fmt.Sprint(k)] {
							lost++
						}
					}
					allowed := 0
					if regime == "N" {
						allowed = n[i] / 10
					}
					if lost > allowed {
						t.Errorf("%s lost %d of %d frames of %s: %v", g.name, lost, n[i], q.name, g.errs)
					}
				}
			}
			// Where Commits have an order nobody is silenced for a moment; in N a heal may.
			for i, q := range speakers {
				if spoken := sent[i] * 100 / ticks[i]; spoken < map[bool]int{false: 100, true: 95}[regime == "N"] {
					t.Errorf("%s could speak for %d%% of the time, else was %v", q.name, spoken, quiet)
				}
			}
			_, epoch := list[0].Epoch()
			t.Logf("%d changes, epoch %d, sent %v of %v", changes, epoch, sent, ticks)
			if n[0] < changes*10 {
				t.Errorf("only %d frames in %d changes", n[0], changes)
			}
		})
	}
}
