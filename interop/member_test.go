package interop_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/carrier"
	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
)

// member is a client in this process, with an identity of its own: many of them
// cost less than as many commands. Its methods are safe for concurrent use.
type member struct {
	*client.Client
	t       testing.TB
	name    string
	number  uint32 // marks its packets
	session uint32
	tcp     net.Conn
	done    chan struct{} // its events have ended

	mu      sync.Mutex
	changed chan struct{}
	rosters map[[16]byte]client.Roster // groups it is in
	home    client.Roster              // of its channel, without members: none
	homeAt  time.Time                  // when that came
	heard   map[uint32]map[uint32]bool // number of the speaker -> packets that opened
	strange int                        // packets that opened and hold no mark, or of another than their sender
	clear   int                        // packets that were not encrypted
	texts   []client.TextMessage
	notices []string
	gate    e2ee.Leave // what the gate said last
	seq     uint32     // of its next packet
	frame   uint64
}

// memberOptions are what is not as usual.
type memberOptions struct {
	prefer  bool // policy prefer, else require
	channel string
	tokens  []string // of access
	udp     bool     // voice by UDP, where the network may lose some

	reconnect bool   // when the connection is lost
	from      net.IP // address it comes from
}

// dialMember logs in; it fails the test if that does not work. The client leaves
// with the test.
func dialMember(t testing.TB, addr, name string, opts memberOptions) *member {
	t.Helper()
	m, err := tryMember(t, addr, name, opts)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

func tryMember(t testing.TB, addr, name string, opts memberOptions) (*member, error) {
	m := &member{
		t: t, name: name, number: nextNumber(), done: make(chan struct{}), changed: make(chan struct{}),
		rosters: map[[16]byte]client.Roster{}, heard: map[uint32]map[uint32]bool{},
	}
	policy := e2ee.PolicyRequire
	if opts.prefer {
		policy = e2ee.PolicyPrefer
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{
		Address: addr, Username: name, Policy: policy, Channel: opts.channel, Tokens: opts.tokens, NoUDP: !opts.udp, Reconnect: opts.reconnect,
		CheckServer: func([]byte) error { return nil },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			if opts.from != nil {
				d.LocalAddr = &net.TCPAddr{IP: opts.from}
			}
			tcp, err := d.DialContext(ctx, network, address)
			m.tcp = tcp
			return tcp, err
		},
	})
	if err != nil {
		return nil, err
	}
	m.Client = c
	go func() {
		defer close(m.done)
		for ev := range c.Events() {
			m.take(ev)
		}
	}()
	t.Cleanup(m.leave)
	s, err := c.State()
	m.session = s.Self.Session
	return m, err
}

var numbers struct {
	sync.Mutex
	last uint32
}

func nextNumber() uint32 {
	numbers.Lock()
	defer numbers.Unlock()
	numbers.last++
	return numbers.last
}

// leave closes the connection as a person does.
func (m *member) leave() { m.Close(); <-m.done }

// crash cuts the connection without a word.
func (m *member) crash() {
	m.tcp.(*net.TCPConn).SetLinger(0)
	m.tcp.Close()
	<-m.done
}

func (m *member) take(ev client.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch ev := ev.(type) {
	case client.Voice:
		m.hear(ev)
	case client.Roster:
		if len(ev.Members) == 0 {
			delete(m.rosters, ev.Group)
			if m.home.Group == ev.Group {
				m.home, m.homeAt = client.Roster{}, time.Now()
			}
			break
		}
		m.rosters[ev.Group] = ev
		if ev.Home {
			m.home, m.homeAt = ev, time.Now()
		}
	case client.TextMessage:
		m.texts = append(m.texts, ev)
	case client.GateChanged:
		m.gate = ev.Leave
	case client.Notice:
		m.notices = append(m.notices, ev.Code+": "+ev.Text)
	case client.Denied:
		m.notices = append(m.notices, "denied: "+ev.Reason)
	case client.Question:
		m.notices = append(m.notices, "question: "+ev.Text)
	case client.Connected:
		m.session = ev.Session
	case client.Disconnected:
		m.home = client.Roster{}
		m.notices = append(m.notices, fmt.Sprintf("disconnected: %v", ev.Err))
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *member) hear(v client.Voice) {
	if !v.Encrypted {
		m.clear++
		return
	}
	number, seq, ok := readMark(v.Opus)
	if !ok {
		if len(v.Opus) > 0 {
			m.strange++
		}
		return
	}
	if m.heard[number] == nil {
		m.heard[number] = map[uint32]bool{}
	}
	m.heard[number][seq] = true
}

// markLen is the length of a packet of 20 ms that says whose it is.
const markLen = 41

// markPacket is a valid CELT packet of 20 ms with a speaker's number and a count.
func markPacket(number, seq uint32) []byte {
	p := make([]byte, markLen)
	p[0] = 0xF8
	binary.BigEndian.PutUint32(p[1:], number)
	binary.BigEndian.PutUint32(p[5:], seq)
	for i := range p[9:] {
		p[9+i] = byte(i*7 + 1)
	}
	return p
}

func readMark(p []byte) (number, seq uint32, ok bool) {
	if len(p) != markLen {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(p[1:]), binary.BigEndian.Uint32(p[5:]), true
}

// speak sends the next packet and returns its number; an error means that nothing
// left.
func (m *member) speak(target uint8) (seq uint32, err error) {
	m.mu.Lock()
	seq, frame := m.seq, m.frame
	m.seq++
	m.frame += 2
	m.mu.Unlock()
	return seq, m.SendVoice(client.Frame{Target: target, FrameNumber: frame, Opus: markPacket(m.number, seq)})
}

// heardOf reports whether it opened a packet of somebody.
func (m *member) heardOf(who *member, seq uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard[who.number][seq]
}

// heardAny counts the packets of somebody that it opened.
func (m *member) heardAny(who *member) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.heard[who.number])
}

// told reports whether it was told something with these words.
func (m *member) told(words string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.notices, func(n string) bool { return strings.Contains(n, words) })
}

// write sends a text to the channel until everybody has read it: again only when it was
// refused, which a person does as well.
func (m *member) write(html string, readers ...*member) {
	m.t.Helper()
	read := func() bool {
		return !slices.ContainsFunc(readers, func(r *member) bool { return !r.hasText(html) })
	}
	refused := 0
	for end := time.Now().Add(2 * patience); !read(); time.Sleep(20 * time.Millisecond) {
		if n := m.count("denied: "); n > refused || refused == 0 {
			refused = max(n, 1)
			if err := m.SendText(html); err != nil {
				m.t.Error(err)
			}
		}
		if time.Now().After(end) {
			m.t.Fatalf("%q is not read:\n%s", html, m.tell())
		}
	}
}

// count counts what it was told that begins so.
func (m *member) count(begin string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, notice := range m.notices {
		if strings.HasPrefix(notice, begin) {
			n++
		}
	}
	return n
}

// hasText reports whether a text arrived encrypted, word for word.
func (m *member) hasText(html string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.texts, func(t client.TextMessage) bool { return t.HTML == html && t.Encrypted })
}

// current is the group of its channel and when it became so.
func (m *member) current() (client.Roster, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.home, m.homeAt
}

// until waits until ok, asked with m.mu held and again after each event.
func (m *member) until(limit time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		m.mu.Lock()
		yes, changed := ok(), m.changed
		m.mu.Unlock()
		if yes {
			return true
		}
		select {
		case <-changed:
		case <-deadline.C:
			return false
		}
	}
}

// state looks at the client.
func (m *member) state() client.State {
	s, err := m.State()
	if err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
	return s
}

// tell puts what is known into a message of failure.
func (m *member) tell() string {
	var b strings.Builder
	s, err := m.State()
	r, _ := m.current()
	fmt.Fprintf(&b, "%s (session %d): %s; group %.4x epoch %d of %d %v; carrier %+v; agreement %+v; engine drops %+v; error %v",
		m.name, m.session, s.Line, r.Group, r.Epoch, len(r.Members), r.Members, s.Voice.Carrier, s.Voice.Agreement, s.Voice.Unopened, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.notices {
		fmt.Fprintf(&b, "\n\t%s", n)
	}
	return b.String()
}

// crowd is some members.
type crowd []*member

// dialCrowd logs n people in at once.
func dialCrowd(t testing.TB, addr, name string, n int, opts memberOptions) crowd {
	t.Helper()
	all := make(crowd, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i], errs[i] = tryMember(t, addr, fmt.Sprintf("%s%d", name, i), opts) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%s%d: %v", name, i, err)
		}
	}
	return all
}

func (c crowd) names(more ...string) []string {
	names := slices.Clone(more)
	for _, m := range c {
		names = append(names, m.name)
	}
	slices.Sort(names)
	return names
}

func (c crowd) without(who ...*member) crowd {
	return slices.DeleteFunc(slices.Clone(c), func(m *member) bool { return slices.Contains(who, m) })
}

// one reports whether all are in one group, in one epoch, with exactly these names.
func (c crowd) one(names []string) bool {
	first, _ := c[0].current()
	for _, m := range c {
		r, _ := m.current()
		if r.Group != first.Group || r.Epoch != first.Epoch || len(r.Members) != len(names) {
			return false
		}
		slices.Sort(r.Members)
		if !slices.Equal(r.Members, names) {
			return false
		}
	}
	return true
}

// together waits until all are in one group with each other, and with the people
// named, and each lets ciphertext out.
func (c crowd) together(limit time.Duration, more ...string) time.Duration {
	t := c[0].t
	t.Helper()
	began := time.Now()
	names := c.names(more...)
	for !c.one(names) {
		if time.Since(began) > limit {
			for _, m := range c {
				t.Log(m.tell())
			}
			t.Fatalf("no one group of %d within %v", len(names), limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	for _, m := range c {
		waitWithin(t, limit, m.name+": leaves as ciphertext", func() bool { return m.state().Leave == e2ee.LeaveCiphertext })
	}
	return took
}

// reach speaks until each of these has heard one packet: for a moment after a
// newcomer is in, others still seal for those who were there before.
func (m *member) reach(who ...*member) (seq uint32) {
	m.t.Helper()
	for began := time.Now(); ; {
		seq, err := m.speak(0)
		time.Sleep(20 * time.Millisecond)
		if errors.Is(err, client.ErrHeld) && time.Since(began) < patience {
			continue // nothing left: keys are being prepared
		}
		if err != nil {
			m.t.Fatalf("%s cannot speak: %v\n%s", m.name, err, m.tell())
		}
		deaf := slices.IndexFunc(who, func(o *member) bool { return !o.until(time.Second, func() bool { return o.heard[m.number][seq] }) })
		if deaf < 0 {
			return seq
		}
		if time.Since(began) > patience {
			m.t.Fatalf("%s does not hear %s\n%s\n%s", who[deaf].name, m.name, who[deaf].tell(), m.tell())
		}
	}
}

// allHear lets each speak and wants every other to hear all of it, once it has
// heard something.
func (c crowd) allHear(packets int) {
	t := c[0].t
	t.Helper()
	for _, m := range c {
		m.reach(c.without(m)...)
	}
	type said struct {
		by  *member
		seq uint32
	}
	var all []said
	for range packets {
		for _, m := range c {
			seq, err := m.speak(0)
			if err != nil {
				t.Fatalf("%s cannot speak: %v\n%s", m.name, err, m.tell())
			}
			all = append(all, said{m, seq})
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, s := range all {
		for _, m := range c.without(s.by) {
			if !m.until(patience, func() bool { return m.heard[s.by.number][s.seq] }) {
				t.Fatalf("%s does not hear packet %d of %s\n%s\n%s", m.name, s.seq, s.by.name, m.tell(), s.by.tell())
			}
		}
	}
}

// lossless wants that the server has dropped no object. Where it echoes, a part that
// was sent again because its echo was late, not lost, comes back twice: one echo is
// then a stray one.
func (c crowd) lossless() {
	t := c[0].t
	t.Helper()
	for _, m := range c {
		var n carrier.Stats
		ok := func() bool {
			n = m.state().Voice.Carrier
			return n.Resent <= n.StrayEcho && n.NoEcho == 0 && n.QueueFull == 0
		}
		for deadline := time.Now().Add(patience); !ok() && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		}
		if !ok() {
			t.Errorf("%s: %d parts sent again, %d stray echoes, %d objects without echo, %d gave way: %+v",
				m.name, n.Resent, n.StrayEcho, n.NoEcho, n.QueueFull, n)
		}
	}
}

// joinGroup is how long a group may take to form on a busy machine.
const joinGroup = 90 * time.Second
