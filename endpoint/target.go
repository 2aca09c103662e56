package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TargetError says why a whisper or shout is not sent. Its text is for the person.
type TargetError struct{ Reason string }

func (e *TargetError) Error() string { return e.Reason }

// target is one VoiceTarget of the own client, expanded to the people it names.
// The server only ever learns the expansion: explicit sessions.
type target struct {
	spec       *mumblepb.VoiceTarget
	refused    string
	sessions   []uint32
	registered []uint32
	asked      []uint32

	// With groups: the direct group of these people, and the token under which it
	// was asked for.
	group   envelope.GroupID
	token   uint64
	failed  []uint32  // people who were asked in vain
	missing []uint32  // those of them who did not answer
	tries   int       // without success, for these people
	again   time.Time // when to ask once more; zero: now, or there is a group

	owed   bool           // that it leaves in clear was not said yet
	cold   bool           // the server loses the next packet, see losesFirst
	kept   []voice.Packet // of a whisper whose keys are being prepared
	keptAt time.Time      // since when
	late   bool           // they took too long, which was said

	// Of a wide one, see survey.
	might    []uint32 // who could be in a group of the server's
	vain     []uint32 // who was asked in vain, sorted
	shouting bool     // the server knows its group, for it leaves in clear
}

// SetTarget takes a VoiceTarget of the own client. It is rewritten to explicit
// sessions and kept up to date as people come and go (Sotto protocol §3).
func (e *Endpoint) SetTarget(now time.Time, m *mumblepb.VoiceTarget) {
	id := m.GetId()
	if id == 0 || id >= LoopbackTarget {
		return // the server would ignore it
	}
	if len(m.GetTargets()) == 0 {
		delete(e.targets, id)
		e.emit(Send{&mumblepb.VoiceTarget{Id: proto.Uint32(id)}})
		return
	}
	t := &target{spec: m}
	if old, ok := e.targets[id]; ok {
		t.registered, t.group, t.asked, t.token = old.registered, old.group, old.asked, old.token
		t.tries, t.again, t.failed, t.vain = old.tries, old.again, old.failed, old.vain
		t.owed, t.missing = old.owed, old.missing
		if old.shouting {
			t.registered = nil // the server knows the group
		}
	}
	e.targets[id] = t
	e.refreshTarget(now, id, t)
	e.settle(now)
}

func (e *Endpoint) refreshTargets(now time.Time) {
	for id := uint32(1); id < LoopbackTarget; id++ {
		if t, ok := e.targets[id]; ok {
			e.refreshTarget(now, id, t)
		}
	}
}

func (e *Endpoint) refreshTarget(now time.Time, id uint32, t *target) {
	t.cold = e.losesFirst()
	before := t.sessions
	t.sessions, t.refused = e.expand(t.spec)
	if !slices.Equal(before, t.sessions) {
		t.kept = nil // spoken to others
	}
	if t.refused != "" {
		t.might = e.mightHear(t.spec)
	}
	if e.groups != nil {
		e.openTarget(now, id, t)
	} else {
		e.askTarget(now, t)
	}
	if t.refused != "" || slices.Equal(t.sessions, t.registered) {
		return
	}
	t.registered = slices.Clone(t.sessions)
	m := &mumblepb.VoiceTarget{Id: proto.Uint32(id)}
	if len(t.sessions) > 0 {
		m.Targets = []*mumblepb.VoiceTarget_Target{{Session: t.sessions}}
	}
	e.emit(Send{m})
}

// askTarget asks each new face for the secret, not at each change of who is where.
func (e *Endpoint) askTarget(now time.Time, t *target) {
	var ask []uint32
	for _, s := range t.sessions {
		if !e.hears(s) && !has(t.asked, s) {
			ask = append(ask, s)
		}
	}
	t.asked = slices.Clone(t.sessions)
	if len(ask) > 0 {
		e.typed.AskHolders(now, ask)
	}
}

// has looks a session up in a sorted list.
func has(sorted []uint32, s uint32) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

// expand names everybody who could hear a target, as Murmur would route it
// (src/murmur/Server.cpp, createWhisperTargetCacheFor), rights not subtracted.
func (e *Endpoint) expand(m *mumblepb.VoiceTarget) (sessions []uint32, refused string) {
	if slices.ContainsFunc(m.GetTargets(), func(t *mumblepb.VoiceTarget_Target) bool { return t.GetGroup() != "" }) {
		return nil, "a shout to a group cannot be encrypted, because nobody but the server knows who is in it"
	}
	return e.mightHear(m), ""
}

// mightHear is expand without regard to groups of the server's, whose members are
// among the people of the channels that are named.
func (e *Endpoint) mightHear(m *mumblepb.VoiceTarget) (sessions []uint32) {
	for _, t := range m.GetTargets() {
		sessions = append(sessions, t.GetSession()...)
		if t.ChannelId == nil {
			continue
		}
		channels := []uint32{t.GetChannelId()}
		if t.GetLinks() {
			channels = append(channels, e.mirror.Closure(t.GetChannelId())...)
		}
		if t.GetChildren() {
			channels = append(channels, e.mirror.Tree(t.GetChannelId())...)
		}
		sessions = append(sessions, e.mirror.Within(channels)...)
	}
	slices.Sort(sessions)
	sessions = slices.Compact(sessions)
	sessions = slices.DeleteFunc(sessions, func(s uint32) bool {
		_, known := e.mirror.User(s)
		return !known || s == e.mirror.Self()
	})
	return sessions
}

// mayWhisper reports why a packet for a target is not sent, nil if it may be.
func (e *Endpoint) mayWhisper(id uint8) error {
	t, ok := e.targets[uint32(id)]
	switch {
	case !ok:
		return &TargetError{"this whisper target is not set up"}
	case t.refused != "":
		return &TargetError{t.refused}
	case len(t.sessions) == 0:
		return &TargetError{"nobody is there to hear the whisper"}
	}
	if e.groups != nil {
		return e.whisperReady(t)
	}
	if !e.allHold(t.sessions) {
		return &TargetError{"the whisper is not sent: " + e.missing(t.sessions)}
	}
	return nil
}

// allHold reports whether every session has proved to hold the secret.
func (e *Endpoint) allHold(sessions []uint32) bool {
	for _, s := range sessions {
		if !e.hears(s) {
			return false
		}
	}
	return true
}

// missing words who of the sessions has not shown the secret.
func (e *Endpoint) missing(sessions []uint32) string {
	var names []string
	for _, s := range sessions {
		if !e.hears(s) {
			names = append(names, e.mirror.Label(s))
		}
	}
	const most = 3
	verb := " has"
	if len(names) > 1 {
		verb = " have"
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ") + verb + " not shown the secret"
}
