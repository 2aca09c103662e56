package evilserver

import (
	"errors"
	"net"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// cryptSetup ends the cipher of each leg at the proxy. Keys of murmurd become
// keys of our own for the client; nonces stay on their leg. It reports whether m,
// rewritten, goes on.
func (c *Client) cryptSetup(dir voice.Direction, m *mumblepb.CryptSetup) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case dir == voice.ToClient && m.Key != nil:
		if err := c.upper.SetKey(m.Key, m.ClientNonce, m.ServerNonce); err != nil {
			return false // as if it had not come: no UDP
		}
		c.upper.SkipLegacyPing(c.upFormat() == voice.Legacy)
		c.down.GenerateKey()
		proto.Reset(m)
		proto.Merge(m, c.downSetup())
		return true
	case dir == voice.ToClient && m.ServerNonce != nil:
		_ = c.upper.SetDecryptIV(m.ServerNonce) // another length: as if it had not come
	case dir == voice.ToClient:
		answer, err := control.AppendMessage(nil, &mumblepb.CryptSetup{ClientNonce: clone(c.upper.EncryptIV())})
		if err == nil {
			c.out[voice.ToServer].push(entry{frame: answer})
		}
	case m.ClientNonce != nil:
		_ = c.down.SetDecryptIV(m.ClientNonce)
	case c.down.Valid():
		answer, err := control.AppendMessage(nil, &mumblepb.CryptSetup{ServerNonce: clone(c.down.EncryptIV())})
		if err == nil {
			c.out[voice.ToClient].push(entry{frame: answer})
		}
	}
	return false
}

// downSetup says the client's keys, and remembers that. c.mu is held.
func (c *Client) downSetup() *mumblepb.CryptSetup {
	c.setup = &mumblepb.CryptSetup{
		Key: clone(c.down.Key()), ClientNonce: clone(c.down.DecryptIV()), ServerNonce: clone(c.down.EncryptIV()),
	}
	return c.setup
}

// NewKeys gives the client fresh UDP keys, as a server may at any time.
func (c *Client) NewKeys() {
	c.mu.Lock()
	c.down.GenerateKey()
	m := proto.Clone(c.downSetup())
	c.mu.Unlock()
	c.send(voice.ToClient, m, 0)
}

// OldKeys gives the client the same UDP key with the same nonces as the last
// time: a client that obeys encrypts twice with one nonce. It reports whether
// there was a last time.
func (c *Client) OldKeys() bool {
	c.mu.Lock()
	if c.setup == nil {
		c.mu.Unlock()
		return false
	}
	m := proto.Clone(c.setup).(*mumblepb.CryptSetup)
	err := c.down.SetKey(m.Key, m.ServerNonce, m.ClientNonce)
	c.mu.Unlock()
	if err != nil {
		return false
	}
	c.send(voice.ToClient, m, 0)
	return true
}

// downFormat is the voice format towards the client. c.mu is held.
func (c *Client) downFormat() voice.Format {
	return voice.FormatFor(uint64(c.toldClient), uint64(c.saidClient))
}

// upFormat is the voice format towards murmurd. c.mu is held.
func (c *Client) upFormat() voice.Format {
	return voice.FormatFor(uint64(c.saidServer), uint64(c.toldServer))
}

// formats are those a packet comes in and goes out with.
func (c *Client) formats(dir voice.Direction) (in, out voice.Format) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dir == voice.ToServer {
		return c.downFormat(), c.upFormat()
	}
	return c.upFormat(), c.downFormat()
}

// readUDP takes the clients' datagrams.
func (s *Server) readUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an unreachable client shows up here
		}
		s.mu.Lock()
		drop := s.dropUDP
		s.mu.Unlock()
		if drop {
			continue
		}
		if c, plain := s.openDatagram(from, buf[:n]); c != nil {
			c.voice(voice.ToServer, plain, true)
		} else {
			s.strange()
		}
	}
}

// openDatagram finds whose it is: by its address, else by whose key opens it.
func (s *Server) openDatagram(from *net.UDPAddr, datagram []byte) (*Client, []byte) {
	clients := s.Clients()
	for _, known := range []bool{true, false} {
		for _, c := range clients {
			c.mu.Lock()
			at := c.addr != nil && c.addr.Port == from.Port && c.addr.IP.Equal(from.IP)
			if at == known && c.down.Valid() {
				if plain, err := c.down.Open(nil, datagram); err == nil {
					c.addr = from
					c.mu.Unlock()
					return c, plain
				}
			}
			c.mu.Unlock()
		}
	}
	return nil, nil
}

// readUp takes murmurd's datagrams for one client.
func (c *Client) readUp() {
	buf := make([]byte, 4096)
	for {
		n, err := c.up.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a stopped server refuses
		}
		c.s.mu.Lock()
		drop := c.s.dropUDP
		c.s.mu.Unlock()
		if drop {
			continue
		}
		c.mu.Lock()
		var plain []byte
		if c.upper.Valid() {
			plain, err = c.upper.Open(nil, buf[:n])
		}
		c.mu.Unlock()
		if plain == nil || err != nil {
			c.s.strange()
			continue
		}
		c.voice(voice.ToClient, plain, true)
	}
}

// voice takes one decrypted voice packet or ping on its way.
func (c *Client) voice(dir voice.Direction, plain []byte, udp bool) {
	in, out := c.formats(dir)
	if voice.IsPing(plain, in) {
		var p voice.Ping
		if err := voice.ParsePing(plain, in, &p); err != nil {
			c.s.strange()
			return
		}
		c.out[dir].push(entry{plain: voice.AppendPing(nil, out, &p), udp: udp, ping: true})
		return
	}
	var p voice.Packet
	if err := voice.Parse(plain, in, dir, &p); err != nil {
		c.s.strange()
		return
	}
	p.Data = clone(p.Data)
	for _, it := range c.s.judgeVoice(c, dir, p) {
		c.sendVoice(dir, it, udp)
	}
}

func (c *Client) sendVoice(dir voice.Direction, it voiceItem, udp bool) {
	_, out := c.formats(dir)
	b, err := voice.Append(nil, out, dir, &it.p)
	if err != nil {
		c.s.strange()
		return
	}
	c.out[dir].push(entry{plain: b, udp: udp, due: it.delay})
}

// writeVoice sends a voice packet as a datagram, or returns it as a frame for
// the tunnel. Nonces are taken here, in the order of sending.
func (c *Client) writeVoice(dir voice.Direction, e entry) (frame []byte, done bool) {
	tunnel := control.AppendFrame(nil, control.TypeUDPTunnel, e.plain)
	if !e.udp {
		return tunnel, false
	}
	c.s.mu.Lock()
	drop := c.s.dropUDP
	c.s.mu.Unlock()
	c.mu.Lock()
	cipher, addr := &c.upper, c.addr
	if dir == voice.ToClient {
		cipher = &c.down
	}
	if dir == voice.ToClient && addr == nil || !cipher.Valid() {
		c.mu.Unlock()
		return tunnel, e.ping // a ping has no business in the tunnel
	}
	datagram := cipher.Seal(nil, e.plain)
	c.mu.Unlock()
	switch {
	case drop:
	case dir == voice.ToServer: // a lost datagram is a lost datagram
		_, _ = c.up.Write(datagram)
	default:
		_, _ = c.s.udp.WriteToUDP(datagram, addr)
	}
	return nil, true
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
