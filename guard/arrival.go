package guard

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// arrival is a client that has said who it is: TLS done, Version and
// Authenticate received. Nothing has been sent upstream for it yet.
type arrival struct {
	conn    *client.Conn
	cert    []byte // DER of the client's certificate; nil: it showed none
	version *mumblepb.Version
	auth    *mumblepb.Authenticate
}

func (g *Guard) accept(ctx context.Context, l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, or aborted
			continue
		}
		g.came.Add(1)
		g.greeted.add(nc)
		g.wg.Go(func() {
			defer g.greeted.remove(nc)
			g.greet(ctx, nc)
		})
	}
}

// greeted are the connections between accept and login, oldest first. Whoever
// opens many and says nothing pushes out his own, not the owner's Mumble, which
// needs a few milliseconds.
type greeted struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (h *greeted) add(nc net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conns) >= maxHandshakes {
		h.conns[0].Close()
		h.conns = slices.Delete(h.conns, 0, 1)
	}
	h.conns = append(h.conns, nc)
}

func (h *greeted) remove(nc net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(c net.Conn) bool { return c == nc })
}

// greet brings one TCP connection to the point where it is an arrival.
func (g *Guard) greet(ctx context.Context, nc net.Conn) {
	spoke := false
	tc := tls.Server(nc, &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			spoke = true
			return nil, nil
		},
		Certificates: []tls.Certificate{g.cert},
		MinVersion:   tls.VersionTLS12,
		// Asked for and not verified: a Mumble certificate is self-signed. What
		// counts is whether it is the pinned one.
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
	})
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := tc.HandshakeContext(hctx); err != nil {
		nc.Close()
		g.log.Info("client handshake failed", "error", err)
		if spoke {
			g.turnAway()
		}
		return
	}
	a := &arrival{conn: client.NewConn(tc)}
	if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 {
		a.cert = certs[0].Raw
	}
	if err := a.login(ctx); err != nil {
		a.conn.Close(0)
		g.turnAway()
		return
	}
	g.loggedIn.Add(1)
	select {
	case g.arrivals <- a:
	case <-ctx.Done():
		a.conn.Close(0)
	}
}

// turnAway notes that somebody began TLS and did not log in. That is what a stock
// client does while it asks its person about guard's certificate, and all it does if
// the answer is No, which is what Enter chooses.
func (g *Guard) turnAway() {
	select {
	case g.turnedAway <- struct{}{}:
	default:
	}
}

// undecided is who was turned away last. Owned by Run.
type undecided struct{ timer *time.Timer }

// begin starts the time in which the person may still say Yes.
func (u *undecided) begin() {
	if u.timer == nil {
		u.timer = time.NewTimer(answerWait)
	}
}

// over is the end of that time; nil, which never comes, if none runs.
func (u *undecided) over() <-chan time.Time {
	if u.timer == nil {
		return nil
	}
	return u.timer.C
}

// decided forgets who was turned away.
func (u *undecided) decided() {
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
}

// login reads until Authenticate. Version may be missing; then the client
// counts as older than all that matter.
func (a *arrival) login(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f, ok := <-a.conn.Frames():
			if !ok {
				return a.conn.Err()
			}
			if f.Type != control.TypeVersion && f.Type != control.TypeAuthenticate {
				continue // before login Murmur ignores everything else
			}
			m, err := control.Decode(f)
			if err != nil {
				return err
			}
			switch m := m.(type) {
			case *mumblepb.Version:
				a.version = m
			case *mumblepb.Authenticate:
				a.auth = m
				return nil
			}
		}
	}
}

const stateTrouble = "Sotto has trouble with its state directory, see the guard's own window"

// admit decides whether this client may use this guard. Loopback is no user
// boundary: other users of the machine reach the port too, so the certificate
// that was shown first is the only one. It returns the words of the refusal.
func (g *Guard) admit(a *arrival) string {
	pin, pinned, err := g.cfg.Server.ClientPin()
	switch {
	case err != nil:
		g.log.Error("client pin", "error", err)
		return stateTrouble
	case !pinned && a.cert == nil:
		g.emit(events.Event{Event: "client_uncertified"})
		return ""
	case !pinned:
		if err := g.cfg.Server.PinClient(a.cert); err != nil {
			g.log.Error("client pin", "error", err)
			return stateTrouble
		}
		g.emit(events.Event{Event: "client_pinned", Fingerprint: keystore.Fingerprint(sha256.Sum256(a.cert))})
		return ""
	case a.cert == nil:
		return "this guard belongs to a Mumble with a certificate, and yours shows none"
	}
	sum := sha256.Sum256(a.cert)
	if sum == pin {
		return ""
	}
	if want := g.cfg.AcceptClient; want != nil && *want == sum {
		if err := g.cfg.Server.ReplaceClientPin(a.cert, sum); err != nil {
			g.log.Error("client pin", "error", err)
			return stateTrouble
		}
		return ""
	}
	g.emitRefusal(events.Event{Event: "client_unknown", Fingerprint: keystore.Fingerprint(sum)})
	return "this guard belongs to another Mumble"
}

// replaces reports whether b may take the place of a: it is the same client,
// which came back before we noticed that it was gone.
func (b *arrival) replaces(a *arrival) bool {
	if a.cert == nil || b.cert == nil {
		// Two who show nothing may be two users of this computer.
		return false
	}
	return sha256.Sum256(a.cert) == sha256.Sum256(b.cert)
}
