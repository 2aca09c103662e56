package peers

import (
	"errors"
	"net"
	"time"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// UDP reports whether the client sends its voice by UDP.
func (r *Raw) UDP() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.useUDP
}

// SetUDP changes the way the client sends its voice. The server sends it voice
// the way it last got some.
func (r *Raw) SetUDP(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.useUDP = yes
}

// SendVoice sends one packet as it is, in the client's format. Codec zero is
// taken for Opus.
func (r *Raw) SendVoice(p voice.Packet) {
	if p.Codec == 0 {
		p.Codec = voice.Opus
	}
	r.mu.Lock()
	b, err := voice.Append(nil, r.Format, voice.ToServer, &p)
	r.mu.Unlock()
	if err == nil {
		err = r.sendPlain(b)
	}
	if err != nil {
		r.fail("send voice: %v", err)
	}
}

// SendVoiceBytes sends any bytes as a decrypted voice packet.
func (r *Raw) SendVoiceBytes(b []byte) {
	if err := r.sendPlain(b); err != nil {
		r.fail("send voice: %v", err)
	}
}

func (r *Raw) sendPlain(b []byte) error {
	r.mu.Lock()
	if !r.useUDP {
		r.mu.Unlock()
		return r.write(control.AppendFrame(nil, control.TypeUDPTunnel, b))
	}
	sealed := r.crypt.Seal(nil, b)
	r.mu.Unlock()
	return r.writeUDP(sealed)
}

// SendDatagram sends any bytes to the server's UDP port.
func (r *Raw) SendDatagram(b []byte) {
	if err := r.writeUDP(b); err != nil {
		r.fail("send datagram: %v", err)
	}
}

func (r *Raw) writeUDP(b []byte) error {
	_, err := r.udp.Write(b)
	var op *net.OpError
	if err != nil && !r.closed(err) && errors.As(err, &op) {
		return nil // "connection refused" of an earlier datagram: loss is ordinary
	}
	return err
}

func (r *Raw) pingUDP() error {
	r.mu.Lock()
	ping := voice.AppendPing(nil, r.Format, &voice.Ping{Timestamp: uint64(time.Now().UnixMilli())})
	sealed := r.crypt.Seal(nil, ping)
	r.mu.Unlock()
	return r.writeUDP(sealed)
}

// closed tells our own Close from a passing error of the socket.
func (r *Raw) closed(err error) bool { return errors.Is(err, net.ErrClosed) }

// Speak sends packets at their own pace, as a transmission with a terminator at
// its end, to the target (0 is speech). It returns when the last one has had its
// time.
func (r *Raw) Speak(packets [][]byte, frame time.Duration, target uint8) {
	// Each packet has its time on the clock: after a hiccup of a busy machine the
	// late ones follow at once, as from a sound card's buffer.
	next := time.NewTimer(0)
	defer next.Stop()
	begin := time.Now()
	step := uint64(frame / (10 * time.Millisecond))
	for i, data := range packets {
		<-next.C
		r.mu.Lock()
		number := r.frame
		r.frame += step
		r.mu.Unlock()
		r.SendVoice(voice.Packet{
			Codec: voice.Opus, Target: target, FrameNumber: number, Data: data,
			Terminator: i == len(packets)-1,
		})
		next.Reset(time.Until(begin.Add(time.Duration(i+1) * frame)))
	}
	<-next.C
}

// Heard returns the voice packets received from the session, in order of
// arrival; session 0 means from everybody.
func (r *Raw) Heard(session uint32) []voice.Packet {
	var out []voice.Packet
	for _, got := range r.All() {
		if got.Voice != nil && (session == 0 || got.Voice.Session == session) {
			out = append(out, *got.Voice)
		}
	}
	return out
}

// WaitHeard waits until n voice packets of the session have been received (0:
// of anybody) and returns all of them.
func (r *Raw) WaitHeard(limit time.Duration, session uint32, n int) []voice.Packet {
	var heard []voice.Packet
	if !until(limit, func() bool { heard = r.Heard(session); return len(heard) >= n }) {
		r.fail("heard %d voice packets within %v, want %d", len(heard), limit, n)
	}
	return heard
}

// Stats are the cipher's counters.
func (r *Raw) Stats() crypt.Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crypt.Stats()
}

// Echoes counts the UDP pings that came back.
func (r *Raw) Echoes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pings
}

// Bad counts datagrams that did not open and voice that did not parse.
func (r *Raw) Bad() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}
