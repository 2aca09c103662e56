package guard

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

var bare15, bare13 = control.MakeVersion(1, 5, 735), control.MakeVersion(1, 3, 4)

// hostile are values of one field that nobody would send, as the message with that
// field alone and nothing else: required fields are missing, too. The set is the
// same for each field of its kind, whatever it means.
func hostile(m protoreflect.Message, fd protoreflect.FieldDescriptor) (out []proto.Message) {
	with := func(v protoreflect.Value, times int) {
		c := m.New()
		if !fd.IsList() {
			c.Set(fd, v)
		} else {
			list := c.Mutable(fd).List()
			for range times {
				list.Append(v)
			}
		}
		out = append(out, c.Interface())
	}
	times := []int{1}
	if fd.IsList() {
		times = []int{1, 300, 5_000}
	}
	if fd.Message() != nil {
		inner := m.New().Mutable(fd)
		var empty protoreflect.Message
		if fd.IsList() {
			empty = inner.List().NewElement().Message()
		} else {
			empty = inner.Message()
		}
		for _, n := range times {
			with(protoreflect.ValueOfMessage(empty.New()), n)
		}
		for i := range empty.Descriptor().Fields().Len() {
			for _, e := range hostile(empty, empty.Descriptor().Fields().Get(i)) {
				with(protoreflect.ValueOfMessage(e.ProtoReflect()), 2)
			}
		}
		return out
	}
	for _, v := range hostileValues(fd) {
		for _, n := range times {
			if size := len(fmt.Sprint(v.Interface())); n*size > 1<<20 {
				n = max(1, 1<<20/size) // more is no frame
			}
			with(v, n)
		}
	}
	return out
}

func hostileValues(fd protoreflect.FieldDescriptor) (out []protoreflect.Value) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		for _, s := range []string{
			"", "\x00", "\xff\xfe\xfd", "Sotto: all is well", "/sotto clear", "<b><i><u>" + strings.Repeat("<div>", 2000),
			"\u202e\u2066right to left\n\r\tand lines", strings.Repeat("\u0301", 3000), strings.Repeat("A", 200_000), "%s%n{{.}}$(id)",
			`<img src="data:image/png;base64,` + strings.Repeat("U09U", 30_000) + `">`, strings.Repeat("&#x41;", 5000),
		} {
			out = append(out, protoreflect.ValueOfString(s))
		}
	case protoreflect.BytesKind:
		for _, n := range []int{0, 1, 15, 16, 17, 20, 64, 1 << 20} {
			out = append(out, protoreflect.ValueOfBytes(bytes.Repeat([]byte{0xA5}, n)))
		}
	case protoreflect.Uint32Kind:
		for _, n := range []uint32{0, 1, bareAlice, bareBob, 30, 31, 32, math.MaxInt32, math.MaxUint32} {
			out = append(out, protoreflect.ValueOfUint32(n))
		}
	case protoreflect.Uint64Kind:
		for _, n := range []uint64{0, 1, math.MaxInt64, math.MaxUint64} {
			out = append(out, protoreflect.ValueOfUint64(n))
		}
	case protoreflect.Int32Kind:
		for _, n := range []int32{0, -1, math.MinInt32, math.MaxInt32} {
			out = append(out, protoreflect.ValueOfInt32(n))
		}
	case protoreflect.BoolKind:
		out = append(out, protoreflect.ValueOfBool(false), protoreflect.ValueOfBool(true))
	case protoreflect.FloatKind:
		for _, f := range []float32{0, -1, float32(math.NaN()), float32(math.Inf(1))} {
			out = append(out, protoreflect.ValueOfFloat32(f))
		}
	case protoreflect.EnumKind:
		for _, n := range []protoreflect.EnumNumber{0, 7, -1, math.MaxInt32} {
			out = append(out, protoreflect.ValueOfEnum(n))
		}
	case protoreflect.DoubleKind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind, protoreflect.GroupKind, protoreflect.Int64Kind,
		protoreflect.MessageKind, protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		panic("Mumble has no fields of kind " + fd.Kind().String() + " so far")
	}
	return out
}

// everyHostile calls f for each message type with each hostile value of each field,
// and with no field at all.
func everyHostile(t *testing.T, f func(name string, m proto.Message)) (n int) {
	t.Helper()
	for typ := control.TypeVersion; typ <= control.TypePluginDataTransmission; typ++ {
		if typ == control.TypeUDPTunnel {
			continue // no message: see hostileVoice
		}
		m, ok := control.New(typ)
		if !ok {
			t.Fatalf("type %v is no message", typ)
		}
		r := m.ProtoReflect()
		f(typ.String()+" empty", m)
		n++
		for i := range r.Descriptor().Fields().Len() {
			fd := r.Descriptor().Fields().Get(i)
			for j, h := range hostile(r, fd) {
				f(fmt.Sprintf("%v.%s[%d]", typ, fd.Name(), j), h)
				n++
			}
		}
	}
	return n
}

// TestHostileFields sends each leg every field of every message with values that
// nobody would send. The session goes on, or ends with a reason; what leaves while
// it is protected was made by Sotto; and nothing is kept of it for long.
func TestHostileFields(t *testing.T) {
	for m := range modes {
		if testing.Short() && m != modeTyped && m != modePrefer {
			continue // all of them take 15 s
		}
		for _, leg := range []string{"client", "server"} {
			t.Run(m.String()+" "+leg, func(t *testing.T) {
				var b *bare
				sessions, ends := 0, map[string]int{}
				var before uint64
				finish := func() {
					if b == nil {
						return
					}
					if b.ended() {
						ends[b.err.Error()]++
					}
					b.check()
					b = nil
				}
				n := everyHostile(t, func(name string, msg proto.Message) {
					if b != nil && b.ended() {
						finish()
					}
					if b == nil {
						b = newBare(t, m, bare15)
						b.login(bare15)
						b.forget()
						sessions++
						before = liveHeap()
					}
					defer func() {
						if r := recover(); r != nil {
							t.Fatalf("%s: %v", name, r)
						}
					}()
					if leg == "client" {
						b.client(msg)
					} else {
						b.server(msg)
					}
					b.blurt()
					b.forget() // or what waits for us would end the connection
				})
				if b != nil {
					b.forget()
					if grown := int64(liveHeap()) - int64(before); grown > 16<<20 {
						t.Errorf("%d bytes are kept of %d messages", grown, n)
					}
				}
				finish()
				t.Logf("%d messages in %d sessions; reasons of the ends: %v", n, sessions, ends)
				delete(ends, "endpoint: the server completes the login twice") // it asks for that
				if len(ends) > 0 {
					t.Errorf("sessions ended for %v", ends)
				}
			})
		}
	}
}

// words are what the person says in a session with hostile messages.
const bareWords = "words of the person"

// blurt is what a client sends all the time.
func (b *bare) blurt() {
	p := voice.Packet{Codec: voice.Opus, Data: append([]byte{0xF8}, bareWords...), HasPosition: true}
	if v, err := voice.Append(nil, b.s.down.format, voice.ToServer, &p); err == nil {
		b.clientFrame(control.Frame{Type: control.TypeUDPTunnel, Body: v})
	}
	b.client(&mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String(bareWords)})
}

// forget takes what has reached both ends, and looks at it.
func (b *bare) forget() {
	b.t.Helper()
	if b.ended() {
		return
	}
	for _, f := range b.arrived() {
		b.look(f)
	}
	mark := b.frame(&mumblepb.QueryUsers{Names: []string{"mark"}})
	b.s.down.conn.Send(mark.Type, mark.Body)
	for f := range b.down.frames {
		if f.Type == mark.Type && bytes.Equal(f.Body, mark.Body) {
			return
		}
	}
}

// look wants a frame that has reached the server to be fit for it.
func (b *bare) look(f control.Frame) {
	b.t.Helper()
	if !b.mode.protected() {
		return
	}
	if wrong := leaked(f, b.s.up.Format()); wrong != "" {
		b.t.Errorf("%v left: %s", f.Type, wrong)
	}
}

// check ends the session and looks at all that it sent.
func (b *bare) check() {
	b.t.Helper()
	up, down := b.close()
	for _, f := range up {
		b.look(f)
	}
	for _, f := range down {
		if f.Type == control.TypeUDPTunnel {
			var p voice.Packet
			if err := voice.Parse(f.Body, b.s.down.format, voice.ToClient, &p); err != nil {
				b.t.Errorf("voice for the client: %v", err)
			}
		}
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMissingFields plays real sessions in which each message comes once more for each
// of its fields, without that one.
func TestMissingFields(t *testing.T) {
	for _, r := range recordedSessions(t) {
		for _, m := range []mode{modeTyped, modePrefer, modeOff} {
			t.Run(r.name+" "+m.String(), func(t *testing.T) {
				n, ends := 0, map[string]int{}
				var b *bare
				play := func(stream []byte, leg func(control.Frame)) {
					for f := range frames(t, stream) {
						lessers := without(t, f)
						if f.Type == control.TypeServerSync {
							lessers = nil // a second one ends the session: see TestHostileFields
						}
						for _, less := range lessers {
							n++
							leg(less)
							if b.ended() {
								ends[b.err.Error()]++
								return
							}
							b.forget()
						}
						leg(f)
					}
				}
				b = newBare(t, m, bare15)
				b.login(r.version)
				play(r.toServer, b.clientFrame)
				if b.ended() {
					t.Errorf("the client's messages ended the session: %v", b.err)
				}
				b.check()
				b = newBare(t, m, bare15)
				play(r.fromServer, b.serverFrame)
				b.blurt()
				b.check()
				t.Logf("%d messages", n)
				if len(ends) > 0 {
					t.Errorf("sessions ended for %v", ends)
				}
			})
		}
	}
}

// without returns the message of a frame once for each of its fields, without it.
func without(t *testing.T, f control.Frame) (out []control.Frame) {
	t.Helper()
	m, err := control.Decode(f)
	if err != nil {
		return nil // voice
	}
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		less := proto.Clone(m)
		less.ProtoReflect().Clear(fd)
		body, err := proto.MarshalOptions{AllowPartial: true}.Marshal(less)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, control.Frame{Type: f.Type, Body: body})
		return true
	})
	return out
}

// frames are those of a stream.
func frames(t *testing.T, stream []byte) func(func(control.Frame) bool) {
	t.Helper()
	return func(yield func(control.Frame) bool) {
		r := control.NewReader(bytes.NewReader(stream), control.MaxLen)
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			f.Body = bytes.Clone(f.Body)
			if !yield(f) {
				return
			}
		}
	}
}
