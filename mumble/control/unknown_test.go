package control_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// with appends an unknown field to a message's bytes.
func with(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func TestUnknownFields(t *testing.T) {
	entry := with([]byte("\x08\x05\x15\x00\x00\x00\x3f"), 99, "inner secret")
	body := []byte("\x08\x07")                                                    // session 7
	body = append(append(body, "\xba\x01"+string(byte(len(entry)))...), entry...) // listening_volume_adjustment
	body = with(body, 1000, "outer secret")
	f := control.Frame{Type: control.TypeUserState, Body: body}

	m, err := control.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := control.AppendMessage(nil, m)
	if err != nil || !bytes.Equal(b[control.HeaderSize:], body) {
		t.Errorf("unknown fields do not survive: %q, %v", b, err)
	}

	control.DropUnknown(m)
	b, err = control.AppendMessage(nil, m)
	if err != nil || bytes.Contains(b, []byte("secret")) {
		t.Errorf("DropUnknown leaves %q, %v", b, err)
	}
	us := m.(*mumblepb.UserState)
	if us.GetSession() != 7 || len(us.ListeningVolumeAdjustment) != 1 || us.ListeningVolumeAdjustment[0].GetVolumeAdjustment() != 0.5 {
		t.Errorf("DropUnknown took known fields: %v", us)
	}

	// In a message that is not in a list.
	stats := &mumblepb.UserStats{Version: &mumblepb.Version{}}
	stats.Version.ProtoReflect().SetUnknown(with(nil, 50, "secret"))
	control.DropUnknown(stats)
	if b, _ := proto.Marshal(stats); bytes.Contains(b, []byte("secret")) {
		t.Errorf("DropUnknown leaves %q", b)
	}

	control.DropUnknown(nil)
	control.DropUnknown((*mumblepb.Ping)(nil))
}
