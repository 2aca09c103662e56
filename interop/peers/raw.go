package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/crypt"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Versions to announce. The announced version decides the voice format.
var (
	Version124 = control.MakeVersion(1, 2, 4)
	Version134 = control.MakeVersion(1, 3, 4)
	Version15  = control.MakeVersion(1, 5, 735)
	Version16  = control.MakeVersion(1, 6, 870)
)

// RawOptions are the settings of a raw client.
type RawOptions struct {
	Version     control.Version // announced; zero announces 1.5.735
	Password    string
	Tokens      []string
	Certificate *Certificate // shown to the server; nil shows none
	UDP         bool         // voice by UDP; otherwise through the TCP tunnel
	Bot         bool         // client_type 1
	NoPing      bool         // never ping by TCP; the server hangs up after 30 s
}

// Raw is a plain Mumble client, written for looking and not for use: it keeps
// everything it receives. Its methods are safe for concurrent use.
type Raw struct {
	Name          string
	Session       uint32
	ServerVersion control.Version
	Format        voice.Format // of its voice, both directions
	CertDER       []byte       // what the server showed

	t    testing.TB // nil: errors are returned only
	opts RawOptions
	conn *tls.Conn
	udp  *net.UDPConn
	quit context.CancelFunc
	work sync.WaitGroup

	sendMu sync.Mutex // one frame at a time on conn

	mu      sync.Mutex
	crypt   crypt.CryptState
	useUDP  bool
	frame   uint64        // next frame number
	changed chan struct{} // closed and replaced whenever something was received
	in      []Received
	users   map[uint32]*mumblepb.UserState
	chans   map[uint32]*mumblepb.ChannelState
	sync    *mumblepb.ServerSync
	pings   int // UDP echoes
	bad     int // datagrams that did not open or parse
	err     error
}

// Rejected is the error of a login the server refused.
type Rejected struct {
	Type   mumblepb.Reject_RejectType
	Reason string
}

func (e *Rejected) Error() string {
	return fmt.Sprintf("peers: login rejected: %v: %s", e.Type, e.Reason)
}

// rawLimit bounds each single wait of a raw client for the server.
const rawLimit = 10 * time.Second

// DialRaw connects and logs in; it fails the test if that does not work. The
// client leaves when the test ends.
func DialRaw(t testing.TB, addr, name string, opts RawOptions) *Raw {
	t.Helper()
	r, err := TryRaw(addr, name, opts)
	if err != nil {
		t.Fatalf("peers: %s at %s: %v", name, addr, err)
	}
	r.t = t
	t.Cleanup(r.Close)
	return r
}

// TryRaw is DialRaw for logins that may fail, with a *Rejected if the server said
// why. The caller closes the client; waits that fail panic, so it is for tests
// that only look at the login.
func TryRaw(addr, name string, opts RawOptions) (*Raw, error) {
	if opts.Version == 0 {
		opts.Version = Version15
	}
	ctx, cancel := context.WithTimeout(context.Background(), rawLimit)
	defer cancel()
	c, err := (&tls.Dialer{Config: insecureConfig(opts.Certificate)}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &Raw{
		Name: name, opts: opts, conn: c.(*tls.Conn),
		changed: make(chan struct{}),
		users:   map[uint32]*mumblepb.UserState{},
		chans:   map[uint32]*mumblepb.ChannelState{},
	}
	r.CertDER = r.conn.ConnectionState().PeerCertificates[0].Raw
	life, quit := context.WithCancel(context.Background())
	r.quit = quit
	if err := r.login(life); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Raw) login(life context.Context) error {
	var err error
	raddr, ok := r.conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return errors.New("peers: not a TCP connection")
	}
	if r.udp, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: raddr.IP, Port: raddr.Port, Zone: raddr.Zone}); err != nil {
		return err
	}
	r.work.Go(r.readTCP)
	r.work.Go(r.readUDP)
	version := &mumblepb.Version{Release: proto.String("raw peer"), Os: proto.String("none"), OsVersion: proto.String("0")}
	if r.opts.Version >= control.MakeVersion(1, 5, 0) {
		r.opts.Version.Set(version)
	} else {
		version.VersionV1 = proto.Uint32(r.opts.Version.V1()) // older ones know no version_v2
	}
	auth := &mumblepb.Authenticate{Username: &r.Name, Tokens: r.opts.Tokens, Opus: proto.Bool(true)}
	if r.opts.Password != "" {
		auth.Password = &r.opts.Password
	}
	if r.opts.Bot {
		auth.ClientType = proto.Int32(1)
	}
	if err := errors.Join(r.send(version), r.send(auth)); err != nil {
		return err
	}
	if !r.until(rawLimit, func() bool { return r.sync != nil && r.crypt.Valid() || r.err != nil }) {
		return errors.New("peers: the server does not finish the login")
	}
	r.mu.Lock()
	err = r.err
	r.Session = r.sync.GetSession()
	r.mu.Unlock()
	if err != nil {
		return err
	}
	r.work.Go(func() { r.keepAlive(life) })
	if r.opts.UDP {
		return r.bindUDP()
	}
	return nil
}

// bindUDP pings by UDP until an echo comes: a 1.5 server loses the first voice
// packet of a client it does not know by address yet.
func (r *Raw) bindUDP() error {
	for range 20 {
		if err := r.pingUDP(); err != nil {
			return err
		}
		if r.until(rawLimit/20, func() bool { return r.pings > 0 || r.err != nil }) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.useUDP = r.err == nil
			return r.err
		}
	}
	return errors.New("peers: no answer to UDP pings (had the server been empty? see Server)")
}

// keepAlive pings every five seconds, as clients do.
func (r *Raw) keepAlive(life context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		// An error here is seen by the readers, too.
		if !r.opts.NoPing {
			_ = r.send(&mumblepb.Ping{Timestamp: proto.Uint64(uint64(time.Now().UnixMicro()))})
		}
		if r.UDP() {
			_ = r.pingUDP()
		}
		select {
		case <-life.Done():
			return
		case <-tick.C:
		}
	}
}

// Send sends a control message.
func (r *Raw) Send(m proto.Message) {
	if err := r.send(m); err != nil {
		r.fail("send %T: %v", m, err)
	}
}

func (r *Raw) send(m proto.Message) error {
	b, err := control.AppendMessage(nil, m)
	if err != nil {
		return err
	}
	return r.write(b)
}

// SendFrame sends a frame with any type and body.
func (r *Raw) SendFrame(typ control.Type, body []byte) {
	if err := r.write(control.AppendFrame(nil, typ, body)); err != nil {
		r.fail("send %v: %v", typ, err)
	}
}

func (r *Raw) write(b []byte) error {
	r.sendMu.Lock()
	defer r.sendMu.Unlock()
	if err := r.conn.SetWriteDeadline(time.Now().Add(rawLimit)); err != nil {
		return err
	}
	_, err := r.conn.Write(b)
	return err
}

// fail ends the test.
func (r *Raw) fail(format string, args ...any) {
	what := fmt.Sprintf("peers: raw client %s: ", r.Name) + fmt.Sprintf(format, args...)
	if r.t == nil {
		panic(what)
	}
	r.t.Helper()
	r.t.Fatal(what)
}

// Close leaves the server and returns when nothing of the client runs any more.
// It may be called twice.
func (r *Raw) Close() {
	r.quit()
	r.conn.Close()
	if r.udp != nil {
		r.udp.Close()
	}
	r.work.Wait()
}
