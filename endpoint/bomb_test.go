package endpoint_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// MS19: messages that are small to send and large to hold: a million ids, unknown
// fields without end, groups in groups. Each is refused or taken within bounds of
// time and memory, and what is kept of all of them is little.
func TestProtobufBombs(t *testing.T) {
	million := make([]uint32, 1_000_000)
	for i := range million {
		million[i] = uint32(i)
	}
	deep := bytes.Repeat([]byte{15<<3 | 3}, 1<<20) // a million groups begin
	var unknown []byte
	for range 100_000 {
		unknown = protowire.AppendTag(unknown, 1000, protowire.BytesType)
		unknown = protowire.AppendBytes(unknown, []byte("unknown"))
	}
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rows := []struct {
		what string
		typ  control.Type
		body []byte
	}{
		{"a million links", control.TypeChannelState, encode(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Links: million})},
		{"a million links to add", control.TypeChannelState, encode(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), LinksAdd: million})},
		{"a million channels listened to", control.TypeUserState, encode(&mumblepb.UserState{Session: proto.Uint32(1), ListeningChannelAdd: million})},
		{"a million receivers", control.TypeTextMessage, encode(&mumblepb.TextMessage{Actor: proto.Uint32(2), Session: million, Message: proto.String("x")})},
		{"a million trees", control.TypeTextMessage, encode(&mumblepb.TextMessage{Actor: proto.Uint32(2), TreeId: million, Message: proto.String("x")})},
		{"a million plugin receivers", control.TypePluginDataTransmission, encode(&mumblepb.PluginDataTransmission{SenderSession: proto.Uint32(2), ReceiverSessions: million, DataID: proto.String("sotto/1")})},
		{"unknown fields", control.TypeUserState, append(encode(&mumblepb.UserState{Session: proto.Uint32(2), Name: proto.String("x")}), unknown...)},
		{"groups in groups", control.TypeUserState, deep},
		{"a length that lies", control.TypeUserState, []byte{0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}},
	}
	r, alice, _ := groupPair(t)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for _, c := range rows {
		began := time.Now()
		m, err := control.Decode(control.Frame{Type: c.typ, Body: c.body})
		if err == nil {
			_, _, err = alice.FromServer(r.now, m)
		}
		for _, ok := alice.Next(); ok; _, ok = alice.Next() {
		}
		took := time.Since(began)
		t.Logf("%-32s %7d bytes, %6.1f ms: %v", c.what, len(c.body), took.Seconds()*1000, err)
		if took > slower*2*time.Second {
			t.Errorf("%s takes %v", c.what, took)
		}
		if c.what == "a length that lies" && err == nil || c.what == "groups in groups" && err == nil {
			t.Errorf("%s is taken", c.what)
		}
	}
	if kept := heap() - before; kept > 1<<20 {
		t.Errorf("%d KiB are kept of it", kept>>10)
	}
	runtime.KeepAlive(alice)
	runtime.KeepAlive(rows)
}
