package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// versionWait is how long the client's Version is held for the server's. Servers
// say theirs first of all, but a busy one was seen to take more than a second, and
// who does not wait speaks to a 1.5 server as to an old one.
const versionWait = 5 * time.Second

// session is one client on one upstream connection. Its loop runs in the
// goroutine of Run, which thereby owns both legs; nothing here needs a lock.
type session struct {
	g     *Guard
	from  *arrival
	down  *downstream
	up    *client.Link
	end   *endpoint.Endpoint
	pings pings
	sleep client.SleepWatch
	fence uint64 // our ping upstream that answers the endpoint's Fence; 0: none

	ownCertificate bool // upstream sees guard's own certificate, not the imported one
	attempt        attempt
	rejected       bool     // the server refused the login
	estranged      []uint32 // whose key is in question, as the client was shown; sorted
	kicked         bool     // the server has removed the client, which was said
	ghosted        bool     // in favour of another connection, which was said
	synced         bool
	braked         bool                 // the client believes that it is suppressed by us
	shown          e2ee.State           // the state the person was last told of
	members        map[uint32]string    // of the channel's group, as last told
	lowered        uint32               // bandwidth told after a frame that was too large; 0: none was
	tokens         []string             // access tokens the client has set
	said           map[string]time.Time // when lines of a kind were last said
	marks          marks
	lines          lineBucket
	ears           ears
	markLines      lineBucket // for what anybody can cause by speaking
	tableStats     tableStats
	voiceStats     voiceStats

	outPacket, inPacket voice.Packet
	sealBuf, openBuf    []byte
}

// errClientGone ends a session because the stock client left.
var errClientGone = errors.New("guard: the client left")

// errRejected ends a session that the server has refused, whether or not it closes the
// connection.
var errRejected = errors.New("guard: the server refused the login")

// serve runs one session to its end and returns the arrival that replaces it,
// if any.
func (g *Guard) serve(ctx context.Context, a *arrival) *arrival {
	if words := g.admit(a); words != "" {
		g.emitRefusal(events.Event{Event: "client_refused", Reason: words})
		reject(a.conn, words)
		return nil
	}
	who, err := g.identify(a)
	if err != nil {
		g.log.Error("certificate", "error", err)
		reject(a.conn, stateTrouble)
		return nil
	}
	if words := g.refused.words(time.Now(), who.attempt(a)); words != "" {
		g.emitRefusal(events.Event{Event: "client_refused", Reason: words})
		reject(a.conn, words)
		return nil
	}
	s, err := g.begin(ctx, a, who)
	if err != nil {
		failed := events.Event{Event: "upstream_failed", Reason: err.Error()}
		if pin := (*keystore.PinError)(nil); errors.As(err, &pin) && !pin.Client {
			failed.Code, failed.Fingerprint = "identity_changed", keystore.Fingerprint(pin.New)
		}
		g.emit(failed)
		reject(a.conn, reasonFor(err))
		return nil
	}
	next, err := s.loop(ctx)
	s.finish(err)
	return next
}

// begin connects upstream for an admitted client and passes its login on.
func (g *Guard) begin(ctx context.Context, a *arrival, who upstreamIdentity) (*session, error) {
	s := &session{
		g: g, from: a, down: newDownstream(a, time.Now()), sleep: client.SleepWatch{Wall: g.cfg.Wall}, said: map[string]time.Time{}, marks: marks{},
		ownCertificate: who.own, attempt: who.attempt(a),
		sealBuf: make([]byte, 0, 2048), openBuf: make([]byte, 0, 2048),
	}
	up, err := g.dial(ctx, who.cert)
	if err != nil {
		return nil, err
	}
	g.sayPinned()
	s.up = up
	s.end, err = g.ends.For(up.Server())
	if err == nil {
		err = s.login(ctx)
	}
	if err != nil {
		if s.end != nil {
			s.disconnected()
		}
		up.Close(0)
		return nil, err
	}
	g.emit(events.Event{Event: "connected", Server: up.ServerVersion().String()})
	return s, nil
}

// login waits for the server's Version, which decides ours, and then passes
// Version and Authenticate on.
func (s *session) login(ctx context.Context) error {
	wait := time.NewTimer(versionWait)
	defer wait.Stop()
	for late := false; !late && !s.rejected && s.up.ServerVersion() == 0; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C: // a server that is slow to say; speak as an old client
			late = true
		case f, ok := <-s.up.Frames():
			if !ok {
				return s.up.Err()
			}
			if err := s.fromServer(time.Now(), f); err != nil {
				return err
			}
		}
	}
	if v := s.versionUp(); v != nil {
		s.up.SendMessage(v)
	}
	s.tokens = s.from.auth.GetTokens()
	s.up.SendMessage(s.g.authenticateUp(s.from.auth))
	return nil
}

// loop is the life of the session. It returns why it ended and who replaces it.
func (s *session) loop(ctx context.Context) (*arrival, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due := s.deadline()
		timer.Reset(time.Until(due))
		s.rouse(time.Now(), time.Time{})
		var err error
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case a := <-s.g.arrivals:
			if a.replaces(s.from) && s.g.admit(a) == "" {
				return a, errClientGone
			}
			words := "this guard already serves another Mumble"
			s.g.emitRefusal(events.Event{Event: "client_refused", Reason: words})
			s.g.wg.Go(func() { reject(a.conn, words) })
		case d := <-s.g.datagrams:
			s.fromClientUDP(time.Now(), d)
			d.Free()
		case d, ok := <-s.up.Datagrams():
			if ok {
				s.fromServerUDP(time.Now(), d)
				d.Free()
			}
		case f, ok := <-s.down.conn.Frames():
			s.pending(s.g.datagrams, s.fromClientUDP)
			if !ok {
				return nil, fmt.Errorf("%w: %w", errClientGone, s.down.conn.Err())
			}
			s.fromClient(time.Now(), f)
		case f, ok := <-s.up.Frames():
			s.pending(s.up.Datagrams(), s.fromServerUDP)
			if !ok {
				return nil, s.up.Err()
			}
			err = s.fromServer(time.Now(), f)
		case m := <-s.g.memory.Done():
			s.remembered(m)
		case <-timer.C:
			now := time.Now()
			s.rouse(now, due)
			err = s.tick(now)
		}
		if err == nil && s.rejected && !s.synced {
			err = errRejected // as servers end it
		}
		if err != nil {
			return nil, err
		}
	}
}

// pending treats the datagrams that have come before a control frame of the
// same leg. Else the last words of somebody who leaves are lost when we are late:
// the news that he is gone would overtake them.
func (s *session) pending(datagrams <-chan *client.Datagram, treat func(time.Time, *client.Datagram)) {
	for range maxDatagrams {
		select {
		case d, ok := <-datagrams:
			if !ok {
				return
			}
			treat(time.Now(), d)
			d.Free()
		default:
			return
		}
	}
}

// rouse acts on a sleep of the computer: the server may have given us up, or the
// network may be another. Nothing is spoken until the server has answered, and our
// keys are renewed, for nobody watched over them.
func (s *session) rouse(now, due time.Time) {
	if !s.sleep.Woke(now, due) {
		return
	}
	s.down.lastTCP = now
	s.up.Probe(now)
	s.end.Renew(now)
	s.drain()
}

// finish closes both legs. The client leg closes without a Reject: then the
// stock client says "remote host closed" and comes back after 10 s.
func (s *session) finish(err error) {
	if words := violation(err); words != "" && s.synced {
		s.down.say(words + ".")
	} else if words != "" {
		s.down.conn.SendMessage(&mumblepb.Reject{Type: mumblepb.Reject_None.Enum(), Reason: &words})
	} else if s.synced && errors.Is(err, client.ErrTimeout) {
		// Of itself the client says only that the connection was closed.
		s.down.say("the server has stopped answering. Your Mumble connects again by itself.")
	} else if s.synced && errors.Is(err, client.ErrUnreachable) {
		s.down.say("the way to the server is gone; this computer may have changed its network. Your Mumble connects again by itself.")
	}
	s.disconnected()
	s.up.Close(closeGrace)
	s.down.conn.Close(closeGrace)
	st := s.end.Stats()
	s.g.log.Info("session ended", "reason", err,
		"held", s.voiceStats.Held, "unopened", st.Unopened, "clear_dropped", st.ClearVoice, "malformed", s.tableStats.Malformed)
	s.g.emit(events.Event{Event: "disconnected", Reason: err.Error()})
}

// violation words what a server did that no server does, "" if the end has another
// reason: then the client has words of its own for it.
func violation(err error) string {
	var long *control.ErrTooLong
	switch {
	case errors.Is(err, mirror.ErrFull):
		return "the server announces more people or channels than any server has; the connection is closed"
	case errors.Is(err, endpoint.ErrSecondSync):
		return "the server completes the login twice; the connection is closed"
	case errors.As(err, &long):
		return "the server sends a message that is too long; the connection is closed"
	}
	return ""
}

// disconnected closes the gate and leaves the endpoint ready for the next session.
func (s *session) disconnected() {
	s.synced = false // nobody is there to be told
	s.end.Disconnected(time.Now())
	s.drain()
	if err := s.g.memory.Flush(); err != nil {
		s.notRemembered(err)
	}
}

func (s *session) deadline() time.Time {
	d := s.up.Deadline()
	for _, t := range []time.Time{
		s.end.Deadline(), s.pings.deadline(), s.lines.deadline(), s.down.lastTCP.Add(clientSilence), s.g.memory.Deadline(),
		s.down.udp.deadline(),
	} {
		if !t.IsZero() && t.Before(d) {
			d = t
		}
	}
	return d
}

func (s *session) tick(now time.Time) error {
	if err := s.up.Tick(now); err != nil {
		return err
	}
	if now.Sub(s.down.lastTCP) >= clientSilence {
		return errClientGone
	}
	s.end.Tick(now)
	s.drain()
	s.g.memory.Tick(now)
	s.down.udp.check(now)
	if s.down.udp.missing(now) {
		s.say("only TCP comes from your Mumble, no UDP. Unless that is so set in Mumble (Settings > Network > TCP mode), set it: " +
			"else it speaks by UDP for its first 20 seconds, and nobody hears you.")
	}
	s.sayOwed(now)
	s.sayEars(now)
	s.answerPings(now)
	return nil
}

// reasonFor words why there is no upstream connection, for the client's log.
func reasonFor(err error) string {
	var pin interface{ PinChanged() bool }
	if errors.As(err, &pin) {
		return "the server shows another certificate than before; Sotto does not connect. See the guard's own window"
	}
	return "Sotto cannot reach the server: " + err.Error()
}
