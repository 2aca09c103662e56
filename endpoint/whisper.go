package endpoint

import (
	"errors"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// A whisper begins before its keys are there: VoiceTarget and the first frame come
// together. So much of it is kept and follows when they are.
const (
	keepWhisper  = 600 * time.Millisecond
	maxKept      = 64 // frames of 10 ms, and a few
	preparing    = "the whisper is not sent: its keys are being prepared"
	securingLine = "The beginning of a whisper was not sent: its keys took too long."
)

// ErrKept means that a packet of a whisper follows as Voice: at once, or when its
// keys are ready; or a Notice says that it was not sent.
var ErrKept = errors.New("endpoint: the packet of the whisper follows")

// losesFirst reports whether the server loses the first packet to a target after
// anything has changed that could change who hears it, as Murmur 1.5 does.
func (e *Endpoint) losesFirst() bool {
	v := control.Version(e.version)
	return v >= control.MakeVersion(1, 5, 0) && v < control.MakeVersion(1, 6, 0)
}

// warm sends a packet without sound to a target, for the server to lose, and then in.
func (e *Endpoint) warm(now time.Time, in *voice.Packet) error {
	var out voice.Packet
	first := voice.Packet{Codec: voice.Opus, Target: in.Target, FrameNumber: in.FrameNumber}
	for _, p := range []*voice.Packet{&first, in} {
		if err := e.Protect(nil, now, p, &out); err != nil {
			return err
		}
		e.emit(Voice{out})
	}
	return ErrKept
}

// keep keeps a packet of a whisper whose keys are being prepared. It reports false
// once it has waited too long.
func (e *Endpoint) keep(now time.Time, t *target, in *voice.Packet) bool {
	if t.wide() || t.token == 0 || t.late {
		return false
	}
	if len(t.kept) == 0 {
		t.keptAt = now
	}
	if len(t.kept) >= maxKept || now.Sub(t.keptAt) >= keepWhisper {
		e.giveUp(t)
		return false
	}
	p := *in
	p.Data = slices.Clone(in.Data)
	t.kept = append(t.kept, p)
	return true
}

func (e *Endpoint) giveUp(t *target) {
	t.kept, t.late = nil, true
	e.notice(NoticeWhisper, securingLine)
}

// expireKept drops what has waited too long, and says so.
func (e *Endpoint) expireKept(now time.Time) {
	for id := uint32(1); id < LoopbackTarget; id++ {
		if t, ok := e.targets[id]; ok && len(t.kept) > 0 && now.Sub(t.keptAt) >= keepWhisper {
			e.giveUp(t)
		}
	}
}

func (e *Endpoint) keptUntil() (due time.Time) {
	for _, t := range e.targets {
		if len(t.kept) > 0 {
			due = earlier(due, t.keptAt.Add(keepWhisper))
		}
	}
	return due
}

// playOn sends what was kept, to those it was spoken to: when they change it is
// dropped.
func (e *Endpoint) playOn(now time.Time, t *target) {
	kept := t.kept
	t.kept, t.late = nil, false
	if now.Sub(t.keptAt) >= keepWhisper && len(kept) > 0 {
		e.giveUp(t)
		return
	}
	for _, p := range kept {
		var out voice.Packet
		if e.Protect(nil, now, &p, &out) == nil {
			e.emit(Voice{out})
		}
	}
}

// openTarget asks for the direct group of the people whom a whisper is for.
func (e *Endpoint) openTarget(now time.Time, id uint32, t *target) {
	if t.wide() {
		t.group, t.kept = envelope.GroupID{}, nil // of those who were meant before
		e.survey(now, id, t)
		return
	}
	if slices.Equal(t.asked, t.sessions) || len(t.sessions) == 0 {
		return
	}
	if now.Before(t.again) {
		if slices.Equal(t.failed, t.sessions) {
			return
		}
		t.again, t.tries = time.Time{}, 0 // others were asked in vain
	}
	t.group, t.token, t.asked, t.kept = envelope.GroupID{}, 0, nil, nil
	if missing := e.strangers(t.sessions); len(missing) > 0 {
		e.inVain(t, t.sessions, missing)
		return
	}
	t.asked = slices.Clone(t.sessions)
	t.token = e.openDirect(now, t.sessions, direct{target: id})
}

// targetPatience is how long to wait before a group for a whisper is asked for again
// that did not come about: doubled each time, up to targetPatienceMost. Where objects
// are texts an answer can come later than somebody waits for it.
const (
	targetPatience     = 3 * time.Second
	targetPatienceMost = time.Minute
)

// retryTargets asks again for the groups that are due.
func (e *Endpoint) retryTargets(now time.Time) {
	for id := uint32(1); id < LoopbackTarget; id++ {
		if t, ok := e.targets[id]; ok && !t.again.IsZero() && !now.Before(t.again) {
			t.again = time.Time{}
			e.openTarget(now, id, t)
		}
	}
}

// targetsDue is when retryTargets has something to do.
func (e *Endpoint) targetsDue() (due time.Time) {
	for _, t := range e.targets {
		due = earlier(due, t.again)
	}
	return due
}

// whisperReady reports why a whisper in a direct group is not sent, nil if it may
// be.
func (e *Endpoint) whisperReady(t *target) error {
	switch {
	case t.ready():
		return nil
	case t.wide():
		return &TargetError{"the whisper is not sent: " + manyReaders}
	case t.token != 0:
		return &TargetError{preparing}
	}
	return &TargetError{"the whisper is not sent: " + e.withoutSotto(t.sessions)}
}

// inVain notes that people were asked for a whisper and did not answer. Where it
// leaves in clear that is said, now or when it first does.
func (e *Endpoint) inVain(t *target, asked, missing []uint32) {
	t.owed = t.owed || !slices.Equal(t.failed, asked)
	t.failed, t.missing = slices.Clone(asked), slices.Clone(missing)
	if e.groups.MayWhisperClear(asked) {
		e.sayClear(t)
	}
}

// sayClear says once that a whisper leaves in clear.
func (e *Endpoint) sayClear(t *target) {
	if !t.owed {
		return
	}
	t.owed = false
	why := "nobody of them has Sotto"
	if len(t.missing) > 0 {
		why = e.withoutSotto(t.missing)
	}
	e.notice(NoticeWhisper, "What you whisper to "+e.whom(t.failed)+" leaves in clear: "+why+".")
}
