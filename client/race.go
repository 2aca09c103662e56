package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// race connects to a host that has several addresses (RFC 8305, Happy Eyeballs):
// both families are looked up at once, IPv6 begins, families alternate, and an
// attempt that has neither succeeded nor failed after attemptDelay gets company.
// The first connection wins. It is one loop; lookups and attempts report to it.
type race struct {
	net  *Net
	port uint16

	found    chan lookup
	ended    chan attempt
	lookups  int // under way
	attempts int // under way

	waiting [2][]netip.Addr // not yet tried: IPv6, IPv4
	turn    int             // whose family is next
	unknown error           // why a lookup failed
	failed  error           // why attempts did
}

type lookup struct {
	family int // index into race.waiting
	addrs  []netip.Addr
	err    error
}

type attempt struct {
	conn net.Conn
	err  error
}

// families are the networks of race.waiting.
var families = [2]string{"ip6", "ip4"}

// dialPlace connects to one place.
func (n *Net) dialPlace(ctx context.Context, p place) (net.Conn, error) {
	if a, err := netip.ParseAddr(p.host); err == nil {
		return n.dialTCP(ctx, netip.AddrPortFrom(a, p.port))
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &race{net: n, port: p.port, found: make(chan lookup), ended: make(chan attempt)}
	for i := range families {
		r.lookups++
		go r.lookUp(ctx, i, p.host)
	}
	conn := r.run(ctx)
	cancel()
	r.finish()
	switch {
	case conn != nil:
		return conn, nil
	case r.failed != nil:
		return nil, r.failed
	case r.unknown != nil:
		return nil, r.unknown
	}
	return nil, ctx.Err()
}

func (r *race) lookUp(ctx context.Context, family int, host string) {
	addrs, err := r.net.resolver().LookupNetIP(ctx, families[family], host)
	r.found <- lookup{family, addrs, err}
}

func (r *race) connect(ctx context.Context, a netip.Addr) {
	conn, err := r.net.dialTCP(ctx, netip.AddrPortFrom(a.Unmap(), r.port))
	r.ended <- attempt{conn, err}
}

// run returns the connection that won, or nil.
func (r *race) run(ctx context.Context) net.Conn {
	start := time.NewTimer(0) // runs out when the next attempt may begin
	start.Stop()
	defer start.Stop()
	var began time.Time // the last attempt; zero: none yet
	for r.lookups+r.attempts+r.left() > 0 {
		select {
		case <-ctx.Done():
			return nil
		case l := <-r.found:
			r.lookups--
			also(&r.unknown, l.err)
			r.waiting[l.family] = l.addrs
			switch {
			case !began.IsZero() && r.attempts > 0:
				start.Reset(max(0, time.Until(began.Add(attemptDelay))))
			case !began.IsZero() || r.lookups == 0 || families[l.family] == "ip6":
				start.Reset(0)
			default:
				start.Reset(resolutionDelay)
			}
		case a := <-r.ended:
			r.attempts--
			if a.err == nil {
				return a.conn
			}
			also(&r.failed, a.err)
			start.Reset(0)
		case <-start.C:
			if a, ok := r.next(); ok {
				began = time.Now()
				r.attempts++
				go r.connect(ctx, a)
				start.Reset(attemptDelay)
			}
		}
	}
	return nil
}

// also adds a reason to others; both families fail alike for a wrong name.
func also(reasons *error, err error) {
	switch {
	case err == nil:
	case *reasons == nil:
		*reasons = err
	case (*reasons).Error() != err.Error():
		*reasons = fmt.Errorf("%w; %w", *reasons, err)
	}
}

func (r *race) left() int { return len(r.waiting[0]) + len(r.waiting[1]) }

// next takes the address to be tried next: families alternate while both have some.
func (r *race) next() (netip.Addr, bool) {
	family := r.turn
	if len(r.waiting[family]) == 0 {
		family = 1 - family
	}
	if len(r.waiting[family]) == 0 {
		return netip.Addr{}, false
	}
	a := r.waiting[family][0]
	r.waiting[family] = r.waiting[family][1:]
	r.turn = 1 - family
	return a, true
}

// finish waits for what is under way, whose context has ended.
func (r *race) finish() {
	for r.lookups+r.attempts > 0 {
		select {
		case <-r.found:
			r.lookups--
		case a := <-r.ended:
			r.attempts--
			if a.err == nil {
				a.conn.Close()
			}
		}
	}
}
