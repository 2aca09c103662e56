package interop_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/sframe"
)

// breakages are what is likeliest to break between a stock client and guard, by the
// number it has in the list of the measurements that guard was designed after.
var breakages = []struct {
	number int
	what   string
	run    func(t *testing.T)
}{
	{1, "a name server leads the client away", breakSRV},
	{4, "Enter answers No to the certificate", breakNo},
	{5, "the guard's certificate has changed", breakChanged},
	{8, "the server hangs for 40 seconds", breakFreeze},
	{10, "packets become longer while somebody speaks", breakLonger},
	{14, "a minute of 1.3.4 on a 1.5 server", breakMinute},
	{22, "the computer sleeps for a minute", breakSleep},
	{23, "two clients on one guard", breakTwo},
	{25, "an administrator edits and saves", breakAdmin},
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

// breakSRV: a name server has a Mumble record for every host, as a hostile network's
// may. Who tells the client 127.0.0.1 loses it to that server; [::1], which is what
// guard says, is asked about by no client.
func breakSRV(t *testing.T) {
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	evil := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	resolver := peers.StartResolver(t, "mumble.example", uint16(evil.Port()))
	for _, client := range peers.StockKinds {
		g := startGuard(t, "guard", server.Addr(), newSecret(t))
		name := "alice-" + client.String()
		start := func(addr string, at *peers.Server) *peers.StockClient {
			return peers.StartStock(t, peers.StockOptions{Kind: client, Addr: addr, Name: name, Server: at, Resolver: resolver})
		}
		before := len(resolver.Asked())
		c := start(g.addr6(), server)
		g.joined(0)
		for _, q := range resolver.Asked()[before:] {
			if strings.Contains(q, "_mumble._tcp") {
				t.Errorf("%v, told [::1], asks %s", client, q)
			}
		}
		c.Stop()

		before = len(resolver.Asked())
		mark := g.mark()
		start(g.addr(), evil).Stop()
		if asked := resolver.Asked()[before:]; !slices.Contains(asked, "TypeSRV _mumble._tcp.127.0.0.1.") {
			t.Errorf("%v, told 127.0.0.1, asks %q: the test of [::1] proves nothing", client, asked)
		}
		for _, e := range g.events()[mark:] {
			if e.Event == "joined" {
				t.Errorf("%v came to guard in spite of the record", client)
			}
		}
		t.Logf("%v asked %q", client, resolver.Asked()[before:])
	}

	// A guard that can only be reached at 127.0.0.1 asks by itself, and does not start.
	cmd := resolver.Command(t, program(t), "guard", "--state", shortDir(t), "--policy", "off", "--listen", "127.0.0.1:0", server.Addr())
	g := peers.StartProgram(t, "guard on 127.0.0.1", cmd, io.Discard)
	select {
	case <-g.Done():
	case <-time.After(patience):
		t.Fatalf("guard stays on 127.0.0.1: %s", g.Stderr())
	}
	if out := g.Stderr(); g.ExitCode() != 1 || !strings.Contains(out, "mumble.example") || !strings.Contains(out, "sotto: hint: ") {
		t.Errorf("guard on 127.0.0.1 ends with %d: %s", g.ExitCode(), out)
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
		if e := g.wait("client_undecided", nil); e.Text != fmt.Sprintf("mumble://%s/?version=1.2.0", g.addr6()) {
			t.Errorf("guard says to connect to %s, and is at %s", e.Text, g.addr6())
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

// breakFreeze: the server does not answer for 40 seconds. The client, which would
// hang up by itself after 25, learns once why it was disconnected, and comes back.
func breakFreeze(t *testing.T) {
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	g := startGuard(t, "guard", server.Addr(), "")
	c := peers.StartStock(t, peers.StockOptions{Kind: peers.Mumble15, Addr: g.addr6(), Name: "alice", Server: server})
	g.joined(0)
	mark, began := g.mark(), time.Now()
	server.Freeze()
	thaw := time.AfterFunc(40*time.Second, server.Thaw)
	defer thaw.Stop()
	waitWithin(t, 45*time.Second, "the end of the session", func() bool {
		return slices.ContainsFunc(g.events()[mark:], func(e event) bool { return e.Event == "disconnected" })
	})
	after := time.Since(began)
	t.Logf("disconnected after %.1f s", after.Seconds())
	if after < 28*time.Second || after > 35*time.Second {
		t.Errorf("the session ended after %v, guard waits 30 s for the server", after)
	}
	waitWithin(t, 60*time.Second, "the client's return", func() bool {
		return slices.ContainsFunc(g.events()[mark:], func(e event) bool { return e.Event == "joined" })
	})
	back := time.Since(began)
	t.Logf("back after %.1f s", back.Seconds())
	if back > 65*time.Second {
		t.Errorf("the client is back only %v after the thaw", back-40*time.Second)
	}
	log := logView(t, c)
	for _, words := range []string{"Server: Sotto: the server has stopped answering. Your Mumble connects again by itself.", "Server connection failed"} {
		if n := strings.Count(log, words); n != 1 {
			t.Errorf("the client says %d times %q:\n%s", n, words, log)
		}
	}
	bob := peers.DialRaw(t, server.Addr(), "bob", peers.RawOptions{})
	c.SendChat("back again")
	bob.WaitText(patience, "back again")
}

// hearer is a raw client behind a guard with the secret, to listen to a stock one.
func hearer(t *testing.T, server *peers.Server, secret string) *peers.Raw {
	t.Helper()
	g := startGuard(t, "bob's guard", server.Addr(), secret)
	return peers.DialRaw(t, g.addr(), "bob", peers.RawOptions{UDP: true})
}

// breakLonger: the server lowers the bandwidth from 72 to 48 kbit/s in mid-sentence,
// and the client goes from packets of 20 ms to such of 40. Nothing is lost, and the
// silence around the ciphertext becomes as long.
func breakLonger(t *testing.T) {
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{Bandwidth: 72000})
	tap := peers.StartTap(t, server)
	secret := newSecret(t)
	g := startGuard(t, "alice's guard", tap.Addr(), secret)
	bob := hearer(t, server, secret)
	c := peers.StartStock(t, peers.StockOptions{Kind: peers.Mumble15, Addr: g.addr6(), Name: "alice", Server: server, Continuous: true})
	session := g.joined(0)
	g.gate(0, "ciphertext")
	bob.WaitHeard(patience, session, 100)
	change := time.Now()
	tap.Inject(voice.ToClient, &mumblepb.ServerConfig{MaxBandwidth: proto.Uint32(48000)})
	c.PlayMic(peers.Speak(t, "", 20).WAV)

	steps := map[uint64]int{}
	var turn, gap time.Duration
	var last peers.Received
	for _, got := range bob.All() {
		if got.Voice == nil || got.Voice.Session != session {
			continue
		}
		if last.Voice != nil {
			step := got.Voice.FrameNumber - last.Voice.FrameNumber
			if steps[step]++; step == 4 && steps[step] == 1 {
				turn = gap // that before the first long packet
			}
			gap = got.Time.Sub(last.Time)
		}
		last = got
	}
	t.Logf("steps %v, %v at the turn", steps, turn)
	// One step has the length of the packet before: 2 and then 4, nothing else.
	if len(steps) != 2 || steps[2] < 50 || steps[4] < 50 {
		t.Errorf("the packets come in steps of %v, want 2 and then 4", steps)
	}
	// The frame numbers say that no sound is missing, on a machine of any speed. What
	// comes late at the turn is guard's, or the machine's: an idle one takes 40 ms or so.
	if turn > 300*time.Millisecond {
		t.Errorf("the first long packet came %v after the one before", turn)
	}
	cover := map[time.Duration]int{}
	for _, f := range tap.Frames() {
		if p, ok := f.Voice(); ok && f.Dir == voice.ToServer && f.Time.After(change.Add(time.Second)) {
			d, _, _, _ := envelope.ParseVoice(p.Data)
			cover[d]++
		}
	}
	if cover[40*time.Millisecond] < 50 || len(cover) != 1 {
		t.Errorf("a second later the covers are %v long", cover)
	}
}

// breakMinute: 1.3.4 speaks its old form to a 1.5 server, which takes one packet in
// 256 of a client for something else. Through guard none is lost.
func breakMinute(t *testing.T) {
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	secret := newSecret(t)
	g := startGuard(t, "alice's guard", server.Addr(), secret)
	bob := hearer(t, server, secret)
	c := peers.StartStock(t, peers.StockOptions{Addr: g.addr6(), Name: "alice", Server: server, Continuous: true})
	session := g.joined(0)
	g.gate(0, "ciphertext")
	bob.WaitHeard(patience, session, 50)
	bob.Forget()
	speech := peers.Speak(t, "", 20)
	for began := time.Now(); time.Since(began) < time.Minute; {
		c.PlayMic(speech.WAV)
	}
	heard := bob.Heard(session)
	lost, empty := uint64(0), 0
	for i := range heard {
		if i > 0 {
			lost += (heard[i].FrameNumber - heard[i-1].FrameNumber - 2) / 2
		}
		if len(heard[i].Data) < 10 {
			empty++
		}
	}
	t.Logf("%d packets in a minute, %d lost", len(heard), lost)
	if lost != 0 || len(heard) < 2950 || empty > 0 {
		t.Errorf("of a minute %d packets were heard, %d without speech, %d lost", len(heard), empty, lost)
	}
}

// breakSleep: guard stands still for a minute, as when a lid is closed. The server
// and the client have given it up by then. It is back in the group with new keys.
func breakSleep(t *testing.T) {
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	tap := peers.StartTap(t, server)
	g := startGuard(t, "alice's guard", tap.Addr(), automatic, "--policy", "require")
	bob := startShielded(t, "bob", server.Addr(), "--policy", "require")
	c := peers.StartStock(t, peers.StockOptions{Kind: peers.Mumble15, Addr: g.addr6(), Name: "alice", Server: server, Continuous: true})
	session := g.joined(0)
	g.gate(0, "ciphertext")
	bob.raw.WaitHeard(patience, session, 50)
	keys := func() map[uint64]bool {
		used := map[uint64]bool{}
		for _, f := range tap.Frames() {
			if p, ok := f.Voice(); ok && f.Dir == voice.ToServer {
				if _, vk, rest, ok := envelope.ParseVoice(p.Data); ok && vk == envelope.VoiceMLS {
					if h, _, err := sframe.ParseHeader(rest); err == nil {
						used[h.KID] = true
					}
				}
			}
		}
		return used
	}
	g.Signal(syscall.SIGSTOP)
	time.Sleep(200 * time.Millisecond) // what was on its way
	before := keys()
	tap.Forget()
	time.Sleep(time.Minute)
	mark := g.mark()
	bob.raw.Forget()
	g.Signal(syscall.SIGCONT)
	began := time.Now()
	session = g.joined(mark)
	g.waitFrom(mark, "roster", func(e event) bool { return len(e.Members) == 2 })
	bob.raw.WaitHeard(patience, session, 50)
	t.Logf("heard again after %.1f s", time.Since(began).Seconds())
	after := keys()
	t.Logf("keys before %v, after %v", before, after)
	for kid := range after {
		if before[kid] {
			t.Errorf("the key %#x of before the sleep is in use", kid)
		}
	}
	if len(before) == 0 || len(after) == 0 {
		t.Errorf("%d keys seen before, %d after", len(before), len(after))
	}
	for _, f := range tap.Frames() {
		p, ok := f.Voice()
		if _, _, _, sealed := envelope.ParseVoice(p.Data); ok && f.Dir == voice.ToServer && len(p.Data) > 5 && !sealed {
			t.Fatalf("voice left in clear: % x", p.Data)
		}
	}
	if !c.Alive() {
		t.Error("the client has ended")
	}
}

// breakAdmin: SuperUser opens the editors of groups, access rights and bans, changes
// something and saves, with and without guard. The server has the same after it, and
// nothing of Sotto.
func breakAdmin(t *testing.T) {
	type saved struct {
		acl   *mumblepb.ACL
		bans  *mumblepb.BanList
		users *mumblepb.UserList
	}
	edit := func(name string, guarded bool) saved {
		server := peers.Start(t, peers.Murmur15, peers.ServerOptions{SuperUserPassword: "hall"})
		addr := server.Addr()
		if guarded {
			addr = startGuard(t, "guard", addr, newSecret(t)).addr6()
		}
		c := peers.StartStock(t, peers.StockOptions{URL: "mumble://SuperUser:hall@" + addr + "/?version=1.2.0", Name: "SuperUser", Server: server})
		reads(t, name, c, "Welcome message: ") // the answer to the login is here
		adminEdits(t, c)
		c.Stop()
		eye := server.Admin()
		s := saved{
			acl:   ask(t, eye, eye.Send, &mumblepb.ACL{ChannelId: proto.Uint32(0), Query: proto.Bool(true)}),
			bans:  ask(t, eye, eye.Send, &mumblepb.BanList{Query: proto.Bool(true)}),
			users: ask(t, eye, eye.Send, &mumblepb.UserList{}),
		}
		slices.SortFunc(s.acl.Groups, func(a, b *mumblepb.ACL_ChanGroup) int { // sent in the order of a hash table
			return strings.Compare(a.GetName(), b.GetName())
		})
		for _, b := range s.bans.Bans {
			b.Start, b.Duration = nil, nil // the hour of the test
		}
		for _, u := range s.users.Users {
			u.LastSeen = nil
		}
		server.Stop()
		b, err := os.ReadFile(server.Database())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte("staff")) || bytes.Contains(bytes.ToLower(b), []byte("sotto")) {
			t.Errorf("%s: the database lacks the group, or names Sotto", name)
		}
		return s
	}
	plain, guarded := edit("without guard", false), edit("through guard", true)
	for _, pair := range [][2]proto.Message{{plain.acl, guarded.acl}, {plain.bans, guarded.bans}, {plain.users, guarded.users}} {
		if !proto.Equal(pair[0], pair[1]) {
			t.Errorf("saved without guard:\n%v\nand through it:\n%v", pair[0], pair[1])
		}
	}
	if len(plain.bans.Bans) != 1 || len(plain.acl.Groups) == 0 || len(plain.acl.Acls) != 4 {
		t.Errorf("the editors changed nothing:\n%v\n%v", plain.acl, plain.bans)
	}
}

// adminEdits clicks through the editors of 1.3.4: a new group with SuperUser in it, a
// new rule for the root, a banned address. The places are those of its windows in the
// screen's corner.
func adminEdits(t *testing.T, c *peers.StockClient) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	click := func(x, y int) { t.Helper(); do(c.Click("1", x, y)) }
	keys := func(args ...string) {
		t.Helper()
		_, err := c.Xdotool(args...)
		do(err)
	}
	write := func(x, y int, text string) { t.Helper(); click(x, y); keys("type", "--delay", "15", "--", text) }
	pause := func() { time.Sleep(500 * time.Millisecond) } // a menu shows, or a name is asked of the server

	do(c.Window("^Mumble -- "))
	click(300, 73) // the root
	do(c.Click("3", 300, 73))
	pause()
	keys("key", "e") // Edit...
	do(c.Window("^Mumble - Edit Root$"))
	click(156, 26) // Groups
	write(85, 97, "staff")
	click(200, 97) // Add
	write(100, 398, "SuperUser")
	click(230, 398) // Add
	pause()
	click(229, 26)  // ACL
	click(356, 251) // Add
	click(673, 390) // Ban: Deny
	pause()
	click(600, 492) // OK
	pause()

	do(c.Window("^Mumble -- "))
	click(40, 12) // Server
	pause()
	keys("key", "b") // Ban list...
	do(c.Window("^Ban List"))
	write(200, 292, "192.0.2.7")
	click(414, 292) // Mask: of an IPv4 address
	keys("key", "--clearmodifiers", "ctrl+a")
	keys("type", "32")
	write(200, 327, "a test")
	click(519, 257) // Add
	pause()
	click(418, 444) // OK
	pause()
}
