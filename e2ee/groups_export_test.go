package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// SpeakOnly puts a Groups where it speaks protected as session own, with these
// people around; its epochs come from BeginEpoch instead of from an agreement.
func (e *Groups) SpeakOnly(own uint32, people ...uint32) {
	e.reset()
	e.session, e.placed, e.gate = own, true, Gate{state: StatePriv, memory: MemoryKept}
	for _, s := range people {
		e.peers[s] = &groupPeer{Peer: Peer{Session: s, Hears: true}, sotto: true}
	}
}

// BeginEpoch is an epoch that the agreement says has begun; LoseGroup that a group
// is gone.
func (e *Groups) BeginEpoch(now time.Time, b audience.EpochBegan) {
	e.began(now, b)
	e.queue = nil
}

// LoseGroup is the end of a group.
func (e *Groups) LoseGroup(now time.Time, id envelope.GroupID) {
	e.lostGroup(now, audience.Lost{Group: id, Reason: audience.LostLeft})
	e.queue = nil
}

// SealIn is SealVoice for any group, whatever the gate says.
func (e *Groups) SealIn(dst []byte, now time.Time, limit int, f *Frame, id envelope.GroupID) ([]byte, error) {
	return e.seal(dst, now, limit, f, e.media.groups[id])
}

// TakeText is what becomes of application data that a member wrote.
func (e *Groups) TakeText(now time.Time, a audience.Application) { e.application(now, a) }

// Began is BeginEpoch that keeps what comes of it.
func (e *Groups) Began(now time.Time, b audience.EpochBegan) { e.began(now, b) }

// Opens is how often a key was tried on a frame.
func (e *Groups) Opens() (n uint64) {
	for _, g := range e.media.groups {
		n += g.opens
	}
	return n
}

// HomeEpoch is the epoch of the own channel's group, without its keys.
func (e *Groups) HomeEpoch() audience.EpochBegan { return e.groupsOf[e.home].EpochBegan }

// Bases are the base keys that are held in the current epoch of a group: our own,
// and those of the step and the step before of session's voice.
func (e *Groups) Bases(id envelope.GroupID, session uint32) (own, cur, prev [baseKeyLen]byte) {
	epochs := e.media.groups[id].epochs
	at := epochs[len(epochs)-1]
	r := &at.leaves[session].recv
	return at.own.base, r.cur.base, r.prev.base
}

// FillMemory uses up what a day may add to the sticky memory.
func (e *Groups) FillMemory(now time.Time) { e.remembers = bucket{rememberBurst, now} }

// PSKOf is what a secret gives as the external PSK of a group with this psk_id.
func PSKOf(s *Secret, id []byte) []byte { return s.psk(id) }
