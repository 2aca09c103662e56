package audience_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/mls"
)

// People with a typed secret, with another, and with none are in one channel: those
// of a kind come together, whoever was there first, and stay, without a Commit more for
// those who are not (§10.2).
func TestApart(t *testing.T) {
	const none = ""
	for _, regime := range []audience.Regime{audience.RegimeEcho, audience.RegimeNoEcho} {
		for _, c := range []struct {
			name  string
			kinds []string // in the order in which they come
			pause time.Duration
		}{
			{"three without, then two with", []string{none, none, none, "ours", "ours"}, 30 * time.Second},
			{"two with, then three without", []string{"ours", "ours", none, none, none}, 30 * time.Second},
			{"in turn", []string{none, "ours", none, "ours", none, "ours"}, 30 * time.Second},
			{"two secrets", []string{"ours", "theirs", "ours", "theirs"}, 30 * time.Second},
			{"all at once", []string{none, "ours", "theirs", none, "ours", "theirs", none, "ours"}, 0},
		} {
			t.Run(fmt.Sprintf("%v/%s", regime, c.name), func(t *testing.T) {
				for seed := range uint64(8) {
					apartFrom(t, seed, regime, c.kinds, c.pause)
				}
			})
		}
	}
}

func apartFrom(t *testing.T, seed uint64, regime audience.Regime, kinds []string, pause time.Duration) {
	h := newHall(t, 700+seed, regime, mls.InsecureSuite(t))
	of := map[string][]*person{}
	for _, kind := range kinds {
		p := h.newPerson(3)
		if kind != "" {
			p.secrets = [][]byte{[]byte(kind)}
		}
		h.connect(p)
		of[kind] = append(of[kind], p)
		h.run(pause)
	}
	all := slices.Concat(of[""], of["ours"], of["theirs"])
	settled := func() bool {
		for _, list := range of {
			if !together(list...) {
				return false
			}
		}
		return true
	}
	took := h.until(4*time.Minute, "those of a kind together, and nobody else", settled)
	t.Logf("seed %d: after %v", seed, took)
	h.run(2 * time.Minute) // who was added in vain is removed
	if !settled() {
		t.Errorf("seed %d: they do not stay\n%s", seed, h.state())
	}
	before := map[*person]uint64{}
	for _, p := range all {
		e, _ := p.home()
		before[p] = e.Epoch
		if n := p.count(audience.NoticeSecret); n > 1 {
			t.Errorf("seed %d: %d is told %d times of another secret", seed, p.session, n)
		}
	}
	h.run(5 * time.Minute) // no own Update is due yet
	for _, p := range all {
		if e, _ := p.home(); e.Epoch != before[p] {
			t.Errorf("seed %d: %d is in epoch %d after %d, though nobody came or went", seed, p.session, e.Epoch, before[p])
		}
	}
	if !settled() {
		t.Errorf("seed %d: not together at the end\n%s", seed, h.state())
	}
}
