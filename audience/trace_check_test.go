package audience_test

import (
	"fmt"
	"slices"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

func (tr *trace) fail(format string, args ...any) {
	tr.broken = append(tr.broken, fmt.Sprintf(format, args...))
}

// began checks what each epoch must be, whoever lies.
//
// I1: whoever gets the keys of an epoch is one of its members, by session and
// identity: nobody removed, and nobody who was never added.
// I2: the same keys mean the same members, with the same keys of their voices.
func (tr *trace) began(p *person, e audience.EpochBegan) {
	own := slices.IndexFunc(e.Leaves, func(l audience.Leaf) bool { return l.Index == e.Own })
	if own < 0 || e.Leaves[own].Session != p.session || e.Leaves[own].Who.Identity != p.identity || e.Leaves[own].Who.Device != p.device {
		tr.fail("%s holds keys of %x/%d where it is no member", p.name, e.Group[:4], e.Epoch)
	}
	seen, keys := map[uint32]bool{}, map[[32]byte]bool{e.Context: true, e.Code: true}
	for _, l := range e.Leaves {
		if keys[l.BaseKey] {
			tr.fail("%x/%d uses a key twice", e.Group[:4], e.Epoch)
		}
		keys[l.BaseKey] = true
		if seen[l.Session] {
			tr.fail("%x/%d has session %d twice", e.Group[:4], e.Epoch, l.Session)
		}
		seen[l.Session] = true
	}
	other, ok := tr.holders[e.Context]
	if !ok {
		tr.holders[e.Context] = e
		return
	}
	if other.Group != e.Group || other.Epoch != e.Epoch || !slices.Equal(other.Leaves, e.Leaves) || other.Code != e.Code {
		tr.fail("the same keys, other members: %x/%d and %x/%d", e.Group[:4], e.Epoch, other.Group[:4], other.Epoch)
	}
}

// bounds: what a machine keeps has a limit, whatever comes (I9).
func (tr *trace) bounds() {
	for _, s := range tr.sessions() {
		p := tr.people[s]
		for what, n := range p.m.Sizes() {
			if n > sizeLimits[what] {
				tr.fail("%s keeps %d %s", p.name, n, what)
			}
		}
	}
}

var sizeLimits = map[string]int{
	"outputs": 0, "offers": 64, "groups": 40, "tokens": 200, "openings": 8, "bodies": 4, "body bytes": 512 << 10,
	"statements": 1024, "waiting": 8, "answers": 8, "log": 8, "log bytes": 256 << 10, "digests": 9, "former": 200,
	"foreign": 16, "branches": 128, "ahead": 128, "reports": 8, "reporters": 128, "seqs": 40,
}

// converged: after a fair time all who are here and want to be are in one group
// and epoch, in each audience (I8), and nobody else is (I1).
func (tr *trace) converged() {
	audiences := map[string][]*person{}
	for _, s := range tr.sessions() {
		p := tr.people[s]
		if !p.want {
			if _, ok := p.home(); ok {
				tr.fail("%s is a member and wants to be clear", p.name)
			}
			continue
		}
		key := fmt.Sprint(tr.closure(p.channel))
		audiences[key] = append(audiences[key], p)
	}
	for key, list := range audiences {
		tr.unite(key, list)
	}
}

func (tr *trace) unite(key string, list []*person) {
	// People of a channel, and who listens to it from elsewhere.
	want := map[uint32]envelope.Role{}
	for _, p := range list {
		want[p.session] = envelope.RoleSpeaker
	}
	closure := tr.closure(list[0].channel)
	hear := list
	for _, s := range tr.sessions() {
		q := tr.people[s]
		if q.want && !slices.Contains(closure, q.channel) && slices.ContainsFunc(q.listens, func(c uint32) bool { return slices.Contains(closure, c) }) {
			want[s] = envelope.RoleListener
			hear = append(hear[:len(hear):len(hear)], q)
		}
	}
	if len(want) < 2 {
		return
	}
	first, ok := list[0].home()
	for _, p := range list {
		e, in := p.home()
		if !ok || !in || e.Group != first.Group || e.Epoch != first.Epoch || e.Context != first.Context {
			if !excused(list) {
				tr.fail("%s: %s is not with %s", key, p.name, list[0].name)
			}
			return
		}
	}
	// Who listens has the keys as well: it hears.
	for _, s := range tr.sessions() {
		q := tr.people[s]
		if e := q.groups[first.Group]; want[s] == envelope.RoleListener && e.Context != first.Context && !excused(append(list, q)) {
			tr.fail("%s: %s listens and is in epoch %d of %x, not in %d", key, q.name, e.Epoch, first.Group[:4], first.Epoch)
		}
	}
	for _, l := range first.Leaves {
		if r, here := want[l.Session]; !here || r != l.Role {
			if p := tr.people[l.Session]; p != nil && !p.want {
				tr.lingers++ // what it said when it went clear got lost: see silentAt
				return
			}
			tr.fail("%s: session %d is a member and should not be", key, l.Session)
		}
	}
	if len(first.Leaves) != len(want) && !excused(hear) {
		tr.fail("%s: %d members of %d", key, len(first.Leaves), len(want))
	}
}

// excused: three moves in ten minutes are enough; then two groups stay (§4).
func excused(list []*person) bool {
	return slices.ContainsFunc(list, func(p *person) bool {
		return slices.ContainsFunc(p.notices, func(n audience.Notice) bool { return n.Code == audience.NoticeTwoGroups })
	})
}

// flagged: who is shown another history than somebody here knows it within two
// beacon periods after objects pass between them again (I7).
func (tr *trace) flagged() {
	var all []*person
	for _, s := range tr.sessions() {
		all = append(all, tr.people[s])
	}
	for _, a := range all {
		for _, b := range all {
			if parted([]*person{a, b}) && slices.Equal(tr.closure(a.channel), tr.closure(b.channel)) &&
				!a.homeHealth().Fork && !b.homeHealth().Fork {
				tr.fail("%s and %s do not know that they are forked", a.name, b.name)
			}
		}
	}
}
