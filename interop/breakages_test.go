package interop_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
)

// breakages are what is likeliest to break between a stock client and guard, by the
// number it has in the list of the measurements that guard was designed after.
var breakages = []struct {
	number int
	what   string
	run    func(t *testing.T)
}{
	{4, "Enter answers No to the certificate", breakNo},
	{5, "the guard's certificate has changed", breakChanged},
	{23, "two clients on one guard", breakTwo},
}

// TestBreakages reproduces them with real clients on real servers.
func TestBreakages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts desktop clients, freezes and speaks for minutes")
	}
	for _, b := range breakages {
		t.Run(fmt.Sprintf("%02d %s", b.number, b.what), func(t *testing.T) {
			t.Parallel()
			b.run(t)
		})
	}
}

// breakNo: the person presses Enter, which is No. Guard says what to do; then it
// works, and is not said again.
func breakNo(t *testing.T) {
	for _, client := range peers.StockKinds {
		server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
		g := startGuard(t, "guard", server.Addr(), newSecret(t))
		c := peers.StartStock(t, peers.StockOptions{Kind: client, Addr: g.addr6(), Name: "alice", KeepDialog: true})
		if err := c.Answer("Return"); err != nil {
			t.Fatal(err)
		}
		if e := g.wait("client_undecided", nil); e.Port != g.port {
			t.Errorf("guard names the port %d, it has %d", e.Port, g.port)
		}
		mark := g.mark()
		c.Again(fmt.Sprintf("mumble://alice@%s/?version=1.2.0", g.addr6()))
		if err := c.Accept(); err != nil {
			t.Fatal(err)
		}
		g.joined(mark)
		time.Sleep(6 * time.Second)
		for _, e := range g.events()[mark:] {
			if e.Event == "client_undecided" {
				t.Errorf("%v: said again although the client is here", client)
			}
		}
		c.Stop()
	}
}

// breakChanged: guard has lost its state, so its certificate is another. The client
// warns and does not connect. With the state of before it connects without asking.
func breakChanged(t *testing.T) {
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	first, second := shortDir(t), shortDir(t)
	port := ""
	guard := func(name, state string) *guarded {
		t.Helper()
		listen := port
		if listen == "" {
			listen = "0"
		}
		g := &guarded{sotto: start(t, name, "guard", "--state", state, "--json", "--listen", listen, "--policy", "off", server.Addr())}
		g.port = g.wait("listening", nil).Port
		port = strconv.Itoa(int(g.port))
		return g
	}
	g := guard("guard", first)
	c := peers.StartStock(t, peers.StockOptions{Addr: g.addr6(), Name: "alice", Server: server})
	g.joined(0)
	g.Stop()

	g = guard("guard without its state", second)
	if err := c.AwaitDialog(); err != nil { // it tries again every ten seconds
		t.Fatal(err)
	}
	if err := c.Answer("Return"); err != nil {
		t.Fatal(err)
	}
	g.wait("client_undecided", nil)
	for _, e := range g.events() {
		if e.Event == "connected" || e.Event == "joined" {
			t.Errorf("the client came in: %v", e)
		}
	}
	g.Stop()

	g = guard("guard with its state again", first)
	c.Again(fmt.Sprintf("mumble://alice@%s/?version=1.2.0", g.addr6()))
	g.joined(0)
	if c.Dialog() {
		t.Error("the client asks about the certificate it knows")
	}
}

// breakTwo: a guard belongs to one client. The second is told so, again and again,
// and the first notices nothing.
func breakTwo(t *testing.T) {
	for _, pair := range [][2]peers.StockKind{{peers.Mumble134, peers.Mumble15}, {peers.Mumble15, peers.Mumble134}} {
		server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
		g := startGuard(t, "guard", server.Addr(), "")
		alice := peers.StartStock(t, peers.StockOptions{Kind: pair[0], Addr: g.addr6(), Name: "alice", Server: server})
		g.joined(0)
		mark := g.mark()
		mallory := peers.StartStock(t, peers.StockOptions{Kind: pair[1], Addr: g.addr6(), Name: "mallory"})
		reads(t, "mallory", mallory, "this guard already serves another Mumble")
		bob := peers.DialRaw(t, server.Addr(), "bob", peers.RawOptions{})
		alice.SendChat("still here")
		bob.WaitText(patience, "still here")
		for _, e := range g.events()[mark:] {
			if e.Event == "disconnected" {
				t.Errorf("the first client was disturbed: %s", e.Reason)
			}
		}
		if log := logView(t, alice); strings.Contains(log, "mallory") || strings.Count(log, "Connected.") != 1 {
			t.Errorf("alice was told:\n%s", log)
		}
		alice.Stop()
		mallory.Stop()
	}
}
