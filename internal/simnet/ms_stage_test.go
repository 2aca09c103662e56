package simnet_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/internal/simnet"
	"github.com/sotto-voip/sotto/mls"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/trust"
)

// The scenarios MS1 to MS34 are what a malicious server does, M1 to M19 what a
// malicious member does. Each is a row of a table in an ms_ file: what the person
// must be told is told, and nothing that must not happen does. Above all nothing
// readable leaves: everything that leaves an endpoint is searched for what went in.
//
// What needs no network, or a real one, is elsewhere: MS18 and MS21 in package client
// (TestTrickle, TestWeakTLS, TestRoots) and guard (TestFirstContact), MS19 in endpoint
// (TestProtobufBombs), MS20, MS22 and MS27 in interop, M5, M7 and M19 in audience
// (TestMember...), M16 in e2ee (TestGroupsTwoKeys).

// soul is somebody with automatic groups: an endpoint used as the commands use it,
// and all that it told its person.
type soul struct {
	*endpoint.Endpoint
	s      *stage
	name   string
	policy e2ee.Policy
	device *identity.Device
	book   *trust.Book
	peer   *simnet.Peer
	number byte
	frame  uint64

	notices   []e2ee.Notice
	questions []e2ee.Asked
	gates     []e2ee.GateChanged
	rosters   []endpoint.Roster
	texts     []endpoint.TextIn
	plain     []*mumblepb.TextMessage // that came in clear
	failed    []string
	heard     []hearing
	leaks     []string
	messages  int // that left
	clears    int // voice packets that left in clear
}

// hearing is one packet that reached the person.
type hearing struct {
	from        uint32
	frame       uint64
	opus        []byte
	encrypted   bool
	hasPosition bool
	at          time.Time
}

// stage is a server and the people on it.
type stage struct {
	t     testing.TB
	clock *simnet.Clock
	srv   *simnet.Server
	log   bytes.Buffer
	souls []*soul
	marks map[string][]byte   // that must not leave
	forms map[string][][]byte // of each, as they are looked for
}

// place is where everybody says to be: three floats whose bytes are unmistakable.
var place = func() (p [3]float32) {
	for i, s := range []string{"Pos1", "Pos2", "Pos3"} {
		p[i] = math.Float32frombits(binary.LittleEndian.Uint32([]byte(s)))
	}
	return p
}()

// positionBytes is how they stand in a plaintext.
var positionBytes = []byte("Pos1Pos2Pos3")

func newStage(t testing.TB, seed uint64, profile simnet.Profile) *stage {
	t.Helper()
	cryptotest.SetGlobalRandom(t.(*testing.T), seed)
	s := &stage{t: t, clock: simnet.NewClock(), marks: map[string][]byte{"position": positionBytes}, forms: map[string][][]byte{}}
	s.srv = simnet.NewServer(s.clock, simnet.Config{Seed: seed, Profile: profile, Network: simnet.Lossy(0.01), Log: &s.log})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", tail(s.log.String(), 6000))
		}
	})
	return s
}

// soul makes somebody who is not connected.
func (s *stage) soul(name string, policy e2ee.Policy) *soul {
	p := &soul{s: s, name: name, policy: policy, device: identity.New().NewDevice(0), book: &trust.Book{}, number: byte(0x31 + len(s.souls))}
	p.start()
	p.peer = s.srv.NewPeer(name, p)
	s.souls = append(s.souls, p)
	s.marks["speech of "+name] = p.speech()[8:24]
	return p
}

// start is a start of the program: a new endpoint with the old memory.
func (p *soul) start() {
	p.s.t.Helper()
	e, err := endpoint.NewGroups(e2ee.GroupsConfig{
		Policy: p.policy, Server: testServer, Address: "voice.example.org:64738", Device: p.device, Book: p.book,
		Suites: []mls.CipherSuite{mls.X25519AES128GCM},
	})
	if err != nil {
		p.s.t.Fatal(err)
	}
	p.Endpoint = e
	p.PluginContext(p.s.clock.Now(), []byte("game"))
}

// again is a restart: away, and back with what is kept on disk.
func (p *soul) again() {
	p.peer.Disconnect()
	p.s.run(time.Second)
	p.start()
	p.peer.SetNode(p)
	p.peer.Connect()
}

func (s *stage) run(d time.Duration) { s.t.Helper(); run(s.t, s.clock, d) }

// join connects people one after the other, who meet in one group.
func (s *stage) join(policy e2ee.Policy, names ...string) []*soul {
	s.t.Helper()
	var out []*soul
	for _, name := range names {
		p := s.soul(name, policy)
		p.peer.Connect()
		out = append(out, p)
		s.run(200 * time.Millisecond)
	}
	s.together(out...)
	s.run(12 * time.Second) // one Beacon of each, and the memory
	s.together(out...)
	return out
}

// together waits until exactly these people are protected with each other.
func (s *stage) together(list ...*soul) {
	s.t.Helper()
	s.within(90*time.Second, "together", func() bool { return isTogether(list) })
}

// answered is together for people who answer what they are asked: go on, or wait.
func (s *stage) answered(list ...*soul) {
	s.t.Helper()
	if !s.answers(3*time.Minute, list...) {
		s.together(list...) // which says where everybody is
	}
}

// answers lets people answer until they are together, or the limit has passed.
func (s *stage) answers(limit time.Duration, list ...*soul) bool {
	s.t.Helper()
	for end := s.clock.Now().Add(limit); s.clock.Now().Before(end); s.run(100 * time.Millisecond) {
		if isTogether(list) {
			return true
		}
		for _, p := range list {
			if p.State() != e2ee.StateAsked {
				continue
			}
			if p.Groups().Question().Alarm() {
				p.UserProtect(s.clock.Now())
			} else {
				p.UserWait(s.clock.Now())
			}
			p.act()
		}
	}
	return false
}

func isTogether(list []*soul) bool {
	var want []uint32
	for _, p := range list {
		want = append(want, p.peer.Session())
	}
	slices.Sort(want)
	var group [16]byte
	var epoch uint64
	for i, p := range list {
		got := slices.Clone(p.Groups().Members())
		slices.Sort(got)
		g, e := p.Groups().Epoch()
		if p.State() != e2ee.StatePriv || !slices.Equal(got, want) || i > 0 && ([16]byte(g) != group || e != epoch) {
			return false
		}
		group, epoch = [16]byte(g), e
	}
	return true
}

// within waits for something, in virtual time.
func (s *stage) within(limit time.Duration, what string, ok func() bool) {
	s.t.Helper()
	for end := s.clock.Now().Add(limit); !ok(); s.run(100 * time.Millisecond) {
		if s.clock.Now().After(end) {
			for _, p := range s.souls {
				s.t.Logf("%s (%d): %v %v %+v; %v %v", p.name, p.peer.Session(), p.State(), p.Groups().Members(), p.Groups().Agreement(), p.notices, p.questions)
			}
			s.t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// sealed demands that nothing readable has left anybody.
func (s *stage) sealed() {
	s.t.Helper()
	for _, p := range s.souls {
		if len(p.leaks) > 0 {
			s.t.Errorf("%s: %d things left readable, the first: %s", p.name, len(p.leaks), p.leaks[0])
		}
	}
}

// scenario is one row: what the server or a member does, on a stage of its own.
type scenario struct {
	id   string
	what string
	run  func(t *testing.T, s *stage)
}

// play runs rows with several seeds each, and holds each to the first promise.
func play(t *testing.T, rows []scenario) {
	for _, r := range rows {
		t.Run(r.id, func(t *testing.T) {
			n := uint64(seeds)
			if testing.Short() {
				n = 1
			}
			for seed := range n {
				s := newStage(t, seed+1, simnet.Murmur15())
				r.run(t, s)
				s.sealed()
				if d := s.srv.Dropped().Limited(); d != 0 {
					t.Logf("%d messages above the server's limits", d)
				}
				if t.Failed() {
					t.Fatalf("%s, seed %d: %s", r.id, seed+1, r.what)
				}
			}
		})
	}
}

// seeds is how many stages each scenario is played on.
const seeds = 3
