package e2ee

import (
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
)

// drain turns what the agreement wants and says into keys, gate and outputs.
func (e *Groups) drain(now time.Time) {
	for out, ok := e.aud.Next(); ok; out, ok = e.aud.Next() {
		switch out := out.(type) {
		case audience.Send:
			e.emit(Carry{out.Token, out.To, out.Object, out.Priority, out.Bulk})
		case audience.Cancel:
			e.emit(CancelCarry{out.Token})
		case audience.SendPresence:
			e.sendPresence()
		case audience.Expect:
			e.emit(Expect{out.From, out.Kind})
		case audience.RunsSotto:
			e.runsSotto(now, out.Session)
		case audience.EpochBegan:
			e.began(now, out)
		case audience.Lost:
			e.lostGroup(now, out)
		case audience.Application:
			e.application(now, out)
		case audience.DirectReady:
			if r := e.groupsOf[out.Group]; r != nil {
				r.wanted = true
			}
			e.emit(DirectReady{out.Token, out.Group})
		case audience.DirectFailed:
			e.emit(DirectFailed{out.Token, out.Missing, out.Unasked})
		case audience.Health:
			e.healthChanged(now, out)
		case audience.GroupSeen:
			if out.Place == 0 {
				e.step(now, EventBeacon, "people here speak encrypted")
			}
		case audience.Notice:
			e.agreementNotice(out)
		}
	}
}

// sendPresence announces us in voice (§1.5): three packets.
func (e *Groups) sendPresence() {
	for i := range 3 {
		body := append([]byte{envelope.VoicePresence, 1}, randomBytes(nonceLen)...)
		e.emit(SendVoice{FrameNumber: e.watching.frames + uint64(i*announceStep), Body: body})
	}
	e.watching.frames = (e.watching.frames + 3*announceStep) % frameNumbers
}

func (e *Groups) runsSotto(now time.Time, session uint32) {
	p := e.peers[session]
	if p == nil || p.sotto {
		return
	}
	p.sotto = true
	if p.Hears {
		e.step(now, EventPeer, p.Label+" runs Sotto")
	}
}

// began takes over an epoch: keys, members, and who they are.
func (e *Groups) began(now time.Time, b audience.EpochBegan) {
	r := e.groupsOf[b.Group]
	if r == nil {
		r = &roster{direct: b.Audience == envelope.AudienceDirect}
		e.groupsOf[b.Group] = r
	}
	r.EpochBegan = b
	r.joined = r.joined || b.Joined
	r.health.Claimed = b.Claimed
	e.media.begin(now, b)
	for _, leaf := range b.Removed {
		delete(e.missing, author{b.Group, leaf})
	}
	for i := range r.Leaves {
		r.Leaves[i].BaseKey = [32]byte{} // held once, where it is used
	}
	if b.Place == 0 {
		e.home = b.Group
	}
	members := make([]uint32, 0, len(b.Leaves))
	for _, l := range b.Leaves {
		members = append(members, l.Session)
		// In a direct group anybody can claim anybody, and a leaf that its session has
		// not shown to be its own is the word of who added it.
		if !r.direct && !slices.Contains(b.Claimed, l.Session) {
			e.runsSotto(now, l.Session)
		}
	}
	slices.Sort(members)
	e.judge(now)
	if b.Place == 0 && e.gate.State() == StatePriv {
		e.watching.rememberAt = now.Add(rememberTime) // those who are new as well
	}
	e.emit(RosterChanged{Group: b.Group, Epoch: b.Epoch, Suite: b.Suite, PostQuantum: b.Suite == audience.SuiteHybrid, Direct: r.direct, Home: b.Place == 0, Members: members})
	e.emit(KeysChanged{})
}

func (e *Groups) lostGroup(now time.Time, l audience.Lost) {
	e.media.drop(l.Group)
	r := e.groupsOf[l.Group]
	delete(e.groupsOf, l.Group)
	for k := range e.missing {
		if k.group == l.Group {
			delete(e.missing, k)
		}
	}
	e.judge(now)
	home := l.Group == e.home
	if home {
		e.home = envelope.GroupID{}
	}
	e.emit(RosterChanged{Group: l.Group, Direct: r != nil && r.direct, Home: home})
	if home && (l.Reason == audience.LostRemoved || l.Reason == audience.LostBroken) {
		e.step(now, EventGroupLost, "the keys of this channel are lost")
	}
}

// healthChanged steps the gate for what the table of §11 names.
func (e *Groups) healthChanged(now time.Time, h audience.Health) {
	r := e.groupsOf[h.Group]
	if r == nil {
		return
	}
	before := r.health
	r.health = h
	e.judge(now) // who has shown itself is remembered
	if h.Group != e.home {
		return
	}
	if len(h.Overdue) > 0 && len(before.Overdue) == 0 {
		e.step(now, EventRemoveOverdue, e.labels(h.Overdue)+" may still hear")
	}
	if list := newIn(h.OtherServer, before.OtherServer); len(list) > 0 {
		e.step(now, EventCertificate, e.see(list)+" another certificate of this server: somebody may stand between")
	}
	if list := newIn(h.Leaving, before.Leaving); len(list) > 0 {
		e.emit(Notice{NoticeLeaving, e.labels(list) + " may still hear for a moment."})
	}
}

// newIn are the sessions of list that were not in before.
func newIn(list, before []uint32) (out []uint32) {
	for _, s := range list {
		if !slices.Contains(before, s) {
			out = append(out, s)
		}
	}
	return out
}

// agreementNotice words what the agreement noticed.
func (e *Groups) agreementNotice(n audience.Notice) {
	who, by := e.label(n.Session), e.label(n.By)
	if n.By == e.session {
		by = "You"
	}
	var text string
	switch n.Code {
	case audience.NoticeFork:
		text = "Group views differ: " + who + " is shown another history of this group. The server, or somebody in it, may be lying."
	case audience.NoticeHealed:
		text = "Everybody in the group has the same view again."
	case audience.NoticeRemovedBy:
		text = by + " removed " + who + " from the encrypted group, though the server shows " + who + " here."
	case audience.NoticeRemovedUs:
		text = by + " removed you from the encrypted group. Asking to be added again."
	case audience.NoticeBadCommit:
		text = "A broken key change was skipped."
		if n.Session != 0 {
			text = "A broken key change by " + who + " was skipped."
		}
	case audience.NoticeBlamed:
		text = "Others report the same broken key change."
		if n.Session != 0 {
			text = "Others report the same broken key change by " + who + "."
		}
	case audience.NoticeNoCommit:
		text = "The keys cannot change: the server does not pass it on."
	case audience.NoticeNoRefresh:
		text = "Your key refresh is being blocked."
	case audience.NoticeTwoGroups:
		text = "There are two groups here that do not come together."
	case audience.NoticeSecret:
		text = "Others here have a group with a secret that you do not have: you and they hear silence from each other."
		if e.cfg.Secret != nil {
			text = "Others here have a group without your secret: you and they hear silence from each other."
		}
		e.watching.otherSecret = true
	case audience.NoticeLocked:
		text = by + " opened the group again."
		if n.Locked {
			text = by + " locked the group: nobody new can come in."
		}
	case audience.NoticeNotAdded:
		text = who + " wants to be in the group and may not."
		if n.Locked {
			text = who + " wants to be in the group, which is locked."
		}
	default:
		text = "Notice: " + n.Code + "."
	}
	e.emit(Notice{n.Code, text})
}

// label is how a session is named to a person.
func (e *Groups) label(session uint32) string {
	if p := e.peers[session]; p != nil {
		return p.Label
	}
	if name := e.names[session]; name != "" {
		return name
	}
	return "somebody"
}

// see names who sees something, with the verb.
func (e *Groups) see(sessions []uint32) string {
	if len(sessions) == 1 {
		return e.labels(sessions) + " sees"
	}
	return e.labels(sessions) + " see"
}

// labels are the names of people, not too many of them.
func (e *Groups) labels(sessions []uint32) string { return enumerate(sessions, e.label) }

// located is labels with the place of who hears us from elsewhere.
func (e *Groups) located(sessions []uint32) string {
	return enumerate(sessions, func(s uint32) string {
		if p := e.peers[s]; p != nil {
			return p.Label + p.Where
		}
		return e.label(s)
	})
}

func enumerate(sessions []uint32, name func(uint32) string) string {
	const most = 4
	text := ""
	for i, s := range sessions {
		switch {
		case i == most:
			return text + " and others"
		case i > 0:
			text += ", "
		}
		text += name(s)
	}
	return text
}
