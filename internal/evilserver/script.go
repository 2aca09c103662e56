package evilserver

import (
	"bytes"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/voice"
)

// Verdict is what happens to a message. The zero Verdict lets it pass, with what
// the lie changed in it.
type Verdict struct {
	replaced bool
	instead  []proto.Message
	delay    time.Duration
}

// Pass lets the message go on.
func Pass() Verdict { return Verdict{} }

// Drop loses it.
func Drop() Verdict { return Verdict{replaced: true} }

// Send lets these go in its place, in this order; it may be among them, twice
// as well.
func Send(m ...proto.Message) Verdict { return Verdict{replaced: true, instead: m} }

// After lets go what the Verdict lets go a while later. What comes after it does
// not wait.
func (v Verdict) After(d time.Duration) Verdict {
	v.delay += max(d, 0)
	return v
}

// Who says to whom a lie is told.
type Who func(*Client) bool

// Everybody is told.
func Everybody(*Client) bool { return true }

// Named is those of these names.
func Named(names ...string) Who {
	return func(c *Client) bool { return slices.Contains(names, c.Name()) }
}

// NotNamed is all others.
func NotNamed(names ...string) Who {
	return func(c *Client) bool { return !slices.Contains(names, c.Name()) }
}

// Lie is a part of the script.
type Lie struct {
	s       *Server
	dir     voice.Direction // of message
	message func(*Client, proto.Message) Verdict
	voice   func(*Client, voice.Direction, voice.Packet) ([]voice.Packet, time.Duration)
	stopped atomic.Bool
	told    atomic.Int64
}

// Stop ends the lie. One call of it may still be running then.
func (l *Lie) Stop() {
	l.stopped.Store(true)
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.lies = slices.DeleteFunc(slices.Clone(l.s.lies), func(o *Lie) bool { return o == l }) // judge walks the old one
}

// Told counts how often the lie changed, lost or added something.
func (l *Lie) Told() int { return int(l.told.Load()) }

func (s *Server) tell(l *Lie) *Lie {
	l.s = s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lies = append(slices.Clone(s.lies), l) // judge walks the old one
	return l
}

// OnServer looks at every message from murmurd to a client. f may change m.
func (s *Server) OnServer(f func(to *Client, m proto.Message) Verdict) *Lie {
	return s.tell(&Lie{dir: voice.ToClient, message: f})
}

// OnClient looks at every message from a client to murmurd. f may change m.
func (s *Server) OnClient(f func(from *Client, m proto.Message) Verdict) *Lie {
	return s.tell(&Lie{dir: voice.ToServer, message: f})
}

// OnVoice looks at every voice packet, either way, tunnelled or not. f returns
// what goes on in its place and after which time.
func (s *Server) OnVoice(f func(c *Client, dir voice.Direction, p voice.Packet) (instead []voice.Packet, after time.Duration)) *Lie {
	return s.tell(&Lie{voice: f})
}

// Rewrite lets f change each message of one type from murmurd to some clients.
// A method cannot have the type parameter.
func Rewrite[M proto.Message](s *Server, to Who, f func(to *Client, m M)) *Lie {
	return s.tell(rewriting(to, f))
}

func rewriting[M proto.Message](to Who, f func(to *Client, m M)) *Lie {
	l := &Lie{dir: voice.ToClient}
	l.message = func(c *Client, m proto.Message) Verdict {
		if typed, ok := m.(M); ok && to(c) {
			before := proto.Clone(m)
			f(c, typed)
			if !proto.Equal(before, m) {
				l.told.Add(1)
			}
		}
		return Pass()
	}
	return l
}

// Inject sends a message to the client, as if murmurd had.
func (s *Server) Inject(c *Client, m proto.Message) { c.send(voice.ToClient, proto.Clone(m), 0) }

// InjectBytes writes bytes on the client's connection between two messages:
// frames that no API makes, or half of one. b is not copied.
func (s *Server) InjectBytes(c *Client, b []byte) { c.out[voice.ToClient].push(entry{frame: b}) }

// InjectServer sends a message to murmurd, as if the client had.
func (s *Server) InjectServer(c *Client, m proto.Message) {
	c.send(voice.ToServer, proto.Clone(m), 0)
}

// InjectVoice sends a voice packet in a direction, by UDP if the client uses it.
func (s *Server) InjectVoice(c *Client, dir voice.Direction, p voice.Packet) {
	c.mu.Lock()
	udp := c.addr != nil
	c.mu.Unlock()
	c.sendVoice(dir, voiceItem{p, 0}, udp)
}

type item struct {
	m     proto.Message
	delay time.Duration
}

type voiceItem struct {
	p     voice.Packet
	delay time.Duration
}

// maxInstead bounds what lies make of one message.
const maxInstead = 1024

// current returns the lies as they are now. The slice is not changed any more.
func (s *Server) current() []*Lie {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lies
}

func (s *Server) judge(c *Client, dir voice.Direction, m proto.Message) []item {
	s.script.Lock()
	defer s.script.Unlock()
	items := []item{{m, 0}}
	for _, l := range s.current() {
		if l.message == nil || l.dir != dir || l.stopped.Load() {
			continue
		}
		var next []item
		for _, it := range items {
			v := l.message(c, it.m)
			if !v.replaced {
				v.instead = []proto.Message{it.m}
			}
			if v.replaced || v.delay > 0 {
				l.told.Add(1)
			}
			for i, m := range v.instead {
				if slices.Contains(v.instead[:i], m) {
					m = proto.Clone(m) // the next lie changes one of them only
				}
				if len(next) < maxInstead {
					next = append(next, item{m, it.delay + v.delay})
				}
			}
		}
		items = next
	}
	return items
}

func samePacket(a, b voice.Packet) bool {
	data := bytes.Equal(a.Data, b.Data)
	a.Data, b.Data = nil, nil
	return data && reflect.DeepEqual(a, b)
}

func (s *Server) judgeVoice(c *Client, dir voice.Direction, p voice.Packet) []voiceItem {
	s.script.Lock()
	defer s.script.Unlock()
	items := []voiceItem{{p, 0}}
	for _, l := range s.current() {
		if l.voice == nil || l.stopped.Load() {
			continue
		}
		var next []voiceItem
		for _, it := range items {
			instead, delay := l.voice(c, dir, it.p)
			if len(instead) != 1 || delay > 0 || !samePacket(instead[0], it.p) {
				l.told.Add(1)
			}
			for _, p := range instead {
				if len(next) < maxInstead {
					next = append(next, voiceItem{p, it.delay + max(delay, 0)})
				}
			}
		}
		items = next
	}
	return items
}
