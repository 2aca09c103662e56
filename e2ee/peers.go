package e2ee

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// maxPeers bounds the people on a server that the engine knows of.
const maxPeers = 4096

const (
	// tellAgain is how long ago our last SecretReady must be before a peer's
	// SecretReady is answered by another.
	tellAgain = 10 * time.Second
	// justMoved is how long after a move a SecretReady for the old channel may
	// still be under way.
	justMoved = 3 * time.Second
	// voiceDoubt is how long voice must fail to open before it means another
	// secret: UDP overtakes the news of a move.
	voiceDoubt = time.Second
)

// Rates of objects from one peer. They are above what a carrier of ours sends
// (10 at once, then one per 300 ms): at the 2 per second and 8 of §12 somebody
// who pastes a page loses half of it, and the echo says that all was delivered.
const (
	objectRate  = 4
	objectBurst = 16
)

// Rates of new nonces from one peer. An honest one draws a nonce at each move and
// every 15 min; each is remembered for 11 min.
const (
	nonceRate  = 0.1
	nonceBurst = 16
)

// peer is somebody else on the server.
type peer struct {
	Peer
	fold      string         // name for comparison with Config.Named
	holder    bool           // proved to hold the secret
	tell      bool           // is to get our SecretReady, whatever else
	told      time.Time      // when it last got it; zero: never
	moved     time.Time      // when its channel last changed
	failed    time.Time      // first voice that did not open here; zero: none
	ready     [nonceLen]byte // nonce of its last SecretReady
	readyAt   time.Time      // when that came; zero: none
	otherSaid bool
	clockSaid bool
	objects   bucket
	nonces    bucket
}

// foldName makes one name of those that Mumble takes for the same.
func foldName(name string) string { return strings.ToLower(norm.NFC.String(strings.TrimSpace(name))) }

// updatePeers takes the peers of a World. It reports whether somebody new hears.
func (e *Engine) updatePeers(now time.Time, peers []Peer) (newcomers bool) {
	here := make(map[uint32]bool, len(peers))
	for _, q := range peers {
		if q.Session == 0 || q.Session == e.session || here[q.Session] || len(here) >= maxPeers {
			continue
		}
		here[q.Session] = true
		p := e.peers[q.Session]
		if p == nil {
			p = &peer{fold: foldName(q.Name)}
			p.Session = q.Session
			e.peers[q.Session] = p
		} else if p.Channel != q.Channel {
			p.moved, p.failed = now, time.Time{}
		}
		if p.Name != q.Name {
			p.fold = foldName(q.Name)
		}
		newcomers = newcomers || q.Hears && !p.Hears
		p.Peer = q
	}
	for session, p := range e.peers {
		if here[session] {
			continue
		}
		delete(e.peers, session)
		if !p.readyAt.IsZero() {
			// Nobody who is given this session now can use what it said.
			e.nonces.add(now, session, p.ready)
			e.sweepSoon(now)
		}
		if p.holder {
			e.emit(Holder{Session: session, Name: p.Name})
		}
	}
	for session, r := range e.receivers {
		if here[session] {
			continue
		}
		e.retire(session, r.newest)
		if r.prev != nil {
			e.retire(session, r.prev)
		}
		delete(e.receivers, session)
	}
	return newcomers
}

// holds notes that p proved to hold the secret.
func (e *Engine) holds(now time.Time, p *peer) {
	if p.holder {
		return
	}
	p.holder = true
	e.emit(Holder{Session: p.Session, Name: p.Name, Holds: true})
	e.settle(now)
}

// readyFailed notes a SecretReady of p that is not under our secret.
func (e *Engine) readyFailed(now time.Time, p *peer) {
	if p.moved.IsZero() || now.Sub(p.moved) >= justMoved {
		e.sayOther(p)
	}
}

// voiceFailed notes a packet of p with a key header that did not open.
func (e *Engine) voiceFailed(now time.Time, p *peer) {
	switch {
	case p.failed.IsZero():
		p.failed = now
	case now.Sub(p.failed) >= voiceDoubt:
		e.sayOther(p)
	}
}

func (e *Engine) sayOther(p *peer) {
	if p.holder || p.otherSaid {
		return
	}
	p.otherSaid = true
	e.emit(OtherSecret{Session: p.Session, Name: p.Name})
}

// clockDiffers says once that p holds the secret but lives in another time.
func (e *Engine) clockDiffers(now time.Time, p *peer, minute uint32) {
	if p.holder || p.clockSaid {
		return
	}
	p.clockSaid = true
	d := int64(minute) - now.Unix()/60
	word := "ahead of"
	if d < 0 {
		d, word = -d, "behind"
	}
	e.emit(Notice{NoticeClock, fmt.Sprintf("The clock of %s is %d minutes %s yours. Set the wrong one right, else you do not hear each other.", p.Label, d, word)})
}

// hearing is what the gate needs to know of those who hear.
type hearing struct {
	others bool     // somebody hears
	all    bool     // all who hear are holders
	met    bool     // the condition of §10.3 holds
	absent []string // people named who are not here as holders
}

func (e *Engine) hearing() (a hearing) {
	a.all = true
	some := false
	for _, p := range e.peers {
		if p.Hears {
			a.others = true
			a.all = a.all && p.holder
			some = some || p.holder
		}
	}
	for _, n := range e.named {
		if !e.namedHolds(n.fold) {
			a.absent = append(a.absent, n.name)
		}
	}
	a.met = some && len(a.absent) == 0
	return a
}

func (e *Engine) namedHolds(fold string) bool {
	for _, p := range e.peers {
		if p.Hears && p.holder && p.fold == fold {
			return true
		}
	}
	return false
}

// Holders returns the sessions that proved to hold the secret, in any channel,
// ascending.
func (e *Engine) Holders() []uint32 {
	var out []uint32
	for session, p := range e.peers {
		if p.holder {
			out = append(out, session)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}

// IsHolder reports whether session proved to hold the secret.
func (e *Engine) IsHolder(session uint32) bool {
	p := e.peers[session]
	return p != nil && p.holder
}
