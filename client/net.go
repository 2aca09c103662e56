package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Resolver looks names up, as *net.Resolver does.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Net is the network as a Link uses it: who is asked for names, and who opens
// sockets. The zero value is the system's, without a proxy.
type Net struct {
	Resolver Resolver
	// DialTCP connects to one address; what it returns is marked for its traffic
	// class if it is of the system. DialUDP makes a socket to one address.
	DialTCP func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	DialUDP func(to netip.AddrPort) (net.Conn, error)
	// Source is the own address from which packets to another one leave now; not ok:
	// there is no way, for the moment. It sends nothing.
	Source func(to netip.AddrPort) (from netip.Addr, ok bool)
	// Proxy leads everything; nil: none. With it there is TCP only: no name but the
	// proxy's own is looked up and nothing is sent to anybody but the proxy.
	Proxy *Proxy
}

// Times of connecting.
const (
	srvWait         = 3 * time.Second        // for the SRV record; after that the host as typed
	resolutionDelay = 50 * time.Millisecond  // RFC 8305 section 3: AAAA may come this much later than A
	attemptDelay    = 250 * time.Millisecond // RFC 8305 section 5: between the beginnings of two attempts
)

// ErrOnion means that a name of Tor's was typed without a proxy that leads there.
var ErrOnion = errors.New("client: names under .onion are reached through a proxy only")

// ErrNoService means that the name's owner says that there is no Mumble server: an
// SRV record whose target is the root (RFC 2782).
var ErrNoService = errors.New("client: this name says that it has no Mumble server")

func (n *Net) resolver() Resolver {
	if n.Resolver != nil {
		return n.Resolver
	}
	return net.DefaultResolver
}

func (n *Net) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if n.DialTCP != nil {
		return n.DialTCP(ctx, to)
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err == nil {
		mark(c, classControl)
	}
	return c, err
}

func (n *Net) dialUDP(to netip.AddrPort) (net.Conn, error) {
	if n.DialUDP != nil {
		return n.DialUDP(to)
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	c.SetReadBuffer(udpBuffer) // best effort: the system may allow less
	c.SetWriteBuffer(udpBuffer)
	mark(c, classVoice)
	return c, nil
}

func (n *Net) source(to netip.AddrPort) (from netip.Addr, ok bool) {
	if n.Source != nil {
		return n.Source(to)
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)) // which only looks at the routes
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return a.AddrPort().Addr().Unmap(), true
}

// UDP makes a socket to a server, for questions beside a Link. With a proxy there
// is none.
func (n *Net) UDP(to netip.AddrPort) (net.Conn, error) {
	if n.Proxy != nil {
		return nil, errors.New("client: no UDP through a proxy")
	}
	return n.dialUDP(to)
}

// isOnion reports whether DNS must not be asked for a name. RFC 7686 section 2:
// "applications that do not implement the Tor protocol SHOULD generate an error upon
// the use of .onion and SHOULD NOT perform a DNS lookup."
func isOnion(name string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(name, ".")), ".onion")
}

// dial connects to a server by its typed address, HOST:PORT. With srv the host's
// SRV records rule, if it has any; then the port counts only without them.
func (n *Net) dial(ctx context.Context, address string, srv bool) (net.Conn, error) {
	if n.Proxy != nil {
		return n.Proxy.dial(ctx, n, address)
	}
	typed, err := parsePlace(address)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(strings.TrimSuffix(typed.host, "."))
	if isOnion(name) {
		return nil, ErrOnion
	}
	places := []place{typed}
	// RFC 6761 section 6.3: localhost is nobody's to ask for.
	if srv && !isAddress(name) && name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		if places, err = n.places(ctx, typed); err != nil {
			return nil, err
		}
	}
	var failed error
	for i, p := range places {
		c, err := n.dialShare(ctx, p, len(places)-i)
		if err == nil {
			return c, nil
		}
		if p != typed {
			err = fmt.Errorf("%s: %w", p, err)
		}
		also(&failed, err)
	}
	return nil, failed
}

// dialShare connects within an equal share of the time that is left to some places:
// one that swallows everything must not keep us from the next.
func (n *Net) dialShare(ctx context.Context, p place, places int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok && places > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(places))
		defer cancel()
	}
	return n.dialPlace(ctx, p)
}

// place is where a server listens: a host, not yet looked up, and a port.
type place struct {
	host string
	port uint16
}

func (p place) String() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

func parsePlace(address string) (place, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return place{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return place{}, fmt.Errorf("client: %q is no port", port)
	}
	return place{host, uint16(n)}, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
