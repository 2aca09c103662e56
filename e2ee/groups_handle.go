package e2ee

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// Handle takes an input at the time now. What it makes of it comes from Next.
func (e *Groups) Handle(now time.Time, in Input) {
	switch in := in.(type) {
	case Connected:
		e.connected(now, in.Session)
	case Disconnected:
		e.disconnected(now)
	case World:
		e.setWorld(now, in)
	case LocalMove:
		e.localMove(now, in.Channel)
	case Regime:
		e.setRegime(now, in)
	case Received:
		e.aud.Handle(now, audience.Received{From: in.From, Object: in.Object, Bulk: in.Bulk})
	case Delivered:
		e.aud.Handle(now, audience.Delivered{Token: in.Token, Ordered: in.Ordered})
	case Failed:
		e.aud.Handle(now, audience.Failed{Token: in.Token})
	case HeardPresence:
		e.aud.Handle(now, audience.HeardPresence{From: in.From})
	case PluginContext:
		e.context = pluginContext{slices.Clone(in.Context), e.context.number + 1}
		if len(in.Context) == 0 {
			e.context.value = nil
		}
	case Lock:
		e.aud.Handle(now, audience.SetLocked{Locked: in.Locked})
	case Renew:
		e.aud.Handle(now, audience.Renew{})
	case OpenDirect:
		e.openDirect(now, in)
	case Wait:
		e.tryAgain(now)
		e.step(now, EventWait, "you wait")
	case UserClear:
		e.step(now, EventUserClear, "you speak in clear")
	case UserProtect:
		e.tryAgain(now)
		e.step(now, EventUserProtect, "you want protection")
	case UserLeave:
		e.step(now, EventUserLeave, "you leave")
	case nil:
		e.aud.Handle(now, nil)
	}
	e.after(now)
	e.sayGaps(now)
	e.media.expire(now)
}

// after lets everything come about that an input has made possible.
func (e *Groups) after(now time.Time) {
	e.drain(now)
	e.settle(now)
	e.drain(now)
}

// Next returns the next output, or false when there is none.
func (e *Groups) Next() (Output, bool) {
	if len(e.queue) == 0 {
		return nil, false
	}
	out := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	return out, true
}

func (e *Groups) emit(out Output) { e.queue = append(e.queue, out) }

// Deadline returns when Handle is to be called again even if nothing happens,
// with a nil Input. Zero: not at all.
func (e *Groups) Deadline() time.Time {
	at := e.aud.Deadline()
	for _, t := range []time.Time{e.watching.deadline(e), e.media.deadline(), e.gapDeadline()} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// reset forgets the connection.
func (e *Groups) reset() {
	e.session, e.world, e.placed, e.regime = 0, World{}, false, Regime{}
	e.peers = map[uint32]*groupPeer{}
	e.groupsOf = map[envelope.GroupID]*roster{}
	e.home = envelope.GroupID{}
	e.media.erase()
	e.watching = watching{}
	e.missing = map[author]*gap{}
	e.names = map[uint32]string{}
}

// connected begins a connection. The first of a run is the user's own act. A later
// one may be made because the server cut the one before, so it counts as one only
// if nothing would be gained by that: no question stood open, no protection had
// been asked for or reached, the server had moved nobody, and it puts us where we
// were (§11, see seat).
func (e *Groups) connected(now time.Time, session uint32) {
	if e.session != 0 {
		e.disconnected(now)
	}
	e.reset()
	e.session = session
	e.watching.ownArrival = !e.ran || e.free
	e.ran = true
	e.aud.Handle(now, audience.Connected{Session: session})
}

func (e *Groups) disconnected(now time.Time) {
	if e.session == 0 {
		return
	}
	e.free = e.watching.ownArrival
	if e.placed {
		e.free = e.gate.Memory() == MemoryFree
		e.seat = e.world.seat()
	}
	e.aud.Handle(now, audience.Disconnected{})
	e.drain(now)
	e.reset()
	e.step(now, EventLost, "the connection is lost")
}

func (e *Groups) setRegime(now time.Time, r Regime) {
	e.regime = r
	if !r.Known {
		return
	}
	regime := audience.RegimeNoEcho
	switch {
	case r.TextEcho:
		regime = audience.RegimeTextEcho
	case r.Echo:
		regime = audience.RegimeEcho
	}
	e.watching.findFrom(now)
	e.aud.Handle(now, regime)
}

// openDirect asks for a group of exactly these people.
func (e *Groups) openDirect(now time.Time, in OpenDirect) {
	var missing []uint32
	for _, s := range in.Sessions {
		if e.peers[s] == nil {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		e.emit(DirectFailed{in.Token, missing, true}) // and no smaller group in their place
		return
	}
	e.askAgain()
	e.aud.Handle(now, audience.OpenDirect{Token: in.Token, Sessions: in.Sessions})
}

// tryAgain: who has no group here asks those again that a secret has kept us out of.
func (e *Groups) tryAgain(now time.Time) {
	w := &e.watching
	if w.otherSecret && w.want && e.home.IsZero() {
		w.otherSecret = false
		e.aud.Handle(now, audience.Join{Want: false})
		e.aud.Handle(now, audience.Join{Want: true})
	}
}
