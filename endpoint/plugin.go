package endpoint

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// plugins is what is kept of the data of the client's own plugins.
type plugins struct {
	failed []uint32 // receivers who were asked for Sotto in vain, sorted
	until  time.Time
	said   time.Time // that some was not sent
}

// pluginPause is how long receivers who were asked in vain are not asked again for
// the data of a plugin, which may send some every second.
const pluginPause = time.Minute

// NoticePlugin is the code of the notice that data of a plugin was not sent.
const NoticePlugin = "plugin"

// SendPlugin sends what a plugin of the own client wrote to named sessions, in a
// direct group of theirs. It leaves in clear, as ClearPlugin, only where a private
// text would (Sotto protocol §11.3); else it is dropped with a Notice. What nobody
// receives, or a server passes on to nobody, is dropped without one.
func (e *Endpoint) SendPlugin(now time.Time, m *mumblepb.PluginDataTransmission) {
	if e.groups == nil {
		e.pluginLost(now, "it is not encrypted with a secret alone")
		return
	}
	if e.carrier.Regime() != carrier.RegimeEcho {
		return // the server passes none
	}
	to := slices.DeleteFunc(slices.Clone(m.GetReceiverSessions()), func(s uint32) bool {
		_, known := e.mirror.User(s)
		return !known || s == e.mirror.Self()
	})
	slices.Sort(to)
	to = slices.Compact(to)
	m = proto.Clone(m).(*mumblepb.PluginDataTransmission)
	m.SenderSession, m.ReceiverSessions = proto.Uint32(e.mirror.Self()), to
	switch {
	case len(to) == 0:
	case len(to) > maxReaders:
		e.pluginLost(now, manyReaders)
	case slices.Equal(to, e.plugins.failed) && now.Before(e.plugins.until):
		e.pluginClear(now, m, to)
	case len(e.asking)+len(e.waiting) >= maxWaiting:
		// Plugins are used to loss: servers limit them as well.
	default:
		e.nextToken++
		e.asking[e.nextToken] = direct{plugin: m}
		e.engine.Handle(now, e2ee.OpenDirect{Token: e.nextToken, Sessions: to})
		e.settle(now)
	}
}

func (e *Endpoint) sealPlugin(now time.Time, group envelope.GroupID, m *mumblepb.PluginDataTransmission) {
	o, to, err := e.groups.SealPlugin(now, group, m.GetDataID(), m.GetData())
	if err != nil || len(to) == 0 {
		return // the group changes: lost, as on a busy server
	}
	e.nextToken++
	e.handshake[e.nextToken] = 0
	e.carrier.Handle(now, carrier.Send{Token: e.nextToken, Object: o, To: to, Priority: carrier.PriorityUpdate})
}

func (e *Endpoint) pluginInVain(now time.Time, m *mumblepb.PluginDataTransmission, missing []uint32) {
	e.plugins.failed, e.plugins.until = m.GetReceiverSessions(), now.Add(pluginPause)
	e.pluginClear(now, m, missing)
}

func (e *Endpoint) pluginClear(now time.Time, m *mumblepb.PluginDataTransmission, missing []uint32) {
	if e.groups.MayWhisperClear(m.GetReceiverSessions()) {
		e.emit(ClearPlugin{m})
		return
	}
	e.pluginLost(now, e.withoutSotto(missing))
}

// pluginLost says now and then that data of a plugin was not sent.
func (e *Endpoint) pluginLost(now time.Time, why string) {
	if last := e.plugins.said; last.IsZero() || now.Sub(last) >= suspectPause {
		e.plugins.said = now
		e.notice(NoticePlugin, "Data of one of your Mumble plugins was not sent: "+why+".")
	}
}
