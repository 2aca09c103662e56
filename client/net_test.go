package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// atlas is a network on paper: what names mean and how addresses behave. It writes
// down everything that is asked and sent, with the time since its beginning.
type atlas struct {
	srv   []*net.SRV
	names map[string][]string      // "ip4 host" or "ip6 host": addresses
	slow  map[string]time.Duration // how long a lookup ("ip4 host", "srv host") takes
	hosts map[string]host          // by ADDRESS:PORT; else refused

	began time.Time
	log   chan string
	live  chan net.Conn // our ends of connections that were made
}

// host is what is at an address.
type host struct {
	swallows bool // neither answers nor refuses
	after    time.Duration
	serve    func(net.Conn) // nil: takes the connection and says nothing
}

func newAtlas() *atlas {
	return &atlas{
		names: map[string][]string{}, slow: map[string]time.Duration{}, hosts: map[string]host{},
		began: time.Now(), log: make(chan string, 100), live: make(chan net.Conn, 100),
	}
}

func (a *atlas) net() *Net { return &Net{Resolver: a, DialTCP: a.dialTCP, DialUDP: a.dialUDP} }

func (a *atlas) say(format string, args ...any) {
	a.log <- fmt.Sprintf("%v ", time.Since(a.began)) + fmt.Sprintf(format, args...)
}

// said is what was asked and sent so far.
func (a *atlas) said() []string {
	var out []string
	for {
		select {
		case s := <-a.log:
			out = append(out, s)
		default:
			return out
		}
	}
}

func (a *atlas) wait(ctx context.Context, what string) error {
	select {
	case <-time.After(a.slow[what]):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *atlas) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	a.say("srv _%s._%s.%s", service, proto, name)
	if err := a.wait(ctx, "srv "+name); err != nil {
		return "", nil, err
	}
	if len(a.srv) == 0 {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return "", a.srv, nil
}

func (a *atlas) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	if err := a.wait(ctx, network+" "+name); err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, s := range a.names[network+" "+name] {
		out = append(out, netip.MustParseAddr(s))
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return out, nil
}

func (a *atlas) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	a.say("tcp %v", to)
	h, ok := a.hosts[to.String()]
	if !ok {
		return nil, errors.New("refused")
	}
	if h.swallows {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(h.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	if h.serve != nil {
		go h.serve(theirs)
	}
	c := &counted{Conn: ours, to: to}
	a.live <- c
	return c, nil
}

func (a *atlas) dialUDP(to netip.AddrPort) (net.Conn, error) {
	a.say("udp %v", to)
	return nil, errors.New("no UDP on paper")
}

// counted is a connection that knows where it leads and whether it was closed.
type counted struct {
	net.Conn
	to     netip.AddrPort
	closed bool
}

func (c *counted) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.to) }
func (c *counted) Close() error         { c.closed = true; return c.Conn.Close() }

// Where a connection leads, and when which address is tried.
func TestNet(t *testing.T) {
	const v6, w6, v4, w4 = "2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"
	all := func(a *atlas, names ...string) {
		for _, n := range names {
			a.names["ip6 "+n], a.names["ip4 "+n] = []string{v6, w6}, []string{v4, w4}
		}
	}
	open := host{}
	for _, c := range []struct {
		name string
		srv  bool // no port was typed
		set  func(a *atlas)
		want string // where it leads; else the error
		said []string
	}{
		{"IPv6 first", false, func(a *atlas) {
			all(a, "h")
			a.hosts["[2001:db8::1]:64738"] = open
			a.hosts["192.0.2.1:64738"] = open
		}, "[2001:db8::1]:64738", []string{"0s tcp [2001:db8::1]:64738"}},
		{"AAAA dead", false, func(a *atlas) {
			all(a, "h")
			a.hosts["[2001:db8::1]:64738"] = host{swallows: true}
			a.hosts["192.0.2.1:64738"] = open
		}, "192.0.2.1:64738", []string{"0s tcp [2001:db8::1]:64738", "250ms tcp 192.0.2.1:64738"}},
		{"a refusal gives way at once", false, func(a *atlas) {
			all(a, "h")
			a.hosts["192.0.2.1:64738"] = open
		}, "192.0.2.1:64738", []string{"0s tcp [2001:db8::1]:64738", "0s tcp 192.0.2.1:64738"}},
		{"families alternate", false, func(a *atlas) {
			all(a, "h")
			for _, at := range []string{"[2001:db8::1]", "192.0.2.1", "[2001:db8::2]"} {
				a.hosts[at+":64738"] = host{swallows: true}
			}
			a.hosts["192.0.2.2:64738"] = open
		}, "192.0.2.2:64738", []string{
			"0s tcp [2001:db8::1]:64738", "250ms tcp 192.0.2.1:64738", "500ms tcp [2001:db8::2]:64738", "750ms tcp 192.0.2.2:64738",
		}},
		{"the slow first one still wins", false, func(a *atlas) {
			all(a, "h")
			a.hosts["[2001:db8::1]:64738"] = host{after: 300 * time.Millisecond}
			a.hosts["192.0.2.1:64738"] = host{after: time.Second}
		}, "[2001:db8::1]:64738", []string{"0s tcp [2001:db8::1]:64738", "250ms tcp 192.0.2.1:64738"}},
		{"no AAAA answer", false, func(a *atlas) {
			all(a, "h")
			a.slow["ip6 h"] = time.Hour
			a.hosts["192.0.2.1:64738"] = open
		}, "192.0.2.1:64738", []string{"50ms tcp 192.0.2.1:64738"}},
		{"AAAA a little later", false, func(a *atlas) {
			all(a, "h")
			a.slow["ip6 h"] = 40 * time.Millisecond
			a.hosts["[2001:db8::1]:64738"] = open
		}, "[2001:db8::1]:64738", []string{"40ms tcp [2001:db8::1]:64738"}},
		{"AAAA after the first attempt has hung", false, func(a *atlas) {
			all(a, "h")
			a.names["ip4 h"] = []string{v4}
			a.slow["ip6 h"] = time.Second
			a.hosts["192.0.2.1:64738"] = host{swallows: true}
			a.hosts["[2001:db8::1]:64738"] = open
		}, "[2001:db8::1]:64738", []string{"50ms tcp 192.0.2.1:64738", "1s tcp [2001:db8::1]:64738"}},
		{"IPv4 alone", false, func(a *atlas) {
			a.names["ip4 h"] = []string{v4}
			a.hosts["192.0.2.1:64738"] = open
		}, "192.0.2.1:64738", []string{"0s tcp 192.0.2.1:64738"}},
		{"no such host", false, func(a *atlas) {}, "no such host", nil},
		{"nobody answers", false, func(a *atlas) {
			all(a, "h")
			for _, at := range []string{"[2001:db8::1]", "192.0.2.1", "[2001:db8::2]", "192.0.2.2"} {
				a.hosts[at+":64738"] = host{swallows: true}
			}
		}, "deadline", []string{
			"0s tcp [2001:db8::1]:64738", "250ms tcp 192.0.2.1:64738", "500ms tcp [2001:db8::2]:64738", "750ms tcp 192.0.2.2:64738",
		}},

		{"nobody is there", false, func(a *atlas) {
			a.names["ip4 h"] = []string{v4}
		}, "refused", []string{"0s tcp 192.0.2.1:64738"}},
		{"no SRV record: the host as typed", true, func(a *atlas) {
			all(a, "h")
			a.hosts["[2001:db8::1]:64738"] = open
		}, "[2001:db8::1]:64738", []string{"0s srv _mumble._tcp.h.", "0s tcp [2001:db8::1]:64738"}},
		{"SRV", true, func(a *atlas) {
			all(a, "a.h.")
			a.srv = []*net.SRV{{Target: "a.h.", Port: 7}}
			a.hosts["[2001:db8::1]:7"] = open
		}, "[2001:db8::1]:7", []string{"0s srv _mumble._tcp.h.", "0s tcp [2001:db8::1]:7"}},
		{"two targets, the first refuses", true, func(a *atlas) {
			a.names["ip4 a.h."], a.names["ip4 b.h."] = []string{v4}, []string{w4}
			a.srv = []*net.SRV{{Target: "b.h.", Port: 8, Priority: 20}, {Target: "a.h.", Port: 7, Priority: 10}}
			a.hosts["192.0.2.2:8"] = open
		}, "192.0.2.2:8", []string{"0s srv _mumble._tcp.h.", "0s tcp 192.0.2.1:7", "0s tcp 192.0.2.2:8"}},
		{"two targets, the first swallows", true, func(a *atlas) {
			a.names["ip4 a.h."], a.names["ip4 b.h."] = []string{v4}, []string{w4}
			a.srv = []*net.SRV{{Target: "a.h.", Port: 7, Priority: 10}, {Target: "b.h.", Port: 8, Priority: 20}}
			a.hosts["192.0.2.1:7"] = host{swallows: true}
			a.hosts["192.0.2.2:8"] = open
		}, "192.0.2.2:8", []string{"0s srv _mumble._tcp.h.", "0s tcp 192.0.2.1:7", "5s tcp 192.0.2.2:8"}},
		{"SRV leads to .onion, which DNS is not asked for: the host as typed", true, func(a *atlas) {
			all(a, "h")
			all(a, "secret.Onion")
			a.srv = []*net.SRV{{Target: "secret.Onion.", Port: 7}}
			a.hosts["[2001:db8::1]:64738"] = open
		}, "[2001:db8::1]:64738", []string{"0s srv _mumble._tcp.h.", "0s tcp [2001:db8::1]:64738"}},
		{"decidedly no server", true, func(a *atlas) {
			all(a, "h")
			a.srv = []*net.SRV{{Target: "."}}
		}, ErrNoService.Error(), []string{"0s srv _mumble._tcp.h."}},
		{"an SRV answer that never comes", true, func(a *atlas) {
			all(a, "h")
			a.slow["srv h."] = time.Hour
			a.hosts["[2001:db8::1]:64738"] = open
		}, "[2001:db8::1]:64738", []string{"0s srv _mumble._tcp.h.", "3s tcp [2001:db8::1]:64738"}},
		{"a typed port asks for no SRV", false, func(a *atlas) {
			all(a, "h")
			a.srv = []*net.SRV{{Target: "a.h.", Port: 7}}
			a.hosts["[2001:db8::1]:64738"] = open
		}, "[2001:db8::1]:64738", []string{"0s tcp [2001:db8::1]:64738"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAtlas()
				c.set(a)
				ctx, cancel := context.WithTimeout(t.Context(), helloTimeout)
				defer cancel()
				conn, err := a.net().dial(ctx, "h:64738", c.srv)
				switch {
				case err != nil && !strings.Contains(err.Error(), c.want):
					t.Errorf("%v, want %s", err, c.want)
				case err == nil && conn.RemoteAddr().String() != c.want:
					t.Errorf("leads to %v, want %s", conn.RemoteAddr(), c.want)
				}
				if got := a.said(); !slices.Equal(got, c.said) {
					t.Errorf("tried %q, want %q", got, c.said)
				}
				close(a.live)
				for l := range a.live {
					if l != conn && !l.(*counted).closed {
						t.Errorf("the connection to %v is left open", l.RemoteAddr())
					}
				}
			})
		})
	}
}

// An address is nobody's name: there is no SRV record of it, and no lookup.
func TestNetAddress(t *testing.T) {
	for typed, want := range map[string]string{"192.0.2.1:5": "192.0.2.1:5", "[2001:db8::1]:5": "[2001:db8::1]:5"} {
		a := newAtlas()
		a.hosts[want] = host{}
		conn, err := a.net().dial(t.Context(), typed, true)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := a.said(); len(got) != 1 || !strings.HasSuffix(got[0], "tcp "+want) {
			t.Errorf("%s: %q", typed, got)
		}
	}
}

// Names that are nobody's to look up are not looked up.
func TestNetSpecialNames(t *testing.T) {
	a := newAtlas()
	a.names["ip4 localhost"] = []string{"127.0.0.1"}
	a.hosts["127.0.0.1:5"] = host{}
	conn, err := a.net().dial(t.Context(), "localhost:5", true)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, typed := range []string{"a.onion:5", "A.ONION.:5"} {
		if _, err := a.net().dial(t.Context(), typed, true); !errors.Is(err, ErrOnion) {
			t.Errorf("%s: %v", typed, err)
		}
	}
	if got := a.said(); len(got) != 1 || !strings.HasSuffix(got[0], "tcp 127.0.0.1:5") {
		t.Errorf("%q", got)
	}
}

// RFC 2782: by priority, then each in proportion to its weight. All draws that are
// possible are made.
func TestSRVOrder(t *testing.T) {
	record := func(target string, priority, weight uint16) *net.SRV {
		return &net.SRV{Target: target, Port: 1, Priority: priority, Weight: weight}
	}
	records := []*net.SRV{record("late", 20, 100), record("b", 10, 3), record("zero", 10, 0), record("a", 10, 1)}
	first := map[string]int{}
	for n := range 5 { // 0 to the sum of 4
		got := inOrder(records, func(most int) int { return min(n, most-1) })
		if len(got) != 4 || got[3].Target != "late" {
			t.Fatalf("draw %d: %v", n, got)
		}
		first[got[0].Target]++
	}
	if first["zero"] != 1 || first["b"] != 3 || first["a"] != 1 {
		t.Errorf("the first are %v", first)
	}
	if records[0].Target != "late" {
		t.Error("the answer itself was sorted")
	}
}

// The system says from where it would send, and sends nothing.
func TestSource(t *testing.T) {
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	from, ok := new(Net).source(netip.MustParseAddrPort(u.LocalAddr().String()))
	if !ok || from.String() != "127.0.0.1" {
		t.Errorf("from %v, %v", from, ok)
	}
	u.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, _, err := u.ReadFromUDP(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes were sent", n)
	}
}
