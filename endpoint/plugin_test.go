package endpoint_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

func pluginData(words string, to ...*person) *mumblepb.PluginDataTransmission {
	m := &mumblepb.PluginDataTransmission{DataID: proto.String("game"), Data: []byte(words)}
	for _, p := range to {
		m.ReceiverSessions = append(m.ReceiverSessions, p.session)
	}
	return m
}

// got are the words of plugins that came, and whether some may leave in clear.
func (p *person) plugins() (words []string, inClear int) {
	for _, o := range p.out {
		switch o := o.(type) {
		case endpoint.PluginIn:
			words = append(words, o.DataID+": "+string(o.Data))
		case endpoint.ClearPlugin:
			inClear++
		}
	}
	p.out = nil
	return words, inClear
}

// Data of the client's plugins is the person's content: encrypted to those it names
// and nobody else, in clear only where a private text would leave so.
func TestPluginData(t *testing.T) {
	t.Run("everybody has Sotto", func(t *testing.T) {
		r, all := group(t, 3)
		alice, bob, carol := all[0], all[1], all[2]
		for _, words := range []string{"one", "two"} {
			alice.SendPlugin(r.now, pluginData(words, bob, alice, bob))
			r.carry()
			r.run(3 * time.Second)
		}
		if got, _ := bob.plugins(); !slices.Equal(got, []string{"game: one", "game: two"}) {
			t.Errorf("bob got %q", got)
		}
		if got, _ := carol.plugins(); len(got) > 0 {
			t.Errorf("carol got %q", got)
		}
		if _, inClear := alice.plugins(); inClear > 0 {
			t.Error("it left in clear")
		}
	})
	t.Run("protected, and somebody without Sotto", func(t *testing.T) {
		r, all := group(t, 2)
		alice, bob, eve := all[0], all[1], r.join("eve", 0, nil)
		r.run(5 * time.Second)
		alice.out = nil
		for range 5 {
			alice.SendPlugin(r.now, pluginData("words", bob, eve))
			r.carry()
			r.run(5 * time.Second)
		}
		if n := alice.told(endpoint.NoticePlugin, "“eve” has no Sotto"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if _, inClear := alice.plugins(); inClear > 0 {
			t.Error("it left in clear")
		}
		if got, _ := bob.plugins(); len(got) > 0 {
			t.Errorf("bob got %q", got)
		}
	})
	t.Run("in clear with somebody without Sotto", func(t *testing.T) {
		r := newRelay(t, echoes)
		r.channel(5, 0, "Other")
		eve, dave := r.join("eve", 0, nil), r.join("dave", 5, grouped(t))
		alice := r.join("alice", 0, preferring(t))
		r.run(5 * time.Second)
		r.wantLeave(alice, e2ee.LeaveClear)
		alice.out = nil
		asked := r.now
		alice.SendPlugin(r.now, pluginData("words", eve))
		if _, inClear := alice.plugins(); inClear > 0 {
			t.Error("it left in clear before she was asked")
		}
		r.run(5 * time.Second)
		alice.SendPlugin(r.now, pluginData("words", eve))
		r.carry()
		if _, inClear := alice.plugins(); inClear != 2 {
			t.Errorf("%d in clear %v later", inClear, r.now.Sub(asked))
		}
		alice.SendPlugin(r.now, pluginData("words", dave))
		r.run(5 * time.Second)
		if _, inClear := alice.plugins(); inClear > 0 {
			t.Error("to dave in clear")
		}
		if got, _ := dave.plugins(); len(got) != 1 {
			t.Errorf("dave got %q", got)
		}
	})
}
