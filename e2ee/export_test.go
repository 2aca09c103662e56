package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// Show makes sessions be on the server, as a World would.
func (e *Groups) Show(sessions ...uint32) {
	for _, s := range sessions {
		e.peers[s] = &groupPeer{Peer: Peer{Session: s}}
	}
}

// Begin takes over an epoch's voice keys, whoever made them.
func (e *Groups) Begin(now time.Time, b audience.EpochBegan) { e.media.begin(now, b) }

// Lose erases the voice keys of a group.
func (e *Groups) Lose(id envelope.GroupID) { e.media.drop(id) }

// SealIn is SealVoice for any group, whatever the gate says.
func (e *Groups) SealIn(dst []byte, now time.Time, limit int, f *Frame, id envelope.GroupID) ([]byte, error) {
	return e.seal(dst, now, limit, f, e.media.groups[id])
}

// TakeText is what becomes of application data that a member wrote.
func (e *Groups) TakeText(now time.Time, a audience.Application) { e.application(now, a) }
