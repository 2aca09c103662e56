package client

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Traffic classes of the server leg: the DSCP of RFC 4594 in the upper six bits of
// the IPv4 TOS or the IPv6 traffic class byte. The stock client marks with 0xE0,
// which under guard reaches loopback only.
const (
	classVoice   = 46 << 2 // EF, expedited forwarding: telephony
	classControl = 40 << 2 // CS5: signalling
)

// mark sets the traffic class of a socket of the system. It is best effort: some
// systems leave that to their owner.
func mark(c net.Conn, class int) {
	to, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return
	}
	if to.Addr().Unmap().Is4() {
		ipv4.NewConn(c).SetTOS(class)
		return
	}
	ipv6.NewConn(c).SetTrafficClass(class)
}
