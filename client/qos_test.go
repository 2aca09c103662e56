package client

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The sockets to the server carry their traffic class, in both families; asked with
// getsockopt.
func TestTrafficClass(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			if address == "[::1]:0" {
				t.Logf("no IPv6 here: %v", err)
				continue
			}
			t.Fatal(err)
		}
		defer l.Close()
		to := netip.MustParseAddrPort(l.Addr().String())
		var n Net
		tcp, err := n.dialTCP(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		udp, err := n.dialUDP(to)
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		for what, c := range map[string]struct {
			conn net.Conn
			want int
		}{"TCP": {tcp, 0xA0}, "UDP": {udp, 0xB8}} {
			class := ipv6.NewConn(c.conn).TrafficClass
			if to.Addr().Is4() {
				class = ipv4.NewConn(c.conn).TOS
			}
			if got, err := class(); err != nil || got != c.want {
				t.Errorf("%s to %v: class %#x, %v; want %#x", what, to, got, err, c.want)
			}
		}
	}
}
