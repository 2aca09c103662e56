package guard

import (
	"testing"

	"github.com/sotto-voip/sotto/mumble/voice"
)

func TestReadListPing(t *testing.T) {
	extended := voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 5, RequestExtended: true})
	for _, c := range []struct {
		name string
		in   []byte
		want listQuestion
		ok   bool
	}{
		{"legacy", voice.AppendListPing(nil, 7), listQuestion{voice.Legacy, 7}, true},
		{"legacy, all bits", voice.AppendListPing(nil, 1<<64-1), listQuestion{voice.Legacy, 1<<64 - 1}, true},
		{"protobuf", extended, listQuestion{voice.Protobuf, 5}, true},
		{"protobuf that asks nothing", voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 5}), listQuestion{}, false},
		{"cut", extended[:1], listQuestion{}, false},
		{"longer", append(voice.AppendListPing(nil, 7), 0), listQuestion{}, false},
		{"nothing", nil, listQuestion{}, false},
		{"voice", []byte{0x80, 1, 2, 3}, listQuestion{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := readListPing(c.in); ok != c.ok || got != c.want {
				t.Errorf("%+v %v, want %+v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

// FuzzReadListPing gives it what any program of this machine may send to guard's port.
func FuzzReadListPing(f *testing.F) {
	f.Add(voice.AppendListPing(nil, 7))
	f.Add(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 5, RequestExtended: true}))
	f.Add([]byte{1, 0x10, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, ok := readListPing(b)
		if !ok {
			return
		}
		var again []byte
		switch q.format {
		case voice.Legacy:
			again = voice.AppendListPing(nil, q.ident)
		case voice.Protobuf:
			again = voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: q.ident, RequestExtended: true})
		}
		if p, ok := readListPing(again); !ok || p != q {
			t.Errorf("% x reads as %+v, and that as %+v", b, q, p)
		}
	})
}
