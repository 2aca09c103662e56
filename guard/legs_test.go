package guard_test

import (
	"bytes"
	"net"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Pings are answered by guard's own clock when the server is slow, with the
// client's number, and by the figures of the client's leg.
func TestPings(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	call.settled()
	start := time.Now()
	call.client.send(&mumblepb.Ping{Timestamp: proto.Uint64(1 << 63)})
	pong, _ := until[*mumblepb.Ping](call.client) // the scripted server answers none
	if pong.GetTimestamp() != 1<<63 || pong.Good == nil || pong.Resync == nil {
		t.Errorf("pong %v", pong)
	}
	if d := time.Since(start); d < 2*time.Second || d > 5*time.Second {
		t.Errorf("answered after %v", d)
	}
}

// The two legs have keys of their own: a CryptSetup of one is never seen at the other.
func TestCrypt(t *testing.T) {
	call := newStage(t, options{policy: e2ee.PolicyOff}).logIn(v15, v15, nil)
	call.settled()
	var up crypt.CryptState
	up.GenerateKey()
	call.server.send(&mumblepb.CryptSetup{Key: up.Key(), ClientNonce: up.DecryptIV(), ServerNonce: up.EncryptIV()})
	setup, _ := until[*mumblepb.CryptSetup](call.client)
	if len(setup.GetKey()) != 16 || bytes.Equal(setup.GetKey(), up.Key()) || bytes.Equal(setup.GetClientNonce(), up.DecryptIV()) {
		t.Errorf("the client gets %v", setup)
	}
	var down crypt.CryptState
	if err := down.SetKey(setup.GetKey(), setup.GetClientNonce(), setup.GetServerNonce()); err != nil {
		t.Fatal(err)
	}
	// Its question for a nonce is answered here.
	call.client.send(&mumblepb.CryptSetup{})
	answer, _ := until[*mumblepb.CryptSetup](call.client)
	if !bytes.Equal(answer.GetServerNonce(), setup.GetServerNonce()) || answer.Key != nil {
		t.Errorf("the answer is %v", answer)
	}
	if got := call.goesUp(); len(got) != 0 {
		t.Errorf("the server gets %v", got)
	}

	// Voice by UDP: from the client to guard, and from there by the server's key.
	sock, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", portOf(call.stage)))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	b, err := voice.Append(nil, voice.Protobuf, voice.ToServer, &voice.Packet{Codec: voice.Opus, FrameNumber: 2, Data: speech(5)})
	if err != nil {
		t.Fatal(err)
	}
	// The scripted server answers no UDP ping, so guard uses the tunnel upstream.
	for {
		if _, err := sock.Write(down.Seal(nil, b)); err != nil {
			t.Fatal(err)
		}
		f := call.server.next()
		if f.Type != control.TypeUDPTunnel {
			continue
		}
		var p voice.Packet
		if err := voice.Parse(f.Body, voice.Protobuf, voice.ToServer, &p); err != nil || !bytes.Equal(p.Data, speech(5)) {
			t.Errorf("%+v, %v", p, err)
		}
		break
	}
	// From now on guard knows where the client's UDP is, and answers there.
	back, err := voice.Append(nil, voice.Protobuf, voice.ToClient, &voice.Packet{Codec: voice.Opus, Session: bobby, Data: speech(6)})
	if err != nil {
		t.Fatal(err)
	}
	call.server.conn.Send(control.TypeUDPTunnel, back)
	in := make([]byte, 2048)
	sock.SetReadDeadline(time.Now().Add(patience))
	n, err := sock.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := down.Open(nil, in[:n])
	if err != nil {
		t.Fatal(err)
	}
	var p voice.Packet
	if err != nil || voice.Parse(plain, voice.Protobuf, voice.ToClient, &p) != nil || !bytes.Equal(p.Data, speech(6)) {
		t.Errorf("%+v, %v", p, err)
	}
	// A UDP ping is answered by guard's own clock when the server answers none.
	if _, err := sock.Write(down.Seal(nil, voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: 4711}))); err != nil {
		t.Fatal(err)
	}
	sock.SetReadDeadline(time.Now().Add(patience))
	if n, err = sock.Read(in); err != nil {
		t.Fatal(err)
	}
	var pong voice.Ping
	if plain, err = down.Open(nil, in[:n]); err != nil || voice.ParsePing(plain, voice.Protobuf, &pong) != nil || pong.Timestamp != 4711 {
		t.Errorf("pong %+v, %v", pong, err)
	}
}

func portOf(s *stage) string { return strconv.Itoa(int(s.guard.Port())) }

// The server list's question goes to the real server under another number.
func TestListPing(t *testing.T) {
	s := newStage(t, options{policy: e2ee.PolicyRequire})
	s.logIn(v15, v15, nil) // from now on guard knows where the server is
	asked := make(chan uint64, 8)
	tell := func(ident uint64) {
		select {
		case asked <- ident:
		default: // asked more often than is looked at
		}
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		b := make([]byte, 2048)
		for {
			n, from, err := s.udp.ReadFromUDP(b)
			if err != nil {
				return
			}
			if ident, err := voice.ParseListPing(b[:n]); err == nil {
				tell(ident)
				s.udp.WriteToUDP(voice.AppendListPong(nil, voice.ListPong{Version: 0x010304, Ident: ident, Users: 3, MaxUsers: 9, MaxBandwidth: 72000}), from)
				continue
			}
			var p voice.Ping
			if voice.ParsePing(b[:n], voice.Protobuf, &p) == nil && p.RequestExtended {
				tell(p.Timestamp)
				s.udp.WriteToUDP(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{
					Timestamp: p.Timestamp, Extended: true, ServerVersion: uint64(v15), UserCount: 3, MaxUserCount: 9,
				}), from)
			}
		}
	}()
	defer func() { s.udp.Close(); <-served }()
	sock, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", portOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	ask := func(question []byte) []byte {
		t.Helper()
		in := make([]byte, 2048)
		for end := time.Now().Add(patience); time.Now().Before(end); {
			if _, err := sock.Write(question); err != nil {
				t.Fatal(err)
			}
			sock.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // guard answers ten a second
			if n, err := sock.Read(in); err == nil {
				return in[:n]
			}
		}
		t.Fatal("no answer")
		return nil
	}
	const mine = 0x1122334455667788
	pong, err := voice.ParseListPong(ask(voice.AppendListPing(nil, mine)))
	if err != nil || pong.Ident != mine || pong.Users != 3 || pong.MaxUsers != 9 || pong.Version != 0x010304 {
		t.Errorf("the answer is %+v, %v", pong, err)
	}
	if id := <-asked; id == mine {
		t.Error("the server learns the client's number")
	}
	for drained := false; !drained; {
		sock.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := sock.Read(make([]byte, 2048))
		drained = err != nil
	}
	var p voice.Ping
	if err := voice.ParsePing(ask(voice.AppendPing(nil, voice.Protobuf, &voice.Ping{Timestamp: mine, RequestExtended: true})), voice.Protobuf, &p); err != nil || p.Timestamp != mine || p.UserCount != 3 {
		t.Errorf("the answer is %+v, %v", p, err)
	}
}
