package peers

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// resolverAddr is where a Resolver listens: a stub resolver asks port 53 and no
// other. The whole of 127.0.0.0/8 is loopback, and this address is nobody's.
const resolverAddr = "127.53.15.1:53"

// Resolver is a name server that lies: it knows SRV records of Mumble for any host,
// and leads to a port of this machine. One can run at a time.
type Resolver struct {
	// Target is the host in the records; it has the address 127.0.0.1.
	Target string
	Port   uint16

	conn net.PacketConn
	work sync.WaitGroup

	mu    sync.Mutex
	asked []string
}

// StartResolver starts one, for root only: port 53 is root's, and a program is given
// another name server by a mount over /etc/resolv.conf in a namespace of its own. An
// ordinary user may make such a namespace, but not one in which port 53 is his and the
// servers of the test are reached.
func StartResolver(t testing.TB, target string, port uint16) *Resolver {
	t.Helper()
	if os.Getuid() != 0 {
		const why = "peers: a name server of the test's own takes root, for port 53"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if exec.Command(Tool(t, "unshare"), "--mount", "true").Run() != nil {
		Missing(t, "the right to make a mount namespace, for a name server of the client's own")
	}
	conn, err := net.ListenPacket("udp4", resolverAddr)
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	r := &Resolver{Target: target, Port: port, conn: conn}
	r.work.Go(r.serve)
	t.Cleanup(func() { conn.Close(); r.work.Wait() })
	return r
}

// Asked lists the questions so far, as "TypeSRV name.".
func (r *Resolver) Asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.asked...)
}

func (r *Resolver) serve() {
	for buf := make([]byte, 1500); ; {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		if b, err := r.answer(&q).Pack(); err == nil {
			_, _ = r.conn.WriteTo(b, from) // who is gone asks again
		}
	}
}

func (r *Resolver) answer(q *dnsmessage.Message) *dnsmessage.Message {
	one := q.Questions[0]
	r.mu.Lock()
	r.asked = append(r.asked, one.Type.String()+" "+one.Name.String())
	r.mu.Unlock()
	a := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, RecursionDesired: q.RecursionDesired, RecursionAvailable: true},
		Questions: q.Questions,
	}
	target := dnsmessage.MustNewName(r.Target + ".")
	head := dnsmessage.ResourceHeader{Name: one.Name, Type: one.Type, Class: one.Class, TTL: 60}
	switch {
	case one.Type == dnsmessage.TypeSRV && strings.HasPrefix(one.Name.String(), "_mumble._tcp."):
		a.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.SRVResource{Target: target, Port: r.Port}}}
	case one.Name == target && one.Type == dnsmessage.TypeA:
		a.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	case one.Name == target:
	default:
		a.RCode = dnsmessage.RCodeNameError
	}
	return a
}

// Command is a program of this machine that asks the resolver, ready to start.
func (r *Resolver) Command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	return r.behind(t, t.TempDir(), "", argv)
}

// behind is a program that runs in a mount namespace in which the resolver is the name server.
// The programs on the way replace each other, so the process id stays.
func (r *Resolver) behind(t testing.TB, home, root string, argv []string) *exec.Cmd {
	t.Helper()
	conf := filepath.Join(home, "resolv.conf")
	server := netip.MustParseAddrPort(resolverAddr).Addr().String()
	if err := os.WriteFile(conf, []byte("nameserver "+server+"\noptions timeout:2 attempts:1\n"), 0o644); err != nil {
		t.Fatalf("peers: %v", err)
	}
	const script = `mount --bind "$1" "$2/etc/resolv.conf" && shift && root=$1 && shift && exec chroot "${root:-/}" "$@"`
	args := append([]string{"--mount", "sh", "-c", script, "sh", conf, root}, argv...)
	return exec.Command(Tool(t, "unshare"), args...)
}
