package e2ee

import (
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/sframe"
)

// Opened says where a frame that opened belongs.
type Opened struct {
	Group  envelope.GroupID
	Direct bool // whispered to us; else spoken in a channel
	Home   bool // in the group of the own channel
}

// OpenVoice opens vk || rest that the server says session sent. f brings frame
// number and terminator of the Mumble packet and takes Opus, appended to dst, and
// position. At most one key is tried: the KID names it.
//
// ErrFuture means that the frame is of an epoch or group that has not begun here;
// keep it for 600 ms and try again after KeysChanged. The other errors are the
// sentinels of this package; f then has neither Opus nor position. A presence in
// voice is taken note of and is ErrNoKey: there is nothing to play. Drain Next
// afterwards. Nothing is allocated, but at a new step and where a frame tells the
// agreement something, if dst has the room.
func (e *Groups) OpenVoice(dst []byte, now time.Time, session uint32, vk byte, rest []byte, f *Frame) (Opened, error) {
	f.Opus, f.HasPosition, f.Position = nil, false, [3]float32{}
	o, err := e.openVoice(dst, now, session, vk, rest, f)
	if err != nil && err != ErrFuture && vk != envelope.VoicePresence {
		e.stats.count(err)
	}
	return o, err
}

func (e *Groups) openVoice(dst []byte, now time.Time, session uint32, vk byte, rest []byte, f *Frame) (Opened, error) {
	switch {
	case vk == envelope.VoicePresence:
		e.Handle(now, HeardPresence{From: session})
		return Opened{}, ErrNoKey
	case vk != envelope.VoiceMLS:
		return Opened{}, ErrNoKey
	case len(rest) > maxVoiceBody:
		return Opened{}, ErrFrameTooLong
	case e.peers[session] == nil:
		return Opened{}, ErrUnknownSession
	}
	h, _, err := sframe.ParseHeader(rest)
	if err != nil {
		return Opened{}, ErrMalformed
	}
	g, at, l, err := e.media.find(now, session, h.KID)
	if err != nil {
		return Opened{}, err
	}
	if l.listener {
		return Opened{}, ErrNoKey // "A frame under a role-1 leaf is dropped" (§3)
	}
	m := &e.media
	m.meta = appendGroupMetadata(m.meta[:0], g.id, at.number, l.index, f)
	plain, err := l.recv.open(m.plain[:0], now, h, h.KID > 0xFF, g, at, rest, m.meta)
	if err != nil {
		return Opened{}, err
	}
	defer clear(plain)
	m.agesBy(l.recv.ages())
	if h.KID > 0xFF {
		m.moved(session, g)
	}
	opus, position, ok := parsePlaintext(plain)
	if !ok {
		return Opened{}, ErrMalformed
	}
	f.Opus = append(dst, opus...)[len(dst):]
	if position != nil && e.context.value != nil {
		f.Position, f.HasPosition = readPosition(position, at.positionTag(&e.context))
	}
	o := Opened{Group: g.id, Direct: g.direct, Home: g.id == e.home}
	e.proves(now, g, at, l) // the last, for it can end the epoch
	return o, nil
}

// proves tells the agreement that a member follows, now and then.
func (e *Groups) proves(now time.Time, g *mediaGroup, at *mediaEpoch, l *mediaLeaf) {
	if at.end.IsZero() && (l.proved.IsZero() || now.Sub(l.proved) >= proofEvery) {
		l.proved = now
		e.aud.Handle(now, audience.Proof{Group: g.id, Epoch: at.number, Leaf: l.index})
		e.used(now, g)
		e.after(now)
	}
}

// used tells the agreement that a direct group is spoken in.
func (e *Groups) used(now time.Time, g *mediaGroup) {
	if g.direct {
		e.aud.Handle(now, audience.UseDirect{Group: g.id})
	}
}

// find returns the one leaf and epoch that a KID of session can mean (§7.2).
func (m *media) find(now time.Time, session uint32, kid uint64) (*mediaGroup, *mediaEpoch, *mediaLeaf, error) {
	var g *mediaGroup
	var low, mod uint64
	if kid <= 0xFF {
		g, low, mod = m.homeOf[session], kid>>4, 16
		if g == nil {
			return nil, nil, nil, ErrFuture // of a group that we are about to join, perhaps
		}
	} else {
		if kid>>48 != 0 || kid>>47 == 0 {
			return nil, nil, nil, ErrNoKey
		}
		g, low, mod = m.byTag[uint32(kid>>16)], kid>>8&0xFF, 256
		if g == nil {
			return nil, nil, nil, ErrFuture
		}
	}
	current := g.epochs[len(g.epochs)-1].number
	for i := len(g.epochs) - 1; i >= 0; i-- {
		at := g.epochs[i]
		if at.number%mod != low {
			continue
		}
		if !at.end.IsZero() && !now.Before(at.end) {
			return nil, nil, nil, ErrStale
		}
		l := at.leaves[session]
		if l == nil {
			return nil, nil, nil, ErrNoKey
		}
		return g, at, l, nil
	}
	if ahead := (low - current%mod + mod) % mod; ahead >= 1 && ahead <= 8 {
		return nil, nil, nil, ErrFuture
	}
	return nil, nil, nil, ErrNoKey
}

// open opens one SFrame ciphertext. It picks at most one key and tries it once;
// only what opened moves anything.
func (r *groupRecv) open(dst []byte, now time.Time, h sframe.Header, long bool, g *mediaGroup, at *mediaEpoch, frame, metadata []byte) ([]byte, error) {
	if err := r.age(now); err != nil {
		return nil, err
	}
	if h.CTR > stepFrames {
		return nil, ErrNoKey
	}
	mod := uint64(16)
	if long {
		mod = 256
	}
	s := &r.cur
	switch ahead := (h.KID%mod - r.cur.step%mod + mod) % mod; {
	case ahead == 0:
	case ahead <= stepAhead:
		return r.openAhead(dst, now, ahead, h, long, g, at, frame, metadata)
	case ahead == mod-1 && !r.prevEnd.IsZero():
		s = &r.prev
	default:
		return nil, ErrNoKey
	}
	if !s.replay.fresh(h.CTR) {
		return nil, ErrReplay
	}
	key, err := s.keys.get(&s.ratchet, long, g.id.Tag(), at.number)
	if err != nil {
		return nil, err
	}
	g.opens++
	plain, err := key.Open(dst, frame, metadata)
	if err != nil {
		return nil, ErrAuth
	}
	s.replay.accept(h.CTR)
	if s.first.IsZero() {
		s.first = now
	}
	return plain, nil
}

// openAhead opens a frame of a later step, and goes there if it opens.
func (r *groupRecv) openAhead(dst []byte, now time.Time, ahead uint64, h sframe.Header, long bool, g *mediaGroup, at *mediaEpoch, frame, metadata []byte) ([]byte, error) {
	before := r.cur.ratchet
	var err error
	for range ahead - 1 {
		if before, err = before.next(); err != nil {
			return nil, err
		}
	}
	n, err := before.next()
	if err != nil {
		return nil, err
	}
	next := groupStep{ratchet: n, first: now}
	key, err := next.keys.get(&next.ratchet, long, g.id.Tag(), at.number)
	if err != nil {
		return nil, err
	}
	g.opens++
	plain, err := key.Open(dst, frame, metadata)
	if err != nil {
		return nil, ErrAuth
	}
	next.replay.accept(h.CTR)
	prev := r.cur
	if ahead > 1 {
		prev = groupStep{ratchet: before} // steps were missed; stragglers of the last may come
	}
	r.enter(next, prev, now)
	return plain, nil
}
