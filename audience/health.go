package audience

import (
	"slices"
	"time"
)

// tellHealth says how a group is when that has changed.
func (m *Machine) tellHealth(now time.Time, g *group) {
	if m.groups[g.id] != g {
		return
	}
	h := Health{Group: g.id, Place: g.index(), Fork: len(g.heal.views) > 0, Groups: 1}
	if g.place != nil {
		h.Groups += len(g.place.foreign)
	}
	for _, l := range g.sorted() {
		if l.ext.Server != m.cfg.Server {
			h.OtherServer = append(h.OtherServer, l.session())
		}
		if l.index == g.own {
			continue
		}
		if !l.shown {
			h.Claimed = append(h.Claimed, l.session())
		}
		switch {
		case l.leaving || !l.gone.IsZero():
			if m.reached(now, l.gone.Add(overdueAfter)) {
				h.Overdue = append(h.Overdue, l.session())
			} else {
				h.Leaving = append(h.Leaving, l.session())
			}
		case l.heard.IsZero() || m.reached(now, l.heard.Add(m.window())):
			h.Unconfirmed = append(h.Unconfirmed, l.session())
		}
	}
	if !h.equal(g.health) {
		g.health = h
		m.emit(h)
	}
	m.warnRenewal(now, g)
}

func (h Health) equal(o Health) bool {
	return h.Group == o.Group && h.Place == o.Place && h.Fork == o.Fork && h.Groups == o.Groups &&
		slices.Equal(h.Unconfirmed, o.Unconfirmed) && slices.Equal(h.Claimed, o.Claimed) && slices.Equal(h.Overdue, o.Overdue) &&
		slices.Equal(h.Leaving, o.Leaving) && slices.Equal(h.OtherServer, o.OtherServer)
}

// warnRenewal: an own Update that has not taken effect for three intervals may be
// kept back on purpose, to keep a stolen key useful (§6.1).
func (m *Machine) warnRenewal(now time.Time, g *group) {
	if g.unrefreshed || len(g.leaves) == 1 {
		return
	}
	interval := max(ownUpdateMin, time.Duration(len(g.leaves))*time.Minute)
	if m.reached(now, latest(g.renewed).Add(3*interval)) {
		g.unrefreshed = true
		m.emit(Notice{Code: NoticeNoRefresh, Place: g.index()})
	}
}
