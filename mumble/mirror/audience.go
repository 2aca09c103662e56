package mirror

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Closure returns the channels that hear speech in channel id: the channel
// itself and everything reachable over links. Murmur follows links transitively
// (src/murmur/Channel.cpp, Channel::allLinks). Sorted.
func (m *Mirror) Closure(id uint32) []uint32 {
	seen := map[uint32]bool{id: true}
	todo := []uint32{id}
	for len(todo) > 0 {
		c, ok := m.channels[todo[0]]
		todo = todo[1:]
		if !ok {
			continue
		}
		for _, other := range c.Links {
			if !seen[other] {
				seen[other] = true
				todo = append(todo, other)
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Tree returns channel id and all channels below it. Sorted.
func (m *Mirror) Tree(id uint32) []uint32 {
	below := map[uint32][]uint32{}
	for _, c := range m.channels {
		if c.ID != 0 && c.ID != c.Parent {
			below[c.Parent] = append(below[c.Parent], c.ID)
		}
	}
	seen := map[uint32]bool{id: true}
	todo := []uint32{id}
	for len(todo) > 0 {
		for _, child := range below[todo[0]] {
			if !seen[child] { // a server can describe a circle
				seen[child] = true
				todo = append(todo, child)
			}
		}
		todo = todo[1:]
	}
	return slices.Sorted(maps.Keys(seen))
}

// Within returns the sessions that sit in one of the channels or listen to one
// of them, without the own. Sorted. Deaf people count: they can undeafen.
func (m *Mirror) Within(channels []uint32) []uint32 {
	in := map[uint32]bool{}
	for _, id := range channels {
		in[id] = true
	}
	var out []uint32
	for s, u := range m.users {
		if s == m.self {
			continue
		}
		if in[u.Channel] || slices.ContainsFunc(u.Listens, func(id uint32) bool { return in[id] }) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// Listeners returns the sessions that hear speech in a channel by listening to it, or
// to one that is linked with it, from elsewhere, without the own. Sorted.
func (m *Mirror) Listeners(channel uint32) []uint32 {
	channels := m.Closure(channel)
	return slices.DeleteFunc(m.Within(channels), func(s uint32) bool {
		return slices.Contains(channels, m.users[s].Channel)
	})
}

// Hearers returns the sessions that may hear normal speech of the own user:
// everybody in the link closure of its channel, and the listeners there. It is
// a superset: rights that the server enforces (Speak, deaf) are not subtracted.
func (m *Mirror) Hearers() []uint32 {
	u, ok := m.users[m.self]
	if !ok {
		return nil
	}
	return m.Within(m.Closure(u.Channel))
}

// Find resolves a channel path such as "Lobby/Red team" from the root, by name.
// The empty path is the root.
func (m *Mirror) Find(path string) (uint32, bool) {
	at := uint32(0)
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		next, ok := m.child(at, name)
		if !ok {
			return 0, false
		}
		at = next
	}
	_, ok := m.channels[at]
	return at, ok
}

func (m *Mirror) child(parent uint32, name string) (uint32, bool) {
	for _, id := range slices.Sorted(maps.Keys(m.channels)) {
		c := m.channels[id]
		if id != 0 && c.Parent == parent && c.Name == name {
			return id, true
		}
	}
	return 0, false
}

// Where says of somebody who hears the own speech from elsewhere how that comes: a
// linked channel, or a listener. It is "" for who is in the own channel, else begins
// with a blank, to stand behind a Label. closure is that of the own channel, which is
// dear to find for each of many.
func (m *Mirror) Where(session uint32, closure []uint32) string {
	me, known := m.users[m.self]
	u, there := m.users[session]
	if !known || !there || u.Channel == me.Channel {
		return ""
	}
	place := Label("channel " + strconv.FormatUint(uint64(u.Channel), 10)) // never described
	if c, ok := m.channels[u.Channel]; ok {
		place = Label(c.Name)
	}
	if _, linked := slices.BinarySearch(closure, u.Channel); linked {
		return " (in " + place + ")"
	}
	return " (listens from " + place + ")"
}
