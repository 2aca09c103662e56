package endpoint

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mumble/mirror"
)

const (
	// ownActWindow is how long a request of the own client makes a matching
	// change by the server the user's own act (Sotto protocol §11).
	ownActWindow = 10 * time.Second
	// worldPace is how often at most the engine hears who is where, but for what
	// concerns us. To tell it costs as much as there are people, and a server can
	// let them come and go by the thousand.
	worldPace = 20 * time.Millisecond
)

// moved reports whether one of the events changes who is where.
func moved(events []mirror.Event) bool {
	return slices.ContainsFunc(events, func(ev mirror.Event) bool {
		switch ev := ev.(type) {
		case mirror.UserAdded, mirror.UserRemoved, mirror.ChannelRemoved:
			return true
		case mirror.UserChanged:
			return ev.Old.Channel != ev.New.Channel || ev.Old.Name != ev.New.Name ||
				!slices.Equal(ev.Old.Listens, ev.New.Listens)
		case mirror.ChannelChanged:
			// The parent decides who is in a tree; a new name is for the gate to judge.
			return ev.Old.Parent != ev.New.Parent || !slices.Equal(ev.Old.Links, ev.New.Links) || ev.Old.Name != ev.New.Name
		case mirror.ChannelAdded:
			return len(ev.Channel.Links) > 0
		}
		return false
	})
}

// ownAct reports whether the events move us (self), and whether that is what the
// own client asked for.
func (e *Endpoint) ownAct(now time.Time, events []mirror.Event) (own, self bool) {
	for _, ev := range events {
		c, ok := ev.(mirror.UserChanged)
		if !ok || c.New.Session != e.mirror.Self() || c.Old.Channel == c.New.Channel {
			continue
		}
		own = now.Before(e.moveUntil) && c.New.Channel == e.move || e.making.made(now, c.New.Channel)
		e.moveUntil = time.Time{}
		return own, true
	}
	return false, false
}

// world tells the engine who is where.
func (e *Endpoint) world(now time.Time, own bool) {
	me, ok := e.mirror.Own()
	if !ok {
		// The server took us out of its own list. There is no audience to tell of
		// until we are back, and no reason to ask again before that.
		e.worldAt, e.stale = now, false
		return
	}
	hears := e.mirror.Hearers()
	users := e.mirror.Users()
	closure := e.mirror.Closure(me.Channel)
	peers := make([]e2ee.Peer, 0, len(users))
	for _, u := range users {
		if u.Session == me.Session {
			continue
		}
		_, in := slices.BinarySearch(hears, u.Session)
		peer := e2ee.Peer{Session: u.Session, Channel: u.Channel, Name: u.Name, Label: mirror.Label(u.Name), Hears: in}
		if in {
			peer.Where = e.mirror.Where(u.Session, closure)
		}
		if e.groups != nil {
			peer.CertHash, peer.Registered, peer.HasRegistered = u.Hash, u.UserID, u.Registered
		}
		peers = append(peers, peer)
	}
	e.worldAt, e.stale = now, false
	w := e2ee.World{Channel: me.Channel, Own: own, Peers: peers}
	if e.groups != nil {
		w.Places, w.Version = e.places(me), e.version
		if c, ok := e.mirror.Channel(me.Channel); ok {
			w.ChannelName = c.Name
		}
	}
	e.engine.Handle(now, w)
	e.settle(now)
	e.refreshTargets(now)
	e.watchRoom(now, me)
}

// freshen tells the engine who is where if it does not know the latest.
func (e *Endpoint) freshen(now time.Time) {
	if e.stale {
		e.world(now, false)
	}
}

// making is a temporary channel that the own client asked for. The server moves who
// makes one into it (Murmur src/murmur/Messages.cpp, msgChannelState), which is the
// user's own act: they wanted to be there.
type making struct {
	parent  uint32
	name    string
	until   time.Time
	channel uint32
	found   bool // channel is the one
}

// see looks for the channel among what has changed.
func (m *making) see(now time.Time, events []mirror.Event) {
	if !now.Before(m.until) || m.found {
		return
	}
	for _, ev := range events {
		if c, ok := ev.(mirror.ChannelAdded); ok && c.Channel.Temporary && c.Channel.Parent == m.parent && c.Channel.Name == m.name {
			m.channel, m.found = c.Channel.ID, true
			return
		}
	}
}

func (m *making) made(now time.Time, channel uint32) bool {
	return m.found && now.Before(m.until) && channel == m.channel
}

// LocalCreate says that the own client asks for a temporary channel below parent.
func (e *Endpoint) LocalCreate(now time.Time, parent uint32, name string) {
	e.making = making{parent: parent, name: name, until: now.Add(ownActWindow)}
}

// LocalMove says that the own client asks to go to another channel. The gate
// closes until the server has answered.
func (e *Endpoint) LocalMove(now time.Time, channel uint32) {
	if me, ok := e.mirror.Own(); !ok || channel != me.Channel || now.Before(e.moveUntil) {
		e.move, e.moveUntil = channel, now.Add(ownActWindow) // else it is no move, and nothing answers it
	}
	e.engine.Handle(now, e2ee.LocalMove{Channel: channel})
	e.settle(now)
}

// places are the audiences of channels that we belong to: our own channel's, and
// those of channels that we listen to (Sotto protocol §3).
func (e *Endpoint) places(me mirror.User) []audience.Place {
	places := []audience.Place{e.place(me.Channel, envelope.RoleSpeaker)}
	for _, c := range me.Listens {
		if _, in := slices.BinarySearch(places[0].Closure, c); in || len(places) > maxListens {
			continue
		}
		places = append(places, e.place(c, envelope.RoleListener))
	}
	return places
}

// maxListens bounds the audiences that we listen to besides our own.
const maxListens = 16

// place is the audience of one channel: who sits where it is heard speaks there,
// who listens to it hears.
func (e *Endpoint) place(channel uint32, role envelope.Role) audience.Place {
	p := audience.Place{Channel: channel, Closure: e.mirror.Closure(channel), Role: role}
	for _, s := range e.mirror.Within(p.Closure) {
		u, ok := e.mirror.User(s)
		if !ok {
			continue
		}
		h := audience.Hearer{Session: s}
		if _, sits := slices.BinarySearch(p.Closure, u.Channel); !sits {
			h.Role = envelope.RoleListener
		}
		p.Hearers = append(p.Hearers, h)
	}
	return p
}
