package trust

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sotto-voip/sotto/identity"
)

func channelKey(server string, channel uint32) key {
	return key{byChannel, server, strconv.FormatUint(uint64(channel), 10)}
}

// stickyKeys returns everything p is remembered by. Names hold everywhere: who
// shows up with the name of a protected person on another server is asked about
// rather than talked to in clear.
func stickyKeys(server string, p Person) []key {
	var keys []key
	if p.Identity != (identity.PublicKey{}) {
		keys = append(keys, personKey(p.Identity))
	}
	for _, k := range marksOf(server, p) {
		keys = append(keys, stickyOf(k))
	}
	return keys
}

// stickyOf is the sticky form of a mark.
func stickyOf(mark key) key {
	if mark.kind == ByName {
		mark.server = ""
	}
	return mark
}

// Remember writes the sticky memory: speech was protected in this channel with
// these people (Sotto protocol §11: after 1 s in Priv; owners call it again now
// and then, which costs nothing). People without an identity are left out: they
// were present, not protected. It reports whether everything is remembered;
// false means that there is no room.
func (b *Book) Remember(now time.Time, server string, channel uint32, people []Person) bool {
	server = serverName(server)
	keys := []key{channelKey(server, channel)}
	for _, p := range people {
		if p.Identity != (identity.PublicKey{}) {
			keys = append(keys, stickyKeys(server, p)...)
		}
	}
	return b.protect(now.Unix(), keys)
}

// Fresh is how many entries Remember would add for p.
func (b *Book) Fresh(now time.Time, server string, p Person) (n int) {
	if p.Identity == (identity.PublicKey{}) {
		return 0
	}
	for _, k := range stickyKeys(serverName(server), p) {
		if !b.isProtected(now.Unix(), k) {
			n++
		}
	}
	return n
}

func (b *Book) protect(now int64, keys []key) bool {
	if b.protected == nil {
		b.protected = map[key]int64{}
	}
	var fresh []key
	all := true
	for _, k := range keys {
		at, ok := b.protected[k]
		if ok && now-at < touch {
			continue
		}
		if !ok && (b.crowded() || len(b.protected) >= maxProtected) {
			b.expire(now)
			if b.crowded() || len(b.protected) >= maxProtected {
				all = false
				continue
			}
		}
		b.protected[k] = now
		fresh = append(fresh, k)
	}
	if len(fresh) > 0 {
		b.log(func(o *Book) { o.protect(now, fresh) })
	}
	return all
}

// Sticky reports whether the memory holds this channel or anybody of those
// present, and why, in one sentence for people. people are all that the server
// shows in the audience but oneself, with Sotto or without.
func (b *Book) Sticky(now time.Time, server string, channel uint32, people []Person) (reason string, ok bool) {
	server = serverName(server)
	if b.isProtected(now.Unix(), channelKey(server, channel)) {
		return "speech was protected in this channel before", true
	}
	for _, p := range people {
		for _, k := range stickyKeys(server, p) {
			if !b.isProtected(now.Unix(), k) {
				continue
			}
			by := "identity key"
			switch k.kind {
			case ByCertificate:
				by = "Mumble certificate"
			case ByRegistration:
				by = "registration"
			case ByName:
				by = "name"
			}
			return fmt.Sprintf("speech with %s was protected before (same %s)", quote(p.Name), by), true
		}
	}
	return "", false
}

// WasProtected reports whether speech was protected before with a person, whom the
// server shows with one of the marks of then: whoever shows no sign of Sotto now had
// it, or somebody hides it (MS3 of the threat model).
func (b *Book) WasProtected(now time.Time, server string, p Person) bool {
	server = serverName(server)
	return slices.ContainsFunc(stickyKeys(server, p), func(k key) bool { return b.isProtected(now.Unix(), k) })
}

// Forget forgets a person by the user's wish: the key, the marks that were its
// alone, and that speech with them was protected. A channel stays sticky. It
// reports whether there was anything.
func (b *Book) Forget(p identity.PublicKey) bool {
	_, protected := b.protected[personKey(p)]
	if b.people[p] == nil && !protected {
		return false
	}
	b.forget(p)
	b.log(func(o *Book) { o.forget(p) })
	return true
}

func (b *Book) forget(p identity.PublicKey) {
	delete(b.protected, personKey(p))
	b.release(b.remove(map[identity.PublicKey]bool{p: true}))
}

// release forgets protected marks that are nobody's any more.
func (b *Book) release(orphans []key) {
	gone := map[key]bool{}
	for _, k := range orphans {
		gone[stickyOf(k)] = true
		delete(b.protected, stickyOf(k))
	}
	for k, m := range b.marks { // a name can be somebody else's on another server
		if s := stickyOf(k); gone[s] {
			for _, p := range m.keys {
				if at, ok := b.protected[personKey(p)]; ok {
					b.protected[s] = max(at, b.protected[s])
				}
			}
		}
	}
}

// ForgetChannel forgets by the user's wish that speech was protected in a
// channel; the people of it stay remembered. It reports whether it was.
func (b *Book) ForgetChannel(server string, channel uint32) bool {
	k := channelKey(serverName(server), channel)
	if _, ok := b.protected[k]; !ok {
		return false
	}
	delete(b.protected, k)
	b.log(func(o *Book) { delete(o.protected, k) })
	return true
}

// ForgetServer forgets by the user's wish what belongs to one server: channels,
// registrations, names, what the server could do. People, who are keys, stay,
// with their certificates.
func (b *Book) ForgetServer(server string) {
	server = serverName(server)
	b.forgetServer(server)
	b.log(func(o *Book) { o.forgetServer(server) })
}

func (b *Book) forgetServer(server string) {
	var orphans []key
	for k := range b.marks {
		if k.kind != ByCertificate && k.server == server {
			b.dropMark(k)
			orphans = append(orphans, k)
		}
	}
	b.release(orphans)
	for k := range b.protected {
		if k.kind != ByCertificate && k.kind != byIdentity && k.kind != ByName && k.server == server {
			delete(b.protected, k)
		}
	}
	delete(b.servers, server)
}
