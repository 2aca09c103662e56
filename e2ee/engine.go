package e2ee

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// Config is what an Engine is made of. It holds for the whole run.
type Config struct {
	Policy Policy
	Secret *Secret  // nil only with PolicyOff
	Server [32]byte // SHA-256 of the server certificate in DER
	// Named are the names of the people who must hold the secret before anything
	// leaves, compared without regard to case. None: one holder is enough.
	Named []string
}

// Errors of New.
var (
	ErrPolicy   = errors.New("e2ee: unknown policy")
	ErrNoSecret = errors.New("e2ee: this policy needs a secret")
	ErrServer   = errors.New("e2ee: the secret was stretched for another server")
)

// Engine is the engine of one guard or client on one server: a state machine
// without IO. It is not safe for concurrent use; its owner is one goroutine.
type Engine struct {
	cfg   Config
	named []namedPerson
	gate  Gate
	out   *sendStream
	keys  map[uint32]*channelKeys
	queue []Output
	stats Stats

	// Of the connection.
	session uint32
	channel uint32
	regime  Regime
	placed  bool // a World came
	moving  bool // the own client asked to be moved
	target  uint32
	drawn   uint64 // nonces drawn
	seq     uint32 // of the next text
	peers   map[uint32]*peer

	// Of the run: what was heard must not be heard again, reconnect or not.
	receivers map[uint32]*receiver
	nonces    seenSet
	salts     seenSet
	texts     textIDs
	context   pluginContext

	clocks
	announcing
	heldSaid bool // the person knows that the microphone is held
	byServer bool // and that the server moved us there

	// Scratch of the voice path.
	plain, meta, sealed []byte
}

type namedPerson struct{ name, fold string }

// New returns an engine that is not connected. The errors are ErrPolicy,
// ErrNoSecret and ErrServer.
func New(cfg Config) (*Engine, error) {
	switch cfg.Policy {
	case PolicyPrefer, PolicyRequire:
		if cfg.Secret == nil {
			return nil, ErrNoSecret
		}
		if cfg.Secret.server != cfg.Server {
			return nil, ErrServer
		}
	case PolicyOff:
		// Nothing is encrypted, so nothing may be able to.
		cfg.Secret = nil
	default:
		return nil, ErrPolicy
	}
	cfg.Named = slices.Clone(cfg.Named)
	e := &Engine{
		cfg:       cfg,
		gate:      NewGate(cfg.Policy),
		keys:      make(map[uint32]*channelKeys),
		peers:     make(map[uint32]*peer),
		receivers: make(map[uint32]*receiver),
		nonces:    newSeenSet(maxSeenNonces),
		salts:     newSeenSet(maxSeenSalts),
		plain:     make([]byte, 0, 2*maxVoiceBody),
		meta:      make([]byte, 0, 256),
		sealed:    make([]byte, 0, 2*maxVoiceBody),
	}
	for _, name := range cfg.Named {
		if fold := foldName(name); fold != "" {
			e.named = append(e.named, namedPerson{strings.TrimSpace(name), fold})
		}
	}
	return e, nil
}

// Handle takes an input at the time now. It first does what is due by then. What
// it makes of it comes from Next.
func (e *Engine) Handle(now time.Time, in Input) {
	if e.gate.State() == StateOff {
		return
	}
	switch in := in.(type) {
	case Connected:
		e.connected(now, in.Session)
	case Disconnected:
		e.reset()
		e.step(now, EventLost, "the connection is lost")
	case World:
		e.world(now, in)
	case LocalMove:
		e.localMove(now, in.Channel)
	case Regime:
		e.regime = in
	case Received:
		if err := e.received(now, in); err != nil {
			e.stats.count(err)
		}
	case PluginContext:
		e.context = pluginContext{slices.Clone(in.Context), e.context.number + 1}
		if len(in.Context) == 0 {
			e.context.value = nil
		}
	case Wait:
		e.step(now, EventWait, "waiting")
	case nil:
	}
	e.expire(now)
	e.settle(now)
	e.tellReady(now)
	e.announceInVoice(now)
}

// Next returns the next output, or false when there is none.
func (e *Engine) Next() (Output, bool) {
	if len(e.queue) == 0 {
		return nil, false
	}
	out := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	return out, true
}

func (e *Engine) emit(out Output) { e.queue = append(e.queue, out) }

// State returns where the gate stands.
func (e *Engine) State() State { return e.gate.State() }

// Leave returns what may leave now. Ask it for each packet.
func (e *Engine) Leave() Leave { return e.gate.Leave() }

// reset forgets the connection.
func (e *Engine) reset() {
	e.dropSending()
	e.session, e.channel, e.placed, e.moving = 0, 0, false, false
	e.regime = Regime{}
	e.drawn, e.seq = 0, 0
	clear(e.peers)
	e.clocks = clocks{sweepAt: e.sweepAt}
	e.announcing = announcing{}
}

func (e *Engine) connected(now time.Time, session uint32) {
	e.reset()
	e.session = session
	e.step(now, EventConnect, "connected")
}

func (e *Engine) world(now time.Time, w World) {
	if e.session == 0 {
		return
	}
	moved := e.placed && w.Channel != e.channel
	confirms := e.moving && (w.Own || w.Channel == e.target)
	newcomers := e.updatePeers(now, w.Peers)
	e.channel = w.Channel
	if moved || !e.placed {
		e.forgetTold(now)
		e.announced, e.placedAt = time.Time{}, now
	}
	switch {
	case !e.placed:
		e.placed = true
		e.findEnd = now.Add(findTime)
	case confirms:
		e.moving = false
		e.step(now, EventConnect, "you moved")
	case moved && w.Own:
		e.step(now, EventConnect, "you moved")
	case moved:
		e.moving = false
		e.byServer = true
		e.step(now, EventMoved, "the server moved you")
	}
	if newcomers {
		e.greet(now)
	}
}

// localMove closes the gate before the move is under way, so that nothing said
// for one channel is heard in another.
func (e *Engine) localMove(now time.Time, channel uint32) {
	if e.session == 0 || e.placed && !e.moving && channel == e.channel {
		return // not connected, or a move to where we are, which no World confirms
	}
	e.moving, e.target, e.moveEnd = true, channel, now.Add(moveTime)
	e.step(now, EventConnect, "you are moving")
}

func (e *Engine) received(now time.Time, r Received) error {
	switch r.Object.Kind {
	case envelope.KindSecretReady, envelope.KindSecretText:
	default:
		return nil
	}
	p := e.peers[r.From]
	if p == nil {
		return ErrUnknownSession
	}
	if !p.objects.take(now, objectRate, objectBurst) {
		return ErrLimit
	}
	if r.Object.Kind == envelope.KindSecretReady {
		return e.receiveReady(now, p, r.Object.Body)
	}
	return e.receiveText(now, p, r.Object.Body)
}
