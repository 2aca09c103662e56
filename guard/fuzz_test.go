package guard

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// recorded is what a client and a real server said to each other: see
// interop.TestRecordSession.
type recorded struct {
	name                 string
	version              control.Version // of the server
	fromServer, toServer []byte          // streams of frames
}

func recordedSessions(t testing.TB) (out []recorded) {
	t.Helper()
	for name, version := range map[string]control.Version{"murmur-1.3.4": bare13, "murmur-1.5": bare15} {
		b, err := os.ReadFile(filepath.Join("testdata/sessions", name+".frames"))
		if err != nil {
			t.Fatal(err)
		}
		r := recorded{name: name, version: version}
		for len(b) > 0 {
			direction := b[0]
			frame, err := control.NewReader(bytes.NewReader(b[1:]), control.MaxLen).Next()
			if err != nil || direction > 1 {
				t.Fatalf("%s: direction %d, %v", name, direction, err)
			}
			if direction == 0 {
				r.fromServer = control.AppendFrame(r.fromServer, frame.Type, frame.Body)
			} else {
				r.toServer = control.AppendFrame(r.toServer, frame.Type, frame.Body)
			}
			b = b[1+6+len(frame.Body):]
		}
		out = append(out, r)
	}
	return out
}

// feed hands the frames of a stream to one leg, until it ends or does not parse: then
// the connection would be closed with that error.
func (b *bare) feed(stream []byte, leg func(control.Frame)) {
	r := control.NewReader(bytes.NewReader(stream), control.MaxLen)
	for !b.ended() {
		f, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				b.err = err
			}
			return
		}
		f.Body = bytes.Clone(f.Body)
		leg(f)
	}
}

// fuzzLeg is a target: mutated frames of one leg, between those of a login and of a
// person who speaks and writes. The worst that may come of it is one closed
// connection with a reason. What leaves while the session is protected was made by
// Sotto, whatever came before.
func fuzzLeg(f *testing.F, seed func(recorded) []byte, leg func(*bare) func(control.Frame)) {
	for _, r := range recordedSessions(f) {
		all := seed(r)
		for m := range modes {
			f.Add(byte(m), r.version == bare15, all)
		}
		// Parts, so that a mutation hits each kind of frame sometimes.
		for part := range split(all, 12) {
			f.Add(byte(modeTyped), r.version == bare15, part)
			f.Add(byte(modePrefer), r.version == bare15, part)
		}
	}
	f.Fuzz(func(t *testing.T, m byte, new bool, stream []byte) {
		if len(stream) > 1<<18 {
			return
		}
		server := bare13
		if new {
			server = bare15
		}
		b := newBare(t, mode(m)%modes, server)
		b.login(server)
		b.feed(stream, leg(b))
		b.blurt()
		if len(b.s.said) > 64 || len(b.s.marks) > maxMarks || len(b.s.pings) > maxPings+1 {
			t.Errorf("kept: %d kinds of lines, %d marks, %d pings", len(b.s.said), len(b.s.marks), len(b.s.pings))
		}
		b.check()
	})
}

// split cuts a stream between frames, n of them to a part.
func split(stream []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		var part []byte
		r := control.NewReader(bytes.NewReader(stream), control.MaxLen)
		for i := 1; ; i++ {
			f, err := r.Next()
			if err != nil {
				yield(part)
				return
			}
			part = control.AppendFrame(part, f.Type, f.Body)
			if i%n == 0 {
				if !yield(part) {
					return
				}
				part = nil
			}
		}
	}
}

// FuzzDownstream mutates what the stock client says.
func FuzzDownstream(f *testing.F) {
	fuzzLeg(f, func(r recorded) []byte { return r.toServer }, func(b *bare) func(control.Frame) { return b.clientFrame })
}

// FuzzUpstream mutates what the server says.
func FuzzUpstream(f *testing.F) {
	fuzzLeg(f, func(r recorded) []byte { return r.fromServer }, func(b *bare) func(control.Frame) { return b.serverFrame })
}

// TestRecordedSessions plays real sessions through guard, both directions, and wants
// them to go on to their end.
func TestRecordedSessions(t *testing.T) {
	for _, r := range recordedSessions(t) {
		for m := range modes {
			t.Run(r.name+" "+m.String(), func(t *testing.T) {
				b := newBare(t, m, bare15)
				b.feed(r.fromServer, b.serverFrame)
				b.feed(r.toServer, b.clientFrame)
				b.feed(bytes.Repeat(r.toServer, 2), b.clientFrame)
				if b.ended() {
					t.Errorf("the session ended: %v", b.err)
				}
				b.check()
			})
		}
	}
}

// FuzzDatagrams mutates what comes by UDP under the right keys, of either leg.
func FuzzDatagrams(f *testing.F) {
	for _, r := range recordedSessions(f) {
		for _, stream := range [][]byte{r.fromServer, r.toServer} {
			seeds := 0
			in := control.NewReader(bytes.NewReader(stream), control.MaxLen)
			for frame, err := in.Next(); err == nil && seeds < 20; frame, err = in.Next() {
				if frame.Type == control.TypeUDPTunnel {
					f.Add(byte(seeds), r.version == bare15, bytes.Equal(stream, r.toServer), bytes.Clone(frame.Body))
					seeds++
				}
			}
		}
	}
	for _, format := range []voice.Format{voice.Legacy, voice.Protobuf} {
		f.Add(byte(modePrefer), format == voice.Protobuf, true, voice.AppendPing(nil, format, &voice.Ping{Timestamp: 77}))
	}
	f.Fuzz(func(t *testing.T, m byte, new, fromClient bool, plain []byte) {
		if len(plain) > 1500 {
			return
		}
		version := bare13
		if new {
			version = bare15
		}
		b := newBare(t, mode(m)%modes, version)
		b.login(version)
		for range 3 { // again, as a network may do, and as a speaker does
			if fromClient {
				b.s.fromClientUDP(b.now, &client.Datagram{B: b.clientKey().Seal(nil, plain)})
			} else {
				b.s.fromServerUDP(b.now, &client.Datagram{B: b.serverKey().Seal(nil, plain)})
			}
		}
		if b.s.down.lastGood != b.now && fromClient {
			t.Error("the datagram did not open")
		}
		if b.ended() {
			t.Errorf("a datagram ended the session: %v", b.err)
		}
		if len(b.s.marks) > maxMarks || len(b.s.pings) > maxPings+1 {
			t.Errorf("kept: %d marks, %d pings", len(b.s.marks), len(b.s.pings))
		}
		b.check()
	})
}

// clientKey is the cipher of a client that was given its key just now.
func (b *bare) clientKey() *crypt.CryptState {
	b.t.Helper()
	return b.key(b.s.down.crypt.Key(), b.s.down.crypt.DecryptIV(), b.s.down.crypt.EncryptIV())
}

// serverKey is that of the server of greeting.
func (b *bare) serverKey() *crypt.CryptState {
	b.t.Helper()
	if b.far == nil {
		key := bytes.Repeat([]byte{7}, 16)
		b.far = b.key(key, key, key)
	}
	return b.far
}

func (b *bare) key(key, encrypt, decrypt []byte) *crypt.CryptState {
	b.t.Helper()
	c := &crypt.CryptState{}
	if err := c.SetKey(bytes.Clone(key), bytes.Clone(encrypt), bytes.Clone(decrypt)); err != nil {
		b.t.Fatal(err)
	}
	return c
}
