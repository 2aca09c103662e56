package guard

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// Config says which server, with what protection, and where to listen.
type Config struct {
	// Address is the server, HOST:PORT. With SRV, for who typed no port, the records
	// of the host say where it is; Net is the network that leads there, with a proxy
	// perhaps. Whatever they say, the certificate is remembered for Address.
	Address string
	SRV     bool
	Net     client.Net
	// Listen are the addresses to listen on, HOST:PORT; loopback only. Port 0
	// takes a free port, the same for all of them.
	Listen []string
	// Policy and Secret rule the encryption, as in client.Config: without a secret
	// keys are agreed on automatically, a secret protects alone, or with GroupSecret
	// is mixed into the agreed keys. Named are the people who must hold a secret
	// before anything leaves; empty: one holder is enough.
	Policy      e2ee.Policy
	Secret      string
	GroupSecret bool
	Named       []string
	// Open opens TCP and UDP with one port on a loopback address, and Wall is the wall
	// clock, which goes on while the computer sleeps; nil: the system's.
	Open func(ip net.IP, port string) (net.Listener, client.PacketConn, error)
	Wall func() time.Time
	// Store is the whole state directory, Server its record of this server.
	Store  *keystore.Store
	Server *keystore.Server
	// Accept is SHA-256 of a new server certificate that the person has
	// compared; it replaces the remembered one. Nil: none.
	Accept *[32]byte
	// AcceptClient is SHA-256 of the certificate of another Mumble client that
	// this guard shall belong to from now on. Nil: none.
	AcceptClient *[32]byte
	// Name and Password are a login of the server that the person gave to us: the
	// password goes with that name where the client gives none.
	Name, Password string
	// HideCertificate shows the server no certificate, whatever the client shows
	// guard: who hides theirs in the client stays hidden.
	HideCertificate bool
	// Log and Events receive what happens; both may be nil.
	Log    *slog.Logger
	Events func(events.Event)
}

// Bounds of the downstream side.
const (
	maxHandshakes    = 8 // clients between TCP accept and Authenticate
	handshakeTimeout = 10 * time.Second
	loginTimeout     = 20 * time.Second
	answerWait       = 5 * time.Second // for Yes or No about our certificate, until we say what to do
	udpBuffer        = 1 << 20
	maxDatagrams     = 256
	closeGrace       = 500 * time.Millisecond
)

// Guard is one running guard. Run owns everything; the other methods may be
// called from any goroutine.
type Guard struct {
	cfg      Config
	log      *slog.Logger
	cert     tls.Certificate
	tcp      []net.Listener
	udp      []client.PacketConn
	port     uint16
	arrivals chan *arrival
	// turnedAway are clients that went without a login, as far as Run looks.
	turnedAway chan struct{}
	datagrams  chan *client.Datagram
	overrun    atomic.Uint64
	greeted    greeted       // clients that are not in yet
	came       atomic.Uint64 // connections to the listeners
	loggedIn   atomic.Uint64 // those of them that came as far as Authenticate
	listPings  chan struct{} // tokens of questions under way
	wg         sync.WaitGroup

	// Owned by Check, and then by Run.
	chain [][]byte      // that the server showed last, in DER
	first string        // line about the server's certificate, until a client was told
	fresh *events.Event // the same for programs, until it was said

	remote netip.AddrPort // where the server was last, for the questions of server lists; invalid: unknown, or by proxy

	// Owned by Run.
	ends         client.Endpoints
	memory       client.Memory
	lastListPing time.Time
	refusals     lineBucket
	refused      refusal // the server's last refusal that guard answers by itself
	publicSaid   bool    // that comments and descriptions are for all to read
}

// New opens the listeners. Nothing is accepted before Run.
func New(cfg Config) (*Guard, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Events == nil {
		cfg.Events = func(events.Event) {}
	}
	if cfg.Open == nil {
		cfg.Open = open
	}
	cert, err := cfg.Server.TLSCertificate()
	if err != nil {
		return nil, err
	}
	g := &Guard{
		cfg: cfg, log: cfg.Log, cert: cert,
		arrivals: make(chan *arrival), turnedAway: make(chan struct{}, 1),
		datagrams: make(chan *client.Datagram, maxDatagrams),
		listPings: make(chan struct{}, maxListPings),
	}
	if g.ends, err = endpoints(cfg); err != nil {
		return nil, err
	}
	g.memory = client.Memory{Book: g.ends.Book, Merge: cfg.Store.MergeTrust}
	if err := g.listen(); err != nil {
		g.closeListeners()
		return nil, err
	}
	return g, nil
}

// endpoints reads what groups want of the state directory: the device key, and what
// is remembered of people.
func endpoints(cfg Config) (client.Endpoints, error) {
	ends := client.Endpoints{
		Policy: cfg.Policy, Secret: cfg.Secret, GroupSecret: cfg.GroupSecret, Named: cfg.Named, Address: cfg.Server.Address(),
	}
	if cfg.Policy == e2ee.PolicyOff {
		return ends, nil
	}
	if cfg.GroupSecret && cfg.Secret == "" {
		return ends, client.ErrNoSecret
	}
	var err error
	if ends.Device, err = cfg.Store.Device(); err != nil {
		return ends, err
	}
	ends.Book, err = cfg.Store.Trust()
	return ends, err
}

// listen opens TCP and UDP on all addresses with one port number.
func (g *Guard) listen() error {
	const attempts = 20 // only a free port chosen by the system can be taken elsewhere
	var err error
	for range attempts {
		g.closeListeners()
		g.port = 0
		if err = g.listenOnce(); err == nil || !g.anyPort() {
			return err
		}
	}
	return err
}

func (g *Guard) anyPort() bool {
	for _, a := range g.cfg.Listen {
		if _, p, err := net.SplitHostPort(a); err != nil || p != "0" {
			return false
		}
	}
	return true
}

func (g *Guard) listenOnce() error {
	for _, addr := range g.cfg.Listen {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return err
		}
		ip := net.ParseIP(host)
		if ip == nil || !ip.IsLoopback() {
			return fmt.Errorf("guard: %s is not a loopback address", addr)
		}
		if port == "0" && g.port != 0 {
			port = strconv.Itoa(int(g.port))
		}
		l, u, err := g.cfg.Open(ip, port)
		if err != nil {
			return err
		}
		g.tcp, g.udp = append(g.tcp, l), append(g.udp, u)
		g.port = uint16(l.Addr().(*net.TCPAddr).Port)
	}
	if len(g.tcp) == 0 {
		return errors.New("guard: nowhere to listen")
	}
	return nil
}

// open is Config.Open of the system.
func open(ip net.IP, port string) (net.Listener, client.PacketConn, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), port))
	if err != nil {
		return nil, nil, err
	}
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: l.Addr().(*net.TCPAddr).Port})
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	u.SetReadBuffer(udpBuffer) // best effort
	u.SetWriteBuffer(udpBuffer)
	return l, u, nil
}

func (g *Guard) closeListeners() {
	for _, l := range g.tcp {
		l.Close()
	}
	for _, u := range g.udp {
		u.Close()
	}
	g.tcp, g.udp = nil, nil
}

// Port is the port that the stock client connects to.
func (g *Guard) Port() uint16 { return g.port }

// Link is where the stock client connects: the first of the addresses listened on.
func (g *Guard) Link() string {
	host, _, _ := net.SplitHostPort(g.cfg.Listen[0]) // New has split it
	return "mumble://" + net.JoinHostPort(host, strconv.Itoa(int(g.port))) + "/?version=1.2.0"
}

// Certificate is what the stock client will be shown, in DER.
func (g *Guard) Certificate() []byte { return g.cert.Certificate[0] }

// Came returns how many connections reached the listeners since the beginning, and
// how many of them logged in: whoever started a client wants to know whether it
// came here, or stopped at guard's certificate.
func (g *Guard) Came() (connections, logins uint64) { return g.came.Load(), g.loggedIn.Load() }

// Close closes the listeners of a guard that is not run; Run closes its own.
func (g *Guard) Close() { g.closeListeners() }

// Check connects to the server once, checks its certificate against the pin,
// stretches the secret, and leaves. It finds out at the start, and not when
// the client comes, that the server is away or has changed.
func (g *Guard) Check(ctx context.Context) error {
	link, err := g.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer link.Close(0)
	_, err = g.ends.For(link.Server())
	return err
}

func (g *Guard) dial(ctx context.Context, cert *tls.Certificate) (*client.Link, error) {
	link, err := client.DialLink(ctx, time.Now(), client.LinkConfig{
		Address: g.cfg.Address, SRV: g.cfg.SRV, Net: g.cfg.Net, Certificate: cert, CheckServer: g.checkServer,
		CheckChain: func(chain [][]byte) error { g.chain = chain; return nil }, // comes before checkServer
	})
	if err == nil {
		g.remote = link.Remote()
	}
	return link, err
}

// checkServer holds the server's certificate against the pin, or against the
// one that the person has accepted in its place.
func (g *Guard) checkServer(der []byte) error {
	_, known, err := g.cfg.Server.Pin()
	if err != nil {
		return err
	}
	err = g.cfg.Server.CheckPin(der)
	if err == nil && !known {
		g.firstContact(der)
	}
	var changed *keystore.PinError
	if errors.As(err, &changed) && g.cfg.Accept != nil && changed.New == *g.cfg.Accept {
		return g.cfg.Server.ReplacePin(der, *g.cfg.Accept)
	}
	return err
}

// firstContact says with which certificate the server is remembered, and what speaks
// against it: the stock client would ask about that, and sees only guard's own.
func (g *Guard) firstContact(der []byte) {
	host, _, _ := net.SplitHostPort(g.cfg.Address)
	sum := keystore.Fingerprint(sha256.Sum256(der))
	trouble := client.CertificateTrouble(host, g.chain, time.Now())
	g.fresh = &events.Event{Event: "server_pinned", Fingerprint: sum, Reason: trouble}
	g.first = "First contact with this server: its certificate is remembered from now on. "
	if trouble != "" {
		g.first += "Compare it with the server's owner, for " + trouble + ". "
	}
	g.first += "Its fingerprint: " + sum + "."
}

// sayPinned emits what firstContact found, once Run has begun.
func (g *Guard) sayPinned() {
	if g.fresh != nil {
		g.emit(*g.fresh)
		g.fresh = nil
	}
}

// Run serves clients, one at a time, until the context ends. It returns when
// everything it started has ended.
func (g *Guard) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	for _, l := range g.tcp {
		g.wg.Go(func() { g.accept(ctx, l) })
	}
	for _, u := range g.udp {
		g.wg.Go(func() { g.readUDP(u) })
	}
	g.emit(events.Event{Event: "listening", Port: g.port, Policy: g.cfg.Policy.String()})
	g.sayPinned()
	defer g.wg.Wait()
	defer g.closeListeners()
	defer cancel()
	var next *arrival
	var asked undecided
	for {
		if next != nil {
			a := next
			asked.decided()
			next = g.serve(ctx, a)
			select {
			case <-g.turnedAway: // somebody else, while a client was here
			default:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case a := <-g.arrivals:
			next = a
		case <-g.turnedAway:
			asked.begin()
		case <-asked.over():
			asked.decided()
			g.emitRefusal(events.Event{Event: "client_undecided", Text: g.Link()})
		case d := <-g.datagrams:
			g.listPing(time.Now(), d)
			d.Free()
		}
	}
}

func (g *Guard) readUDP(u client.PacketConn) {
	for {
		d := client.NewDatagram()
		n, from, err := u.ReadFromUDPAddrPort(d.Buffer())
		if err != nil {
			d.Free()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		d.B, d.From, d.Sock = d.Buffer()[:n], from, u
		select {
		case g.datagrams <- d:
		default:
			g.overrun.Add(1)
			d.Free()
		}
	}
}

// reject answers a client that is not let in and closes it. The stock client
// prints the reason and tries again after 10 s; it adds the full stop itself.
func reject(c *client.Conn, reason string) {
	t := mumblepb.Reject_None
	c.SendMessage(&mumblepb.Reject{Type: &t, Reason: &reason})
	c.Close(closeGrace)
}
