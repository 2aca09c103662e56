package e2ee

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// PluginReceived is data of a plugin of somebody's client, from a direct group.
type PluginReceived struct {
	From   uint32
	DataID string
	Data   []byte
}

func (PluginReceived) output() {}

// SealPlugin encrypts data of a plugin of the own client to a direct group (Sotto
// protocol §8). It returns the object and its receivers. Errors are those of SealText.
func (e *Groups) SealPlugin(now time.Time, group envelope.GroupID, dataID string, data []byte) (envelope.Object, []uint32, error) {
	if len(dataID) == 0 || len(dataID) > envelope.MaxPluginID || len(data) > envelope.MaxPluginData {
		return envelope.Object{}, nil, ErrTextTooLong
	}
	if !e.mayDirect(group) {
		e.askAgain()
		return envelope.Object{}, nil, ErrHeld
	}
	var id [16]byte
	rand.Read(id[:])
	body := envelope.AppPluginBody{DataID: []byte(dataID), Data: data}
	o, to, err := e.aud.Protect(now, group, envelope.AppPlugin, id, body.Append(nil))
	if errors.Is(err, audience.ErrNoGroup) {
		err = ErrHeld
	}
	return o, to, err
}

// pluginData takes in what a member's plugin wrote. In a channel's group nobody
// sends any: it is for named sessions.
func (e *Groups) pluginData(a audience.Application) {
	body, err := envelope.ParseAppPlugin(a.Data.Body)
	switch {
	case err != nil || a.Place >= 0:
		e.stats.count(ErrMalformed)
	case !e.texts.add(a.Session, a.Data.ID):
		e.stats.count(ErrReplay)
	default:
		e.emit(PluginReceived{a.Session, string(body.DataID), body.Data})
	}
}
