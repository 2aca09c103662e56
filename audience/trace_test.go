package audience_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// trace is one run of a hall under an adversarial scheduler: first it does to
// people what its seed says, then it is fair and everybody has to come together.
type trace struct {
	*hall
	name  uint64
	crowd int // so many at most
	evil  faults
	sum   hash.Hash // of all that happened
	what  []string  // the last steps, for a report

	worlds  map[uint32]int // fork: objects pass within one world only
	split   int            // number of worlds, 0 or 1: one
	kept    []keptObject   // to be replayed
	away    []*person      // may come back
	freed   []uint32       // session numbers that may be used again
	crashes *crashPlan
	aim     *crashPlan                       // somebody crashes at this one, the first time that it comes
	holders map[[32]byte]audience.EpochBegan // by context key: who may hold it
	broken  []string
	lingers int // groups with somebody who has gone clear
}

// faults are what a server does to objects, in percent.
type faults struct {
	drop, duplicate, late, truncate, lie, noEcho, lateEcho int
}

type keptObject struct {
	from uint32
	out  audience.Send
}

// step of a crash: where in the way of one object its sender ends.
type crashStep int

const (
	beforeSend crashStep = iota
	afterSend
	beforeEcho
	afterEcho
	crashSteps
)

type crashPlan struct {
	step crashStep
	kind envelope.Kind
}

// crashed counts which crash points the traces of a run came to.
var crashed = map[crashPlan]int{}

// crashesNow notes that somebody crashes as planned.
func (tr *trace) crashesNow(plan crashPlan) {
	crashed[plan]++
	if tr.aim != nil && *tr.aim == plan {
		tr.aim = nil
	}
	tr.crashes = nil
}

// suiteOf: real cryptography in 2 % of the traces.
func suiteOf(seed uint64, insecure mls.CipherSuite) mls.CipherSuite {
	switch seed % 100 {
	case 17:
		return audience.SuiteClassic
	case 67:
		return audience.SuiteHybrid
	}
	return insecure
}

func newTrace(t *testing.T, seed uint64) *trace {
	suite := suiteOf(seed, mls.InsecureSuite(t))
	list := []audience.Regime{audience.RegimeEcho, audience.RegimeEcho, audience.RegimeEcho, audience.RegimeTextEcho, audience.RegimeNoEcho}
	tr := &trace{
		hall: newHall(t, seed, list[seed%5], suite), name: seed, sum: sha256.New(), worlds: map[uint32]int{},
		holders: map[[32]byte]audience.EpochBegan{},
	}
	tr.crowd = 2 + tr.rng.IntN(15)
	tr.log = func(format string, args ...any) { fmt.Fprintf(tr.sum, format, args...) }
	if os.Getenv("SOTTO_TRACE_LOG") != "" {
		tr.log = func(format string, args ...any) {
			fmt.Fprintf(tr.sum, format, args...)
			fmt.Printf(format+"\n", args...)
		}
	}
	tr.meddle, tr.echo = tr.decide, tr.decideEcho
	tr.before = func(p *person, out audience.Send) { tr.crash(p, out, beforeSend) }
	tr.after = func(p *person, out audience.Send) {
		tr.crash(p, out, afterSend)
		if tr.chance(20) {
			tr.kept = append(tr.kept, keptObject{p.session, out})
			if len(tr.kept) > 64 {
				tr.kept = tr.kept[32:]
			}
		}
	}
	tr.epoch = tr.began
	return tr
}

func (tr *trace) chance(percent int) bool { return tr.rng.IntN(100) < percent }

// decide is what becomes of an object on its way to one receiver.
func (tr *trace) decide(from, to uint32, o envelope.Object) []time.Duration {
	if tr.split > 1 && tr.worlds[from]%tr.split != tr.worlds[to]%tr.split || tr.chance(tr.evil.drop) {
		return nil
	}
	d := tr.delay()
	if tr.chance(tr.evil.late) {
		// Past the stream: others come before it.
		if q := tr.people[to]; q != nil {
			tr.at(time.Duration(tr.rng.IntN(3000))*time.Millisecond, func() { tr.put(q, from, o, false) })
		}
		return nil
	}
	if tr.chance(tr.evil.duplicate) {
		return []time.Duration{d, d + tr.delay()}
	}
	if tr.chance(tr.evil.truncate) || tr.chance(tr.evil.lie) {
		if q := tr.people[to]; q != nil {
			if tr.chance(50) {
				o.Body = o.Body[:tr.rng.IntN(len(o.Body)+1)]
			} else if list := tr.sessions(); len(list) > 0 {
				from = list[tr.rng.IntN(len(list))]
			}
			tr.put(q, from, o, tr.chance(20))
		}
		return nil
	}
	return []time.Duration{d}
}

// put hands an object to q as the server likes.
func (tr *trace) put(q *person, from uint32, o envelope.Object, bulk bool) {
	if q.up {
		tr.deliver(q, tr.delay(), func() { q.handle(audience.Received{From: from, Object: o, Bulk: bulk}) })
	}
}

func (tr *trace) decideEcho(p *person, o envelope.Object) (time.Duration, bool) {
	plan := tr.crashes
	if plan != nil && plan.kind == o.Kind && (plan.step == beforeEcho || plan.step == afterEcho) {
		tr.crashesNow(*plan)
		d := tr.delay()
		if plan.step == afterEcho {
			d += 50 * time.Millisecond
		}
		tr.at(d-time.Millisecond, func() { tr.gone(p, true) })
	}
	if tr.chance(tr.evil.noEcho) {
		return 0, false
	}
	if tr.chance(tr.evil.lateEcho) {
		return time.Duration(tr.rng.IntN(2500)) * time.Millisecond, true
	}
	return tr.delay(), true
}

// crash ends p if that is planned for this step of this kind of object.
func (tr *trace) crash(p *person, out audience.Send, step crashStep) {
	plan := tr.crashes
	if plan == nil || plan.step != step || plan.kind != out.Object.Kind || !p.up {
		return
	}
	tr.crashesNow(*plan)
	if step == beforeSend {
		tr.gone(p, true)
		return
	}
	// What was sent arrives; the server notices the end some time later.
	p.up = false
	tr.at(100*time.Millisecond+time.Duration(tr.rng.IntN(5000))*time.Millisecond, func() { tr.gone(p, true) })
}

// gone takes p off the server.
func (tr *trace) gone(p *person, crash bool) {
	if tr.people[p.session] != p {
		return
	}
	tr.leave(p, crash)
	tr.freed = append(tr.freed, p.session)
	tr.away = append(tr.away, p)
}

// turnFair ends all that the server did.
func (tr *trace) turnFair() {
	tr.evil, tr.split, tr.crashes = faults{}, 0, nil
	for _, s := range tr.sessions() {
		if p := tr.people[s]; !p.up {
			tr.gone(p, true)
		}
	}
	tr.tell()
}

// fairTime is how long a fair server may need until all are together: beacons and
// turns are slower where nothing is echoed.
func (tr *trace) fairTime() time.Duration {
	if tr.regime == audience.RegimeNoEcho {
		return 3 * time.Minute
	}
	return 75 * time.Second
}

func (tr *trace) play(steps int) {
	for range 2 + tr.rng.IntN(tr.crowd) {
		tr.arrive(uint32(1 + tr.rng.IntN(3)))
	}
	for range steps {
		d := time.Duration(tr.rng.IntN(700)) * time.Millisecond
		if tr.aim != nil {
			tr.crashes = tr.aim
		}
		if tr.chance(5) {
			d += time.Duration(tr.rng.IntN(8000)) * time.Millisecond
		}
		tr.run(d)
		tr.step()
		tr.bounds()
		if len(tr.broken) > 0 {
			return
		}
	}
	tr.turnFair()
	tr.run(2 * period(tr.regime))
	tr.flagged()
	tr.run(tr.fairTime() - 2*period(tr.regime))
	tr.converged()
	if tr.lingers > 0 && !tr.failed() {
		tr.lingers = 0
		tr.run(3*tr.fairTime() + time.Minute)
		tr.converged()
		if tr.lingers > 0 {
			tr.fail("somebody clear is a member for good")
		}
	}
}

func (tr *trace) failed() bool { return len(tr.broken) > 0 }

func (tr *trace) report(t *testing.T) {
	t.Helper()
	if tr.failed() {
		t.Errorf("seed %d, regime %d: %v\nlast steps: %v\n%s", tr.name, tr.regime, tr.broken, tr.what[max(0, len(tr.what)-12):], tr.state())
	}
}

// traceCount is how many traces a run plays, and which is the first.
func traceCount() (first, count uint64) {
	count = 1000
	if testing.Short() {
		count = 60
	}
	if n, err := strconv.ParseUint(os.Getenv("SOTTO_TRACES"), 10, 32); err == nil {
		count = n
	}
	if n, err := strconv.ParseUint(os.Getenv("SOTTO_TRACES_FROM"), 10, 32); err == nil {
		first = n
	}
	return first, count
}

// TestTraces plays random histories of 200 steps each, and holds them to the
// invariants I1, I2, I7, I8, I9 and I12: see trace_check_test.go.
func TestTraces(t *testing.T) {
	first, count := traceCount()
	epochs, people, forks := 0, 0, 0
	for seed := first; seed < first+count; seed++ {
		ok := t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			tr := newTrace(t, seed)
			tr.play(200)
			tr.report(t)
			epochs += len(tr.holders)
			people += int(tr.nextID)
			forks += tr.forkCount()
		})
		if !ok && os.Getenv("SOTTO_TRACES_ALL") == "" {
			break
		}
	}
	t.Logf("%d traces from %d, %d connections, %d epochs, %d fork alarms, %d crash points of %d",
		count, first, people, epochs, forks, len(crashed), int(crashSteps)*len(crashKinds))
}

func (tr *trace) forkCount() int {
	n := 0
	for _, s := range tr.sessions() {
		n += int(tr.people[s].m.Stats().Forks)
	}
	return n
}

// TestSameSeedSameLog: all that happens is decided by the seed, byte for byte.
func TestSameSeedSameLog(t *testing.T) {
	for seed := range uint64(5) {
		var sums [][]byte
		for range 2 {
			t.Run("", func(t *testing.T) {
				tr := newTrace(t, 12+seed*11)
				tr.play(100)
				tr.report(t)
				sums = append(sums, tr.sum.Sum(nil))
			})
		}
		if !slices.Equal(sums[0], sums[1]) {
			t.Errorf("seed %d: two runs differ", 12+seed*11)
		}
	}
}

// TestCrashPoints: at each step of each object's way its sender crashes once, and the
// others go on.
func TestCrashPoints(t *testing.T) {
	most := 0
	for _, kind := range crashKinds {
		for step := range crashSteps {
			plan := crashPlan{step, kind}
			t.Run(fmt.Sprint(kind, " ", step), func(t *testing.T) {
				const tries = 100
				for try := range tries {
					seed := 10_000 + uint64(try)
					if kind == envelope.KindRef {
						seed = 10_067 + 100*uint64(try) // the hybrid suite: large Commits go beside the order
					}
					tr := newTrace(t, seed)
					tr.aim = &plan
					tr.play(60)
					tr.report(t)
					if tr.aim == nil || t.Failed() {
						most = max(most, try+1)
						return
					}
				}
				t.Errorf("%d traces did not come to it", tries)
			})
		}
	}
	t.Logf("%d traces for the rarest", most)
}
