package simnet

import "time"

// Profile is how one kind of server behaves. The functions below give those of
// the real servers with their default settings; a test may change them.
type Profile struct {
	Name      string
	VersionV1 uint32
	VersionV2 uint64 // 0: the server does not state it

	// PluginRelay: PluginDataTransmission reaches those listed, the sender
	// included (Murmur >= 1.4). Otherwise it vanishes without a word.
	PluginRelay bool
	Plugin      Rate // bucket of plugin messages
	// Control is the bucket of TextMessage, own UserState, new channels and the
	// Version at login.
	Control Rate

	// TextEcho: a text that lists its own sender comes back to it (uMurmur).
	TextEcho bool
	// DeafText: texts reach people who deafened themselves (all but uMurmur).
	DeafText bool
	// TreeText: texts to a whole tree are relayed; otherwise denied.
	TreeText           bool
	AllowHTML          bool
	MessageLength      uint32 // UTF-16 units; 0: no limit. Told in ServerConfig
	ImageMessageLength uint32 // the same, for texts whose length is the src of images
	EnforceLength      bool   // otherwise the lengths are told and not checked
	// MaxControl is the longest control message in bytes; the sender of a longer
	// one is disconnected. 0: 8 MiB, as the framing allows.
	MaxControl int

	Bandwidth        uint32 // bit/s of one speaker
	TokenBandwidth   bool   // one second's worth refilled evenly (uMurmur); otherwise a ring of 360 packets
	ChargeHeader     bool   // the whole voice packet counts, not the payload alone
	MaxVoice         int    // bytes of the longest payload that passes
	EmptyVoice       bool   // packets without a payload pass
	FirstWhisperLost bool   // the first packet after the receivers of a target were computed is lost
	EmptyContext     bool   // two empty plugin contexts count as equal
	Listeners        bool   // channel listeners exist (Murmur >= 1.4)
	PassForged       bool   // a UserState goes on as the client sent it, unchecked fields included

	// Ghosts: who comes with the name and certificate of a connected user takes its
	// place; otherwise the newcomer is rejected (uMurmur).
	Ghosts bool

	Users   int           // at most; sessions are reused after twice as many
	Timeout time.Duration // until a silent connection is cut
}

// Rate is a leaky bucket of Murmur: at most Burst at once, then Limit per second,
// with the whole tokens of whole milliseconds leaking at each message. The zero
// Rate has no limit.
type Rate struct {
	Limit int
	Burst int
}

// Murmur15 is Murmur 1.5.735 with its default settings.
func Murmur15() Profile {
	return Profile{
		Name: "murmur-1.5", VersionV1: 0x0105FF, VersionV2: 1<<48 | 5<<32 | 735<<16,
		PluginRelay: true, Plugin: Rate{4, 15}, Control: Rate{1, 5},
		DeafText: true, TreeText: true, Ghosts: true, AllowHTML: true, MessageLength: 5000, ImageMessageLength: 131072, EnforceLength: true,
		Bandwidth: 558000, MaxVoice: 1012, FirstWhisperLost: true, EmptyContext: true, Listeners: true, PassForged: true,
		Users: 100, Timeout: 30 * time.Second,
	}
}

// Murmur13 is Murmur 1.3.4 with its default settings: no plugin messages, no
// echo of anything.
func Murmur13() Profile {
	p := Murmur15()
	p.Name, p.VersionV1, p.VersionV2 = "murmur-1.3", 0x010304, 0
	p.PluginRelay, p.FirstWhisperLost, p.Listeners = false, false, false
	p.Bandwidth, p.ChargeHeader, p.MaxVoice, p.EmptyVoice = 72000, true, 1016, true
	return p
}

// UMurmur is uMurmur 0.4.1 with its default settings: no plugin messages, texts
// that echo, and a connection that ends at 8187 bytes of one control message.
func UMurmur() Profile {
	return Profile{
		Name: "umurmur-0.4", VersionV1: 0x010204,
		TextEcho: true, AllowHTML: true, MessageLength: 512, ImageMessageLength: 0, MaxControl: 8186,
		Bandwidth: 48000, TokenBandwidth: true, ChargeHeader: true, MaxVoice: 1016, EmptyVoice: true,
		Users: 100, Timeout: 30 * time.Second,
	}
}

// bucket is the state of one Rate (Mumble src/murmur/ServerUser.cpp,
// LeakyBucket::ratelimit).
type bucket struct {
	level int
	since time.Time
}

// take charges one message and reports whether it passes.
func (b *bucket) take(now time.Time, r Rate) bool {
	if r == (Rate{}) {
		return true
	}
	if n := now.Sub(b.since).Milliseconds() * int64(r.Limit) / 1000; n > 0 {
		b.level = int(max(0, int64(b.level)-n)) // the fraction is lost
		b.since = now
	}
	if b.level > r.Burst-1 {
		return false
	}
	b.level++
	return true
}

// meter is what a server knows of a speaker's bandwidth.
type meter struct {
	ring   []charge
	next   int
	sum    int
	tokens float64
	since  time.Time
}

type charge struct {
	bytes int
	at    time.Time
}

const (
	ringLen        = 360
	packetOverhead = 32 // IP, UDP and OCB2
)

func newMeter(now time.Time, p *Profile) meter {
	m := meter{since: now, tokens: float64(p.Bandwidth) / 8}
	if !p.TokenBandwidth {
		m.ring = make([]charge, ringLen)
		for i := range m.ring {
			m.ring[i].at = now
		}
	}
	return m
}

// take charges a packet of n bytes and reports whether it passes.
func (m *meter) take(now time.Time, p *Profile, n int) bool {
	n += packetOverhead
	perSecond := float64(p.Bandwidth) / 8
	if p.TokenBandwidth {
		m.tokens = min(perSecond, m.tokens+now.Sub(m.since).Seconds()*perSecond)
		m.since = now
		if m.tokens < float64(n) {
			return false
		}
		m.tokens -= float64(n)
		return true
	}
	// Mumble src/murmur/ServerUser.cpp, BandwidthRecord::addFrame.
	oldest := &m.ring[m.next]
	elapsed := now.Sub(oldest.at).Seconds()
	sum := m.sum - oldest.bytes + n
	if elapsed <= 0 || float64(sum)/elapsed > perSecond {
		return false
	}
	*oldest = charge{n, now}
	m.sum = sum
	m.next = (m.next + 1) % ringLen
	return true
}
