package peers

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TapFrame is one thing that passed a Tap.
type TapFrame struct {
	Time   time.Time
	Conn   int             // connections in order of arrival; -1 for a datagram that belongs to none
	Dir    voice.Direction // where it went
	UDP    bool
	Format voice.Format // of voice on this connection
	// Frame is the control frame as it came. For a datagram the type is
	// UDPTunnel and the body the decrypted datagram, nil if it did not open: voice
	// looks the same whichever way it took.
	Frame control.Frame
	// Datagram is the encrypted datagram.
	Datagram []byte
}

// Message decodes a control message; nil for voice and for what does not decode.
func (f TapFrame) Message() proto.Message {
	m, err := control.Decode(f.Frame)
	if err != nil {
		return nil
	}
	return m
}

// Voice decodes a voice packet, tunnelled or not; false for everything else,
// pings among it.
func (f TapFrame) Voice() (voice.Packet, bool) {
	var p voice.Packet
	if f.Frame.Type != control.TypeUDPTunnel || len(f.Frame.Body) == 0 {
		return p, false
	}
	err := voice.Parse(f.Frame.Body, f.Format, f.Dir, &p)
	return p, err == nil
}

// record writes something down. p.mu is held.
func (p *Tap) record(f TapFrame) {
	if p.bytes += len(f.Frame.Body) + len(f.Datagram); p.bytes > maxTapBytes {
		if !p.closed {
			p.t.Errorf("peers: more than %d bytes passed the tap, the record is not complete", maxTapBytes)
		}
		return
	}
	f.Time = time.Now()
	p.frames = append(p.frames, f)
}

// Frames returns everything that has passed, in order.
func (p *Tap) Frames() []TapFrame {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.frames)
}

// Forget drops the record.
func (p *Tap) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames, p.bytes, p.blind = nil, 0, 0
}

// Blind counts the datagrams that could not be opened, other than the pings of
// server lists. While it is not 0, "the Tap has not seen it" proves little.
func (p *Tap) Blind() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blind
}

// Voices returns the voice packets that went in the direction.
func (p *Tap) Voices(dir voice.Direction) []voice.Packet {
	var out []voice.Packet
	for _, f := range p.Frames() {
		if v, ok := f.Voice(); ok && f.Dir == dir {
			out = append(out, v)
		}
	}
	return out
}

// Wait waits until something recorded matches and returns the first that does;
// otherwise the test fails, and what names the missed thing.
func (p *Tap) Wait(limit time.Duration, what string, match func(TapFrame) bool) TapFrame {
	p.t.Helper()
	var found TapFrame
	if !until(limit, func() bool {
		frames := p.Frames()
		i := slices.IndexFunc(frames, match)
		if i >= 0 {
			found = frames[i]
		}
		return i >= 0
	}) {
		p.t.Fatalf("peers: no %s passed the tap within %v", what, limit)
	}
	return found
}

// TapHit says where a searched pattern was found.
type TapHit struct {
	Index int // in Frames
	Frame TapFrame
	Form  string // "plain", "hex" or "base64"
}

// Contains searches all decrypted bytes for a pattern, as it is and in the two
// ways bytes are usually written as text, base64 at any offset. Patterns shorter
// than 8 bytes are searched as they are only, or chance would find them.
func (p *Tap) Contains(pattern []byte) []TapHit {
	var hits []TapHit
	if len(pattern) == 0 {
		return nil
	}
	forms := forms(pattern)
	for i, f := range p.Frames() {
		for _, form := range forms {
			if bytes.Contains(f.Frame.Body, form.bytes) {
				hits = append(hits, TapHit{i, f, form.name})
				break
			}
		}
	}
	return hits
}

// Forms returns the pattern as Contains looks for it.
func Forms(pattern []byte) (all [][]byte) {
	for _, f := range forms(pattern) {
		all = append(all, f.bytes)
	}
	return all
}

type form struct {
	name  string
	bytes []byte
}

func forms(pattern []byte) []form {
	all := []form{{"plain", pattern}}
	if len(pattern) < 8 {
		return all
	}
	lower := []byte(hex.EncodeToString(pattern))
	all = append(all, form{"hex", lower}, form{"hex", bytes.ToUpper(lower)})
	for offset := range 3 {
		// With offset bytes in front, the first character that depends on the
		// pattern alone is number ceil(8*offset/6), the last is the one that
		// ends with or before the pattern's last bit.
		padded := append(make([]byte, offset), pattern...)
		from, to := (8*offset+5)/6, 8*len(padded)/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, form{"base64", []byte(enc.EncodeToString(padded))[from:to]})
		}
	}
	return all
}
