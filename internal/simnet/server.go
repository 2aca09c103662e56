package simnet

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Network is one peer's way to the server and back. Control messages go over
// TCP: a lost segment delays what comes behind it and loses nothing. Voice goes
// over UDP, may overtake control messages, and is lost for good.
type Network struct {
	Delay      time.Duration // one way
	Jitter     time.Duration // at most this much more or less, evenly
	Loss       float64       // of TCP segments, per message
	Retransmit time.Duration // what a lost segment costs; 0: 200 ms

	VoiceDelay  time.Duration
	VoiceJitter time.Duration
	VoiceLoss   float64 // of packets, each way
	Tunnel      bool    // voice goes through TCP, in order with everything else
}

// Lossy is a network of the given loss with 80 ms one way, 40 ms of jitter.
func Lossy(loss float64) Network {
	return Network{
		Delay: 80 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: loss,
		VoiceDelay: 80 * time.Millisecond, VoiceJitter: 40 * time.Millisecond, VoiceLoss: loss,
	}
}

// Config is what a Server is made from.
type Config struct {
	Seed    uint64
	Profile Profile // the zero Profile is Murmur15
	Network Network // of every Peer that does not get its own
	Log     io.Writer
}

// Drops counts what the server did not pass on, by reason. A well-behaved
// client causes none but the last four.
type Drops struct {
	PluginRate  uint64 // plugin messages above the bucket
	ControlRate uint64 // texts, own states and new channels above the bucket
	PluginSize  uint64 // data above 1000 bytes, or dataID above 100 or missing
	Bandwidth   uint64 // voice above the bandwidth
	VoiceSize   uint64 // voice above the longest payload, or empty where that is dropped
	TextLength  uint64 // texts denied as too long
	TextEmpty   uint64 // texts of which the HTML filter left nothing
	ControlSize uint64 // connections cut because a message was above MaxControl
	TextTarget  uint64 // texts that name an unknown channel, or a tree where there are no trees

	Unrelayed    uint64 // plugin messages on a server that relays none
	Muted        uint64 // voice of people who may not speak
	FirstWhisper uint64 // see Profile.FirstWhisperLost
	NoTarget     uint64 // voice to a target that is not registered
}

// Limited is what broke a limit: what a carrier that paces itself never causes.
func (d Drops) Limited() uint64 {
	return d.PluginRate + d.ControlRate + d.PluginSize + d.Bandwidth + d.VoiceSize + d.TextLength + d.TextEmpty + d.ControlSize
}

// Counters counts what went through a Server.
type Counters struct {
	Control uint64 // control messages from clients
	Relayed uint64 // plugin messages and texts passed on, before fan-out
	Copies  uint64 // control messages sent to receivers
	Voice   uint64 // voice packets from clients
	Heard   uint64 // voice packets sent to receivers
	Ignored uint64 // control messages that the model does not know
}

// Server is a Mumble server in virtual time. The zero value is not usable.
type Server struct {
	clock   *Clock
	profile Profile
	network Network
	net     *rand.Rand // delays and losses
	evil    *rand.Rand // what the adversary does
	log     *log

	users    []*user // authenticated, by session
	channels map[uint32]*channel
	version  uint64   // counts changes of who hears whom
	sessions []uint32 // free ones, first in first out
	nextChan uint32

	dropped  Drops
	counters Counters
	serial   uint64

	hooks    []Hook
	chaos    Chaos
	chaosGen uint64
	worlds   *worlds
	lies     map[lieKey]*lie
	ghosts   []ghost
	swapped  map[uint32]uint32
	messages ring
	voices   ring
}

// channel is one channel of the tree; links hold both directions, sorted.
type channel struct {
	id, parent uint32
	name       string
	links      []uint32
	temporary  bool
}

// user is one authenticated connection.
type user struct {
	*conn
	session uint32
	name    string
	hash    string
	channel uint32
	listens []uint32

	mute, deaf, suppress, selfMute, selfDeaf bool

	admin    bool
	context  []byte // plugin_context
	plugin   bucket
	control  bucket
	meter    meter
	targets  map[uint32]*target
	told     map[uint32]bool // sessions that its client believes in
	hears    hearing         // of its speech
	hearsFor uint64
}

// NewServer returns a server that runs on clock and has a root channel.
func NewServer(clock *Clock, cfg Config) *Server {
	p := cfg.Profile
	if p.Name == "" {
		p = Murmur15()
	}
	s := &Server{
		clock: clock, profile: p, network: cfg.Network,
		net: rand.New(rand.NewPCG(cfg.Seed, 1)), evil: rand.New(rand.NewPCG(cfg.Seed, 2)),
		log: newLog(clock, cfg.Log), channels: map[uint32]*channel{}, version: 1, nextChan: 1,
		lies: map[lieKey]*lie{}, swapped: map[uint32]uint32{},
	}
	s.channels[0] = &channel{name: "Root"}
	for i := range uint32(max(1, 2*p.Users-1)) {
		s.sessions = append(s.sessions, i+1)
	}
	return s
}

// Clock returns the clock the server runs on.
func (s *Server) Clock() *Clock { return s.clock }

// Profile returns what kind of server it is.
func (s *Server) Profile() Profile { return s.profile }

// Dropped returns what was not passed on.
func (s *Server) Dropped() Drops { return s.dropped }

// Counters returns what was passed on.
func (s *Server) Counters() Counters { return s.counters }

// Sessions returns the sessions of all authenticated users, sorted.
func (s *Server) Sessions() []uint32 {
	out := make([]uint32, len(s.users))
	for i, u := range s.users {
		out[i] = u.session
	}
	return out
}

// Where returns the channel that a session truly is in.
func (s *Server) Where(session uint32) (uint32, bool) {
	if u := s.user(session); u != nil {
		return u.channel, true
	}
	return 0, false
}

func (s *Server) user(session uint32) *user {
	i, ok := slices.BinarySearchFunc(s.users, session, func(u *user, n uint32) int {
		return int(int64(u.session) - int64(n))
	})
	if !ok {
		return nil
	}
	return s.users[i]
}

// AddChannel makes a channel and tells everybody. It returns the id.
func (s *Server) AddChannel(parent uint32, name string, links ...uint32) uint32 {
	c := &channel{id: s.nextChan, parent: parent, name: name}
	s.nextChan++
	s.channels[c.id] = c
	s.version++
	s.broadcast(c.state())
	for _, l := range links {
		s.Link(c.id, l, true)
	}
	return c.id
}

// RenameChannel gives a channel another name.
func (s *Server) RenameChannel(id uint32, name string) {
	if c := s.channels[id]; c != nil {
		c.name = name
		s.broadcast(&mumblepb.ChannelState{ChannelId: proto.Uint32(id), Name: proto.String(name)})
	}
}

// Link links two channels, or takes the link away.
func (s *Server) Link(a, b uint32, on bool) {
	ca, cb := s.channels[a], s.channels[b]
	if ca == nil || cb == nil || a == b {
		return
	}
	m := &mumblepb.ChannelState{ChannelId: proto.Uint32(a)}
	if on {
		ca.links, cb.links = with(ca.links, b), with(cb.links, a)
		m.LinksAdd = []uint32{b}
	} else {
		ca.links, cb.links = without(ca.links, b), without(cb.links, a)
		m.LinksRemove = []uint32{b}
	}
	s.version++
	s.broadcast(m)
}

// Move puts a user into a channel by the server's own will.
func (s *Server) Move(session, to uint32) {
	u := s.user(session)
	if u == nil || s.channels[to] == nil || u.channel == to {
		return
	}
	s.log.line("server", "moves %d to channel %d", session, to)
	s.enter(u, to)
	s.broadcast(&mumblepb.UserState{Session: proto.Uint32(session), ChannelId: proto.Uint32(to)})
}

// Mute silences somebody or ends that: what an administrator does. It concerns
// voice alone.
func (s *Server) Mute(session uint32, on bool) {
	if u := s.user(session); u != nil {
		u.mute = on
		s.broadcast(&mumblepb.UserState{Session: proto.Uint32(session), Mute: proto.Bool(on)})
	}
}

// Suppress takes away or gives the right to speak.
func (s *Server) Suppress(session uint32, on bool) {
	if u := s.user(session); u != nil {
		u.suppress = on
		s.broadcast(&mumblepb.UserState{Session: proto.Uint32(session), Suppress: proto.Bool(on)})
	}
}

// Kick ends somebody's connection.
func (s *Server) Kick(session uint32, reason string) {
	u := s.user(session)
	if u == nil {
		return
	}
	s.broadcast(&mumblepb.UserRemove{Session: proto.Uint32(session), Reason: proto.String(reason)})
	s.remove(u, "kicked", true)
}

// enter changes where u is and who hears whom.
func (s *Server) enter(u *user, to uint32) {
	from := u.channel
	u.channel = to
	s.version++
	if c := s.channels[from]; c != nil && c.temporary && !slices.ContainsFunc(s.users, func(v *user) bool { return v.channel == from }) {
		s.removeChannel(from)
	}
}

func (s *Server) removeChannel(id uint32) {
	delete(s.channels, id)
	for _, c := range s.channels {
		c.links = without(c.links, id)
	}
	s.version++
	s.clock.After(0, func() { s.broadcast(&mumblepb.ChannelRemove{ChannelId: proto.Uint32(id)}) })
}

// broadcast tells every user, in the order of their sessions.
func (s *Server) broadcast(m proto.Message) {
	s.serial++
	serial := s.serial
	for _, u := range slices.Clone(s.users) {
		s.tell(u, 0, serial, m)
	}
}

// tell sends one message of the server's own to one user.
func (s *Server) tell(u *user, from uint32, serial uint64, m proto.Message) {
	if m = s.lieTo(u, m); m == nil {
		return
	}
	s.deliver(&Delivery{To: u.session, From: from, Serial: serial, Message: m, user: u}, false)
}

func (c *channel) state() *mumblepb.ChannelState {
	m := &mumblepb.ChannelState{ChannelId: proto.Uint32(c.id), Name: proto.String(c.name)}
	if c.id != 0 {
		m.Parent = proto.Uint32(c.parent)
	}
	return m
}

// state is all that others are told of u.
func (u *user) state() *mumblepb.UserState {
	m := &mumblepb.UserState{
		Session: proto.Uint32(u.session), Name: proto.String(u.name), ChannelId: proto.Uint32(u.channel),
		ListeningChannelAdd: slices.Clone(u.listens),
	}
	if u.hash != "" {
		m.Hash = proto.String(u.hash)
	}
	for _, f := range []struct {
		on    bool
		field **bool
	}{{u.mute, &m.Mute}, {u.deaf, &m.Deaf}, {u.suppress, &m.Suppress}, {u.selfMute, &m.SelfMute}, {u.selfDeaf, &m.SelfDeaf}} {
		if f.on {
			*f.field = proto.Bool(true)
		}
	}
	return m
}

func (u *user) maySpeak() bool { return !u.mute && !u.suppress && !u.selfMute }
func (u *user) isDeaf() bool   { return u.deaf || u.selfDeaf }

func with(list []uint32, v uint32) []uint32 {
	i, found := slices.BinarySearch(list, v)
	if found {
		return list
	}
	return slices.Insert(slices.Clone(list), i, v)
}

func without(list []uint32, v uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(list), func(x uint32) bool { return x == v })
}

// describe names a message for the log, without its fields but for what tells
// two of a kind apart.
func describe(m proto.Message) string {
	switch m := m.(type) {
	case *mumblepb.PluginDataTransmission:
		return fmt.Sprintf("plugin from %d %q %d bytes %s", m.GetSenderSession(), m.GetDataID(), len(m.GetData()), digest(m.GetData()))
	case *mumblepb.TextMessage:
		return fmt.Sprintf("text from %d to %v %v %v %d bytes %s", m.GetActor(), m.GetSession(), m.GetChannelId(), m.GetTreeId(),
			len(m.GetMessage()), digest([]byte(m.GetMessage())))
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %x", m.ProtoReflect().Descriptor().Name(), b)
}

func describeVoice(p *voice.Packet) string {
	return fmt.Sprintf("voice from %d target %d context %d frame %d %d bytes %s", p.Session, p.Target, p.Context, p.FrameNumber, len(p.Data), digest(p.Data))
}
