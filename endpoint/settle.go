package endpoint

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// settle carries the outputs of engine and carrier to each other until both
// are quiet.
func (e *Endpoint) settle(now time.Time) {
	for {
		if o, ok := e.engine.Next(); ok {
			e.fromEngine(now, o)
			continue
		}
		if o, ok := e.carrier.Next(); ok {
			e.fromCarrier(now, o)
			continue
		}
		return
	}
}

func (e *Endpoint) fromEngine(now time.Time, o e2ee.Output) {
	switch o := o.(type) {
	case e2ee.SendObject:
		e.nextToken++
		e.handshake[e.nextToken] = 0
		e.carrier.Handle(now, carrier.Send{
			Token: e.nextToken, Object: o.Object, To: o.To, Priority: carrier.PriorityHello,
		})
	case e2ee.SendVoice:
		e.announce(o)
	case e2ee.GateChanged:
		e.emit(Gate{o})
	case e2ee.Holder:
		e.emit(Holder{o})
		e.retryTexts(now)
	case e2ee.OtherSecret:
		e.emit(OtherSecret{o})
	case e2ee.TextReceived:
		if e.mayShow(now, o.From) {
			e.emit(TextIn{o.From, o.Text})
		}
	case e2ee.Notice:
		if o.Code == e2ee.NoticeMoved {
			o.Text += e.whoIsHere()
		}
		e.emit(Notice{o})
	default:
		e.fromGroups(now, o)
	}
}

func (e *Endpoint) fromCarrier(now time.Time, o carrier.Output) {
	switch o := o.(type) {
	case carrier.PluginOut:
		e.emit(Send{&mumblepb.PluginDataTransmission{
			SenderSession:    proto.Uint32(e.mirror.Self()),
			ReceiverSessions: o.To,
			Data:             o.Data,
			DataID:           proto.String(envelope.DataID),
		}})
	case carrier.TextOut:
		_, personal := e.texts[o.Token]
		e.sent.add(now, !personal, len(o.Message))
		e.emit(Send{&mumblepb.TextMessage{Session: o.To, Message: proto.String(o.Message)}})
	case carrier.Fence:
		e.emit(Fence{})
	case carrier.RegimeChanged:
		// With a typed secret alone there is nothing to order: T is as N to it.
		text := e.groups != nil && o.Regime == carrier.RegimeText
		e.engine.Handle(now, e2ee.Regime{
			Known: o.Regime != carrier.RegimeUnknown, Echo: o.Regime == carrier.RegimeEcho || text, TextEcho: text,
		})
	case carrier.Received:
		bulk := !o.Ordered && e.carrier.Regime() != carrier.RegimeNone
		e.engine.Handle(now, e2ee.Received{From: o.From, Object: o.Object, Bulk: bulk})
	case carrier.Delivered:
		if token := e.done(o.Token); token != 0 {
			e.engine.Handle(now, e2ee.Delivered{Token: token, Ordered: o.Ordered})
		}
		delete(e.texts, o.Token)
	case carrier.Failed:
		if token := e.done(o.Token); token != 0 {
			e.engine.Handle(now, e2ee.Failed{Token: token})
		}
		if whom, ok := e.texts[o.Token]; ok {
			delete(e.texts, o.Token)
			e.emit(TextFailed{"your message to " + whom + " did not get through: " + plain(o.Reason)})
		}
	}
}

// plain words an error of the carrier for a person.
func plain(err error) string {
	switch {
	case errors.Is(err, carrier.ErrNoEcho):
		return "the server does not pass it on"
	case errors.Is(err, carrier.ErrQueueFull):
		return "too much is waiting to be sent"
	case errors.Is(err, carrier.ErrTooLong):
		return "it is too long"
	}
	return err.Error()
}
