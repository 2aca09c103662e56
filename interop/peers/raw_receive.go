package peers

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Received is one thing a raw client has received: a control message or a voice
// packet.
type Received struct {
	Time    time.Time
	Frame   control.Frame // as it came; UDPTunnel for tunnelled voice, empty for UDP
	Message proto.Message // nil for voice and for what does not decode
	Voice   *voice.Packet // nil for control messages
	UDP     bool          // voice came by UDP
}

// maxReceived bounds what one raw client keeps: an hour of speech.
const maxReceived = 200000

func (r *Raw) readTCP() {
	frames := control.NewReader(r.conn, control.MaxLen)
	for {
		f, err := frames.Next()
		r.mu.Lock()
		if err != nil {
			if r.err == nil {
				r.err = fmt.Errorf("peers: connection ended: %w", err)
			}
			r.signal()
			r.mu.Unlock()
			return
		}
		r.take(f)
		r.mu.Unlock()
	}
}

// take files a frame. r.mu is held.
func (r *Raw) take(f control.Frame) {
	got := Received{Time: time.Now(), Frame: f}
	if f.Type == control.TypeUDPTunnel {
		got.Voice = r.parseVoice(f.Body)
	} else if m, err := control.Decode(f); err == nil {
		got.Message = m
		r.learn(m)
	}
	r.keep(got)
}

// learn keeps the state the login and the later waits need. r.mu is held.
func (r *Raw) learn(m proto.Message) {
	switch m := m.(type) {
	case *mumblepb.Version:
		r.ServerVersion = control.VersionOf(m)
		r.Format = voice.FormatFor(uint64(r.ServerVersion), uint64(r.opts.Version))
	case *mumblepb.Reject:
		r.err = &Rejected{m.GetType(), m.GetReason()}
	case *mumblepb.ServerSync:
		r.sync = m
	case *mumblepb.CryptSetup:
		r.setCrypt(m)
	case *mumblepb.ChannelState:
		known := r.chans[m.GetChannelId()]
		if known == nil {
			known = &mumblepb.ChannelState{}
			r.chans[m.GetChannelId()] = known
		}
		links := known.Links
		proto.Merge(known, m)
		known.Links = mergeLinks(links, m)
		known.LinksAdd, known.LinksRemove = nil, nil
	case *mumblepb.ChannelRemove:
		delete(r.chans, m.GetChannelId())
	case *mumblepb.UserState:
		known := r.users[m.GetSession()]
		if known == nil {
			known = &mumblepb.UserState{}
			r.users[m.GetSession()] = known
		}
		proto.Merge(known, m)
	case *mumblepb.UserRemove:
		delete(r.users, m.GetSession())
	}
}

// setCrypt takes keys and nonces, and answers the server's call for ours. r.mu
// is held.
func (r *Raw) setCrypt(m *mumblepb.CryptSetup) {
	switch {
	case m.Key != nil && m.ClientNonce != nil && m.ServerNonce != nil:
		if err := r.crypt.SetKey(m.Key, m.ClientNonce, m.ServerNonce); err != nil {
			r.err = err
		}
		// A 1.5 server takes a legacy client's datagram for a bare ping when
		// its first byte is 1, and loses it: one in 256. Stock clients live
		// with that; a test should not.
		r.crypt.SkipLegacyPing(r.Format == voice.Legacy)
	case m.ServerNonce != nil:
		if err := r.crypt.SetDecryptIV(m.ServerNonce); err != nil {
			r.err = err
		}
	default:
		answer := &mumblepb.CryptSetup{ClientNonce: append([]byte(nil), r.crypt.EncryptIV()...)}
		// Not from here: the reader must not wait for the writer.
		r.work.Go(func() { _ = r.send(answer) })
	}
}

func mergeLinks(links []uint32, m *mumblepb.ChannelState) []uint32 {
	set := map[uint32]bool{}
	if m.Links != nil {
		links = m.Links
	}
	for _, l := range append(append([]uint32{}, links...), m.LinksAdd...) {
		set[l] = true
	}
	for _, l := range m.LinksRemove {
		delete(set, l)
	}
	out := make([]uint32, 0, len(set))
	for l := range set {
		out = append(out, l)
	}
	return out
}

func (r *Raw) readUDP() {
	buf := make([]byte, 4096)
	for {
		n, err := r.udp.Read(buf)
		if err != nil {
			if r.closed(err) {
				return
			}
			continue // a refused port shows up here and passes
		}
		r.mu.Lock()
		plain, err := r.crypt.Open(nil, buf[:n])
		switch {
		case err != nil:
			r.bad++
		case voice.IsPing(plain, r.Format):
			r.pings++
		default:
			if p := r.parseVoice(plain); p != nil {
				r.keep(Received{Time: time.Now(), Voice: p, UDP: true})
			}
		}
		r.signal()
		r.mu.Unlock()
	}
}

// parseVoice returns a packet that owns its bytes, or counts a bad one. r.mu is
// held.
func (r *Raw) parseVoice(b []byte) *voice.Packet {
	var p voice.Packet
	if err := voice.Parse(append([]byte(nil), b...), r.Format, voice.ToClient, &p); err != nil {
		r.bad++
		return nil
	}
	return &p
}

// keep files something received. r.mu is held.
func (r *Raw) keep(got Received) {
	if len(r.in) < maxReceived {
		r.in = append(r.in, got)
	}
	r.signal()
}

// signal wakes those who wait. r.mu is held.
func (r *Raw) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// until waits until ok, asked with r.mu held, is true.
func (r *Raw) until(limit time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		r.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-deadline.C:
			return false
		}
	}
}
