package trust

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/identity"
)

// Bounds of a Book.
const (
	maxPeople    = 10_000
	maxMarks     = 25_000
	maxProtected = 25_000
	maxServers   = 1_000
	// maxPersonMarks bounds what one key can gather by being renamed.
	maxPersonMarks = 64
	// maxMarkKeys is how many keys the user can have accepted for one mark; one
	// more drops the oldest.
	maxMarkKeys = 4
	maxJournal  = 16_384
)

// Memory is how long protected speech is remembered (Sotto protocol §11).
const Memory = 365 * 24 * time.Hour

// touch is how much older a time must be before it is worth a write.
const touch = 24 * 3600

// Book is what one person remembers of others. The zero value is empty and
// usable. It is not safe for concurrent use.
//
// Servers are named as the user typed them, always in the same form
// (keystore.Server.Address). Everything else about people comes from servers
// and is taken as such: lengths are limited, forms unified.
type Book struct {
	people    map[identity.PublicKey]*entry
	marks     map[key]*mark
	protected map[key]int64 // Unix seconds of the last protected speech
	servers   map[string]*facts

	journal []func(*Book)
}

// entry is a person. Times are Unix seconds.
type entry struct {
	name        string // as shown last, cleaned
	first, last int64
	marks       int
}

// mark is what a server says about a person, and the keys that came with it.
type mark struct {
	keys []identity.PublicKey // the first seen first
	seen int64
}

// key names a mark or a protected thing.
type key struct {
	kind   Kind
	server string // "" where it is the same everywhere
	value  string
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.kind, o.kind), cmp.Compare(k.server, o.server), cmp.Compare(k.value, o.value))
}

// Changed reports whether there is something to write: something changed since
// Parse, or since the last Saved.
func (b *Book) Changed() bool { return len(b.journal) > 0 }

// Saved says that the Book was written as it is now.
func (b *Book) Saved() { b.journal = nil }

// Rebase makes b what newer is with the changes of b since Parse, Saved or
// Rebase on top: two processes that write one file lose nothing, and what the
// user made one of them forget does not come back from the other. newer must
// not be used afterwards. Changed stays as it was.
func (b *Book) Rebase(newer *Book) {
	journal := b.journal
	*b = Book{people: newer.people, marks: newer.marks, protected: newer.protected, servers: newer.servers}
	for _, change := range journal {
		change(b)
	}
	b.journal = journal
}

// log notes a change that was made, so that Rebase can make it again.
func (b *Book) log(change func(*Book)) { b.journal = append(b.journal, change) }

// crowded reports that so much changed since the last Saved that servers have
// to wait; the user's own acts always pass.
func (b *Book) crowded() bool { return len(b.journal) >= maxJournal }

// isProtected reports whether the memory of k holds at a time. A time in the
// future holds: clocks are set back.
func (b *Book) isProtected(now int64, k key) bool {
	at, ok := b.protected[k]
	return ok && now-at < int64(Memory/time.Second)
}

// Expire forgets protected speech that is older than Memory. Keys stay: who
// comes back after years with another one shall be noticed.
func (b *Book) Expire(now time.Time) {
	n := len(b.protected) + len(b.servers)
	b.expire(now.Unix())
	if len(b.protected)+len(b.servers) != n {
		b.log(func(o *Book) { o.expire(now.Unix()) })
	}
}

func (b *Book) expire(now int64) {
	maps.DeleteFunc(b.protected, func(k key, _ int64) bool { return !b.isProtected(now, k) })
	maps.DeleteFunc(b.servers, func(_ string, f *facts) bool { return now-f.last >= int64(Memory/time.Second) })
}

// share is the part that goes at once when room is needed, so that a flood does
// not sort the whole Book for each newcomer.
const share = 16

// makeRoom forgets the people who were not seen for longest among those never
// protected. It reports whether one more person fits.
func (b *Book) makeRoom(now int64) bool {
	if len(b.people) < maxPeople {
		return true
	}
	var old []identity.PublicKey
	for p := range b.people {
		if !b.isProtected(now, personKey(p)) {
			old = append(old, p)
		}
	}
	slices.SortFunc(old, func(x, y identity.PublicKey) int {
		return cmp.Or(cmp.Compare(b.people[x].last, b.people[y].last), slices.Compare(x[:], y[:]))
	})
	old = old[:min(len(old), maxPeople/share)]
	gone := make(map[identity.PublicKey]bool, len(old))
	for _, p := range old {
		gone[p] = true
	}
	b.remove(gone)
	return len(b.people) < maxPeople
}

// makeMarkRoom does the same for marks: those of people never protected go.
func (b *Book) makeMarkRoom(now int64) bool {
	if len(b.marks) < maxMarks {
		return true
	}
	var old []key
	for k, m := range b.marks {
		if !slices.ContainsFunc(m.keys, func(p identity.PublicKey) bool { return b.isProtected(now, personKey(p)) }) {
			old = append(old, k)
		}
	}
	slices.SortFunc(old, func(x, y key) int {
		return cmp.Or(cmp.Compare(b.marks[x].seen, b.marks[y].seen), x.compare(y))
	})
	for _, k := range old[:min(len(old), maxMarks/share)] {
		b.dropMark(k)
	}
	return len(b.marks) < maxMarks
}

func (b *Book) dropMark(k key) {
	for _, p := range b.marks[k].keys {
		b.people[p].marks--
	}
	delete(b.marks, k)
}

// remove takes people out, with the marks that were theirs alone. It returns
// those marks.
func (b *Book) remove(gone map[identity.PublicKey]bool) (orphans []key) {
	for k, m := range b.marks {
		m.keys = slices.DeleteFunc(m.keys, func(p identity.PublicKey) bool { return gone[p] })
		if len(m.keys) == 0 {
			delete(b.marks, k)
			orphans = append(orphans, k)
		}
	}
	for p := range gone {
		delete(b.people, p)
	}
	return orphans
}
