package audience_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// crashKinds are the objects at which people crash.
var crashKinds = []envelope.Kind{
	envelope.KindHello, envelope.KindMLSMessage, envelope.KindWelcome, envelope.KindRef, envelope.KindWant, envelope.KindBeacon,
	envelope.KindKeyPackageRequest, envelope.KindKeyPackageReply, envelope.KindReport, envelope.KindPresence,
}

// step does one thing to people or to the server.
func (tr *trace) step() {
	list := slices.DeleteFunc(tr.sessions(), func(s uint32) bool { return !tr.people[s].up })
	if len(list) == 0 {
		tr.newcomer()
		return
	}
	p := tr.people[list[tr.rng.IntN(len(list))]]
	said := ""
	switch n := tr.rng.IntN(100); {
	case n < 14:
		said = "newcomer"
		tr.newcomer()
	case n < 20:
		said = fmt.Sprint("leave ", p.session)
		tr.gone(p, false)
	case n < 26:
		said = fmt.Sprint("crash ", p.session)
		p.up = false
		tr.at(time.Duration(tr.rng.IntN(8000))*time.Millisecond, func() { tr.gone(p, true) })
	case n < 36:
		tr.crashes = &crashPlan{crashStep(tr.rng.IntN(int(crashSteps))), crashKinds[tr.rng.IntN(len(crashKinds))]}
		said = fmt.Sprint("plan ", *tr.crashes)
	case n < 41:
		said = fmt.Sprint("reconnect ", p.session)
		tr.gone(p, tr.chance(50))
		tr.back(p)
	case n < 51:
		said = fmt.Sprint("move ", p.session)
		tr.move(p, uint32(1+tr.rng.IntN(3)))
	case n < 55:
		said = "link"
		tr.link()
	case n < 59:
		said = fmt.Sprint("listen ", p.session)
		tr.listen(p)
	case n < 63:
		said = "mute" // the server tells the same world again: nothing changes
		tr.tell()
	case n < 67:
		said = fmt.Sprint("want ", p.session, !p.want)
		p.want = !p.want
		p.handle(audience.Join{Want: p.want})
	case n < 70:
		said = fmt.Sprint("direct ", p.session)
		tr.direct(p, list)
	case n < 72:
		said = fmt.Sprint("sends ", p.session)
		tr.say(p)
	case n < 80:
		tr.evil = tr.newFaults()
		said = fmt.Sprintf("faults %+v", tr.evil)
	case n < 86:
		tr.split = 1 + tr.rng.IntN(3)
		for _, s := range tr.sessions() {
			tr.worlds[s] = tr.rng.IntN(3)
		}
		said = fmt.Sprint("worlds ", tr.split)
	case n < 94 && len(tr.kept) > 0:
		k := tr.kept[tr.rng.IntN(len(tr.kept))]
		said = fmt.Sprint("replay ", k.out.Object.Kind, " of ", k.from, " to ", p.session)
		tr.put(p, k.from, k.out.Object, k.out.Bulk)
	default:
		tr.evil, tr.split = faults{}, 0
		said = "fair"
	}
	tr.what = append(tr.what, fmt.Sprint(tr.now.Sub(start).Round(time.Millisecond), " ", said))
	tr.log("STEP %s", said)
}

func (tr *trace) newFaults() faults {
	some := func(n int) int {
		if tr.chance(50) {
			return 0
		}
		return tr.rng.IntN(n)
	}
	return faults{
		drop: some(60), duplicate: some(30), late: some(40), truncate: some(10), lie: some(10), noEcho: some(30), lateEcho: some(40),
	}
}

// newcomer brings somebody new or back, sometimes with a session number that was
// somebody else's.
func (tr *trace) newcomer() {
	if len(tr.people) >= tr.crowd {
		return
	}
	if len(tr.away) > 0 && tr.chance(50) {
		tr.back(tr.away[tr.rng.IntN(len(tr.away))])
		return
	}
	number := tr.nextID
	tr.useNumber()
	p := tr.arrive(uint32(1 + tr.rng.IntN(3)))
	if p.session != number {
		tr.nextID = number
	}
	tr.worlds[p.session] = tr.rng.IntN(3)
}

// useNumber lets the server give a session number a second time.
func (tr *trace) useNumber() {
	if len(tr.freed) > 0 && tr.chance(30) {
		tr.nextID, tr.freed = tr.freed[0], tr.freed[1:]
	}
}

func (tr *trace) back(p *person) {
	i := slices.Index(tr.away, p)
	if i < 0 || len(tr.people) >= tr.crowd {
		return
	}
	tr.away = slices.Delete(tr.away, i, i+1)
	number := tr.nextID
	tr.useNumber()
	tr.connect(p)
	if p.session != number {
		tr.nextID = number
	}
	tr.worlds[p.session] = tr.rng.IntN(3)
}

func (tr *trace) link() {
	l := [2]uint32{1, uint32(2 + tr.rng.IntN(2))}
	if i := slices.Index(tr.links, l); i >= 0 {
		tr.links = slices.Delete(tr.links, i, i+1)
	} else {
		tr.links = append(tr.links, l)
	}
	tr.tell()
}

func (tr *trace) listen(p *person) {
	c := uint32(1 + tr.rng.IntN(3))
	if i := slices.Index(p.listens, c); i >= 0 {
		p.listens = slices.Delete(p.listens, i, i+1)
	} else {
		p.listens = append(p.listens, c)
	}
	tr.tell()
}

func (tr *trace) direct(p *person, list []uint32) {
	var to []uint32
	for _, s := range list {
		if s != p.session && tr.chance(40) {
			to = append(to, s)
		}
	}
	if len(to) > 0 {
		p.handle(audience.OpenDirect{Token: uint64(tr.rng.IntN(1000)), Sessions: to})
	}
}

// say sends application data to p's channel.
func (tr *trace) say(p *person) {
	if e, ok := p.home(); ok {
		p.say(e.Group, "hello")
	}
}
