package simnet

import (
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
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
