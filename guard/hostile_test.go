package guard_test

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// filled is a message of a type in which every field is set: numbers to n, texts to
// text, and lists to so many entries.
func filled(kind control.Type, n uint64, text []byte, entries int) []byte {
	m, ok := control.New(kind)
	if !ok {
		return text
	}
	fill(m.ProtoReflect(), n, text, entries)
	body, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		panic(err) // proto2 does not check UTF-8
	}
	return body
}

func fill(m protoreflect.Message, n uint64, text []byte, entries int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		one := func() protoreflect.Value {
			switch fd.Kind() {
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(n != 0)
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(protoreflect.EnumNumber(fd.Enum().Values().Get(fd.Enum().Values().Len() - 1).Number()))
			case protoreflect.Int32Kind:
				return protoreflect.ValueOfInt32(int32(n))
			case protoreflect.Uint32Kind:
				return protoreflect.ValueOfUint32(uint32(n))
			case protoreflect.Uint64Kind:
				return protoreflect.ValueOfUint64(n)
			case protoreflect.FloatKind:
				return protoreflect.ValueOfFloat32(float32(math.NaN()))
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(string(text))
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes(text)
			default:
				panic(fd.FullName())
			}
		}
		switch {
		case fd.IsList():
			l := m.Mutable(fd).List()
			for range entries {
				if fd.Message() == nil {
					l.Append(one())
					continue
				}
				e := l.NewElement()
				fill(e.Message(), n, text, 1)
				l.Append(e)
			}
		case fd.Message() != nil:
			fill(m.Mutable(fd).Message(), n, text, entries)
		default:
			m.Set(fd, one())
		}
	}
}

// wrongKinds sets each field number up to 30 to something of another wire type.
func wrongKinds(kind control.Type) (body []byte) {
	m, ok := control.New(kind)
	for number := protowire.Number(1); number < 30; number++ {
		fd := protoreflect.FieldDescriptor(nil)
		if ok {
			fd = m.ProtoReflect().Descriptor().Fields().ByNumber(number)
		}
		if fd != nil && (fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind || fd.Message() != nil) {
			body = protowire.AppendVarint(protowire.AppendTag(body, number, protowire.VarintType), 7)
		} else {
			body = protowire.AppendBytes(protowire.AppendTag(body, number, protowire.BytesType), []byte("\xff\xff\xff"))
		}
	}
	return body
}

// nested is a message in a message in a message, under one field number.
func nested(number protowire.Number, depth int) (body []byte) {
	for range depth {
		body = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), body)
	}
	return body
}

// hostileBodies are what somebody may send as a message of a type.
func hostileBodies(kind control.Type) map[string][]byte {
	most := 1 << 20
	switch kind {
	case control.TypeAuthenticate, control.TypeUserState, control.TypeTextMessage, control.TypeServerConfig:
		most = 7 << 20 // nearly what a frame may hold
	}
	bodies := map[string][]byte{
		"nothing":                 nil,
		"a tag without a value":   {0x08},
		"no protobuf":             bytes.Repeat([]byte{0xFF}, 64),
		"wrong kinds":             wrongKinds(kind),
		"groups in groups":        bytes.Repeat([]byte{1<<3 | 3}, 100_000),
		"a length without bytes":  {0x0A, 0xFF, 0xFF, 0xFF, 0x7F},
		"zeros":                   filled(kind, 0, nil, 0),
		"the largest numbers":     filled(kind, math.MaxUint64, []byte("x"), 3),
		"no UTF-8":                filled(kind, 1, []byte("\xff\xc0\x80\x00"), 3),
		"markup in markup":        filled(kind, 1, bytes.Repeat([]byte("<b><table>"), 1000), 2),
		"long texts":              filled(kind, 1, bytes.Repeat([]byte("<"), 200_000), 1),
		"long lists":              filled(kind, 2, nil, 20_000),
		"lists of the same thing": filled(kind, 7, []byte("x"), 3000),
		"as long as may be":       protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), bytes.Repeat([]byte("x"), most)),
	}
	for number := protowire.Number(1); number <= 5; number++ {
		bodies["messages in messages "+string(rune('0'+number))] = nested(number, 2000)
	}
	return bodies
}

// survives sends a frame and reports whether the session goes on, and the frames that
// came to the other side by then.
func survives(from, to *leg, kind control.Type, body []byte) (lives bool, got []control.Frame) {
	from.t.Helper()
	const mark = 2_000_000
	from.conn.Send(kind, body)
	from.send(&mumblepb.QueryUsers{Ids: []uint32{mark}})
	late := time.After(patience)
	for {
		select {
		case f, ok := <-to.frames:
			if !ok {
				return false, got
			}
			got = append(got, f)
			if f.Type != control.TypeQueryUsers {
				continue
			}
			if m, err := control.Decode(f); err == nil && slices.Equal(m.(*mumblepb.QueryUsers).GetIds(), []uint32{mark}) {
				return true, got
			}
		case <-late:
			from.t.Fatalf("%v: guard hangs", kind)
		}
	}
}

// TestHostileTable sends everything that can be wrong in a message, of every type and
// both ways. What the own Mumble sends never ends the session; what the server sends
// ends it where it says what cannot be, and then the client is told why. Guard serves
// the next client as if nothing had been.
func TestHostileTable(t *testing.T) {
	kinds := []control.Type{27, 200, math.MaxUint16}
	for kind := control.TypeVersion; kind <= control.TypePluginDataTransmission; kind++ {
		kinds = append(kinds, kind)
	}
	for _, policy := range []e2ee.Policy{e2ee.PolicyRequire, e2ee.PolicyOff} {
		t.Run(policy.String(), func(t *testing.T) {
			s := newStage(t, options{policy: policy})
			up := s.logIn(v13, v15, nil)
			for _, kind := range kinds {
				bodies := hostileBodies(kind)
				for _, name := range slices.Sorted(maps.Keys(bodies)) {
					body := bodies[name]
					if lives, _ := survives(up.client, up.server, kind, body); !lives {
						t.Fatalf("%v of the client, %s: %+v", kind, name, s.wantKind("disconnected"))
					}
				}
			}
			up.client.conn.Close(0)
			s.wantKind("disconnected")
			ends := 0
			down := s.logIn(v13, v15, nil)
			for _, kind := range kinds {
				bodies := hostileBodies(kind)
				for _, name := range slices.Sorted(maps.Keys(bodies)) {
					body := bodies[name]
					lives, got := survives(down.server, down.client, kind, body)
					if lives {
						continue
					}
					ends++
					reason := s.wantKind("disconnected").Reason
					said := lines(append(got, down.client.ended()...))
					if len(said) == 0 || !strings.Contains(said[len(said)-1], "the connection is closed") {
						t.Errorf("%v of the server, %s: the client is told %q; the reason is %q", kind, name, said, reason)
					}
					t.Logf("%v, %s: %s", kind, name, reason)
					down = s.logIn(v13, v15, nil)
				}
			}
			if ends == 0 || ends > 40 {
				t.Errorf("%d connections are closed", ends)
			}
		})
	}
}
