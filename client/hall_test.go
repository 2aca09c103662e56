package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// hall is a scripted Mumble server on pipes: it lets people in, tells who is
// where, and relays plugin messages, texts and tunnelled voice.
type hall struct {
	t    testing.TB
	cert tls.Certificate

	mu     sync.Mutex
	guests []*guest
	last   uint32
	dials  []time.Time
	logins []*mumblepb.Authenticate
	heard  []control.Frame // what guests sent, Ping aside

	refuse func(n int) error            // the n-th connection, from 1; nil: none is refused
	reject func(n int) *mumblepb.Reject // the n-th login
	mute   bool                         // says nothing after Authenticate
	frozen bool                         // takes what comes and does nothing
	silent bool                         // connections are not made, nor refused
	curt   bool                         // closes after TLS
	rude   bool                         // closes after its Version
	chatty int                          // instead of letting people in, texts of so many bytes for ever
}

// maxChatter is how often a chatty server speaks.
const maxChatter = 20_000

type guest struct {
	h       *hall
	conn    *client.Conn
	session uint32
	name    string
	channel uint32
	targets map[uint32][]uint32
}

var lobby = []*mumblepb.ChannelState{
	{ChannelId: proto.Uint32(0), Parent: proto.Uint32(0), Name: proto.String("Root")},
	{ChannelId: proto.Uint32(1), Parent: proto.Uint32(0), Name: proto.String("Lobby")},
	{ChannelId: proto.Uint32(2), Parent: proto.Uint32(1), Name: proto.String("Red team")},
}

func newHall(t testing.TB) *hall {
	t.Helper()
	return &hall{t: t, cert: selfSigned(t)}
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hall"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// config is that of a client which comes to the hall in clear.
func (h *hall) config(name string) client.Config {
	return client.Config{
		Address: "hall.example:64738", Username: name, Dial: h.dial, Policy: 2, // off
		CheckServer: func([]byte) error { return nil },
	}
}

func (h *hall) dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.Lock()
	silent := h.silent
	h.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if network != "tcp" || address != "hall.example:64738" {
		h.t.Errorf("dial %s %s", network, address)
	}
	h.dials = append(h.dials, time.Now())
	if h.refuse != nil {
		if err := h.refuse(len(h.dials)); err != nil {
			return nil, err
		}
	}
	ours, theirs := net.Pipe()
	go h.serve(newBuffered(theirs))
	return ours, nil
}

// buffered is the hall's end of a pipe with room, as a socket has it: what the
// client writes is taken at once. Without it two ends that write at the same time
// wait for each other.
type buffered struct {
	net.Conn
	mu    sync.Mutex
	more  *sync.Cond
	bytes []byte
	err   error
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c}
	b.more = sync.NewCond(&b.mu)
	go func() {
		room := make([]byte, 32<<10)
		for {
			n, err := c.Read(room)
			b.mu.Lock()
			b.bytes, b.err = append(b.bytes, room[:n]...), err
			b.more.Broadcast()
			b.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return b
}

func (b *buffered) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.bytes) == 0 && b.err == nil {
		b.more.Wait()
	}
	n := copy(p, b.bytes)
	b.bytes = b.bytes[n:]
	if n == 0 {
		return 0, b.err
	}
	return n, nil
}

func (h *hall) serve(nc net.Conn) {
	tc := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{h.cert}, ClientAuth: tls.RequestClientCert})
	if tc.Handshake() != nil {
		nc.Close()
		return
	}
	g := &guest{h: h, conn: client.NewConn(tc), targets: map[uint32][]uint32{}}
	if h.curt {
		<-g.conn.Frames() // Version
		<-g.conn.Frames() // Authenticate
		g.conn.Close(time.Second)
		return
	}
	v := &mumblepb.Version{Release: proto.String("hall")}
	control.MakeVersion(1, 5, 735).Set(v)
	g.conn.SendMessage(v)
	if h.rude {
		g.conn.Close(time.Second)
		return
	}
	for f := range g.conn.Frames() {
		h.mu.Lock()
		if !h.frame(g, f) {
			h.mu.Unlock()
			g.conn.Close(time.Second)
			break
		}
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	g.conn.Close(0)
	h.gone(g, nil)
}

// gone takes a guest away; h.mu is held.
func (h *hall) gone(g *guest, m *mumblepb.UserRemove) {
	if i := slices.Index(h.guests, g); i >= 0 {
		h.guests = slices.Delete(h.guests, i, i+1)
		if m == nil {
			m = &mumblepb.UserRemove{Session: proto.Uint32(g.session)}
		}
		h.tell(m)
	}
}

func (h *hall) tell(m proto.Message) {
	for _, g := range h.guests {
		g.conn.SendMessage(m)
	}
}

// frame treats one frame; h.mu is held. False ends the connection.
func (h *hall) frame(g *guest, f control.Frame) bool {
	if h.frozen {
		return true
	}
	if f.Type != control.TypePing {
		h.heard = append(h.heard, f)
	}
	if f.Type == control.TypeUDPTunnel {
		h.voice(g, f.Body)
		return true
	}
	m, err := control.Decode(f)
	if err != nil {
		h.t.Errorf("%v: %v", f.Type, err)
		return false
	}
	switch m := m.(type) {
	case *mumblepb.Authenticate:
		if g.session != 0 {
			return true // other tokens
		}
		h.logins = append(h.logins, m)
		if h.reject != nil {
			if r := h.reject(len(h.logins)); r != nil {
				g.conn.SendMessage(r)
				return false
			}
		}
		if h.chatty > 0 {
			words := strings.Repeat("x", h.chatty)
			for range maxChatter {
				if !g.conn.SendMessage(&mumblepb.TextMessage{Message: proto.String(words)}) {
					break
				}
				time.Sleep(time.Millisecond) // the network's pace
			}
			return true
		}
		if !h.mute {
			h.admit(g, m.GetUsername())
		}
	case *mumblepb.Ping:
		g.conn.SendMessage(m)
	case *mumblepb.UserState:
		if m.ChannelId != nil {
			g.channel = m.GetChannelId()
		}
		m.Session, m.Actor = proto.Uint32(g.session), proto.Uint32(g.session)
		h.tell(m)
	case *mumblepb.VoiceTarget:
		delete(g.targets, m.GetId())
		for _, t := range m.GetTargets() {
			g.targets[m.GetId()] = append(g.targets[m.GetId()], t.GetSession()...)
		}
	case *mumblepb.PluginDataTransmission:
		m.SenderSession = proto.Uint32(g.session)
		for _, to := range h.guests {
			if slices.Contains(m.GetReceiverSessions(), to.session) {
				to.conn.SendMessage(m)
			}
		}
	case *mumblepb.TextMessage:
		m.Actor = proto.Uint32(g.session)
		for _, to := range h.guests {
			if to != g && (slices.Contains(m.GetSession(), to.session) || slices.Contains(m.GetChannelId(), to.channel)) {
				to.conn.SendMessage(m)
			}
		}
	}
	return true
}

func (h *hall) admit(g *guest, name string) {
	h.last++
	g.session, g.name = h.last, name
	h.guests = append(h.guests, g)
	for _, c := range lobby {
		g.conn.SendMessage(c)
	}
	for _, other := range h.guests {
		state := &mumblepb.UserState{Session: proto.Uint32(other.session), Name: proto.String(other.name), ChannelId: proto.Uint32(other.channel)}
		g.conn.SendMessage(state)
		if other == g {
			for _, told := range h.guests[:len(h.guests)-1] {
				told.conn.SendMessage(state)
			}
		}
	}
	g.conn.Authenticated()
	g.conn.SendMessage(&mumblepb.ServerSync{Session: proto.Uint32(g.session), MaxBandwidth: proto.Uint32(72000)})
	g.conn.SendMessage(&mumblepb.ServerConfig{AllowHtml: proto.Bool(true), MessageLength: proto.Uint32(5000), ImageMessageLength: proto.Uint32(131072)})
}

func (h *hall) voice(g *guest, body []byte) {
	var p voice.Packet
	if err := voice.Parse(body, voice.Protobuf, voice.ToServer, &p); err != nil {
		h.t.Errorf("voice of %s: %v", g.name, err)
		return
	}
	target := p.Target
	p.Session, p.Target = g.session, 0
	if target != 0 {
		p.Context = voice.ContextWhisper
	}
	b, err := voice.Append(nil, voice.Protobuf, voice.ToClient, &p)
	if err != nil {
		h.t.Error(err)
		return
	}
	for _, to := range h.guests {
		if to != g && (target == 0 && to.channel == g.channel || slices.Contains(g.targets[uint32(target)], to.session)) {
			to.conn.SendVoice(b)
		}
	}
}

// with runs f with the hall at rest.
func (h *hall) with(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// cut ends everybody's connection, as a server that restarts.
func (h *hall) cut() {
	h.with(func() {
		for _, g := range h.guests {
			go g.conn.Close(0)
		}
	})
}

var errNoServer = errors.New("nobody listens there")
