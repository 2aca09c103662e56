package peers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// tapConn is one client's connection through a Tap. What the Tap learns about it
// is guarded by the Tap's mu.
type tapConn struct {
	id       int
	ends     [2]*tls.Conn // by voice.Direction: the end to write to
	writing  [2]sync.Mutex
	versions [2]control.Version  // by who announced it: direction of the message
	crypts   [2]crypt.CryptState // copies that open what goes in the direction
	gone     bool
}

// serve relays one client until either side ends.
func (p *Tap) serve(client *tls.Conn) error {
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := client.Handshake(); err != nil {
		return fmt.Errorf("the client does not finish the handshake: %w", err)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	up, err := tls.DialWithDialer(dialer, "tcp4", p.server.Addr(), insecureConfig(p.certificate(client)))
	if err != nil {
		return err
	}
	defer up.Close()
	if err := client.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c := &tapConn{}
	c.ends[voice.ToServer], c.ends[voice.ToClient] = up, client
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	c.id = len(p.conns)
	p.conns = append(p.conns, c)
	p.mu.Unlock()

	var way sync.WaitGroup
	var errs [2]error
	for _, dir := range []voice.Direction{voice.ToServer, voice.ToClient} {
		way.Go(func() {
			errs[dir] = p.relay(c, dir)
			c.close() // ends the other way as well
		})
	}
	way.Wait()
	p.mu.Lock()
	c.gone = true
	p.mu.Unlock()
	for _, err := range errs {
		if tooLong := (*control.ErrTooLong)(nil); errors.As(err, &tooLong) {
			return err
		}
	}
	return nil // everything else is how connections end
}

// close ends both sides.
func (c *tapConn) close() {
	for _, end := range c.ends {
		// Not Close: its farewell waits for the other side's buffer.
		end.NetConn().Close()
	}
}

func (c *tapConn) write(dir voice.Direction, b []byte) error {
	c.writing[dir].Lock()
	defer c.writing[dir].Unlock()
	if err := c.ends[dir].SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := c.ends[dir].Write(b)
	return err
}

// relay passes control frames one way and writes them down.
func (p *Tap) relay(c *tapConn, dir voice.Direction) error {
	from := c.ends[1-dir]
	frames := control.NewReader(from, control.MaxLen)
	for {
		f, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.learn(c, dir, f)
		p.record(TapFrame{Conn: c.id, Dir: dir, Frame: f, Format: c.format()})
		filter := p.filter
		p.mu.Unlock()
		pass := []control.Frame{f}
		if filter != nil {
			pass = filter(dir, f)
		}
		var b []byte
		for _, f := range pass {
			b = control.AppendFrame(b, f.Type, f.Body)
		}
		if len(b) > 0 {
			if err := c.write(dir, b); err != nil {
				return err
			}
		}
	}
}

// format is the voice format of the connection. The Tap's mu is held.
func (c *tapConn) format() voice.Format {
	return voice.FormatFor(uint64(c.versions[0]), uint64(c.versions[1]))
}

// learn reads versions and keys. The Tap's mu is held.
func (p *Tap) learn(c *tapConn, dir voice.Direction, f control.Frame) {
	if f.Type != control.TypeVersion && f.Type != control.TypeCryptSetup {
		return
	}
	m, err := control.Decode(f)
	if err != nil {
		return
	}
	switch m := m.(type) {
	case *mumblepb.Version:
		c.versions[dir] = control.VersionOf(m)
	case *mumblepb.CryptSetup:
		c.setCrypt(dir, m)
	}
}

// setCrypt follows the keys: the server gives key and both nonces; either side
// answers an empty CryptSetup with the nonce it sends with. An error leaves the
// copy without a key, and what it cannot open is counted.
func (c *tapConn) setCrypt(dir voice.Direction, m *mumblepb.CryptSetup) {
	up, down := &c.crypts[voice.ToServer], &c.crypts[voice.ToClient]
	switch {
	case dir == voice.ToClient && m.Key != nil:
		_ = up.SetKey(m.Key, m.ServerNonce, m.ClientNonce)
		_ = down.SetKey(m.Key, m.ClientNonce, m.ServerNonce)
	case dir == voice.ToClient && m.ServerNonce != nil:
		_ = down.SetDecryptIV(m.ServerNonce)
	case dir == voice.ToServer && m.ClientNonce != nil:
		_ = up.SetDecryptIV(m.ClientNonce)
	}
}
