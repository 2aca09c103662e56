package e2ee

import (
	"errors"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mls"
	"github.com/sotto-voip/sotto/trust"
)

// GroupsConfig is what a Groups is made of. It holds for the whole run.
type GroupsConfig struct {
	Policy  Policy           // PolicyPrefer or PolicyRequire
	Server  [32]byte         // SHA-256 of the server certificate in DER
	Address string           // of the server as the user typed it, for Book
	Device  *identity.Device // that signs for our connections
	// Suites are what we support, the first is what we found with; nil is the hybrid
	// suite and then 0x0001 (Sotto protocol §2).
	Suites []mls.CipherSuite
	// Secret, if not nil, is mixed into every group that we found, and is needed to
	// join one that requires it (§10.2).
	Secret *Secret
	// Book remembers who was seen and with whom speech was protected. It belongs to
	// the engine while that runs; nil is a Book that nobody keeps.
	Book *trust.Book
}

// ErrNoDevice means that a Groups has nothing to sign with.
var ErrNoDevice = errors.New("e2ee: no device key")

// Groups is the engine of automatic groups for one guard or client on one server:
// audience agrees on keys, and this holds the gate, the voice keys and the memory.
// Like Engine it is a state machine without IO, for one goroutine.
//
//	who is where, objects --> audience --> EpochBegan --> media keys --> SealVoice, OpenVoice
//	             \------------------------------\-----> gate (§11)  --> what may leave
type Groups struct {
	cfg   GroupsConfig
	aud   *audience.Machine
	gate  Gate
	asked string // the question that is open, in words
	queue []Output
	stats Stats
	media media

	ran       bool              // a connection has begun in this run
	free      bool              // the last one ended where nothing bound the gate (MemoryFree)
	seat      *seat             // where it ended; nil: none has been anywhere
	remembers bucket            // of new people, for as long as the run lasts
	names     map[uint32]string // of members who are gone, until they are no members

	// Of the connection.
	session  uint32
	world    World
	placed   bool
	peers    map[uint32]*groupPeer
	regime   Regime
	groupsOf map[envelope.GroupID]*roster
	home     envelope.GroupID // our channel's group; zero for none
	watching watching
	texts    textIDs
	missing  map[author]*gap
	context  pluginContext
}

// groupPeer is somebody else on the server.
type groupPeer struct {
	Peer
	sotto bool
	since time.Time // began to hear us
	said  bool      // that it entered without Sotto
}

// roster is who is in a group, as its tree says.
type roster struct {
	audience.EpochBegan
	health  audience.Health
	direct  bool
	joined  bool // by a Welcome: others were there before us
	suspect bool // somebody in it has a changed identity, which nobody has accepted
	// wanted: the user writes or whispers there. Anybody can make a direct group with
	// us, and leaves in it that claim the sessions of others.
	wanted bool
}

// shown reports whether a session has shown itself that it has the leaf which
// claims it: before that, the leaf is the word of who added it.
func (r *roster) shown(session uint32) bool {
	return !slices.Contains(r.health.Claimed, session)
}

func (r *roster) member(session uint32) (audience.Leaf, bool) {
	for _, l := range r.Leaves {
		if l.Session == session {
			return l, true
		}
	}
	return audience.Leaf{}, false
}

// NewGroups returns an engine that is not connected. The errors are ErrPolicy,
// ErrNoDevice and ErrServer.
func NewGroups(cfg GroupsConfig) (*Groups, error) {
	if cfg.Policy != PolicyPrefer && cfg.Policy != PolicyRequire {
		return nil, ErrPolicy
	}
	if cfg.Device == nil {
		return nil, ErrNoDevice
	}
	if cfg.Secret != nil && cfg.Secret.server != cfg.Server {
		return nil, ErrServer
	}
	if cfg.Suites == nil {
		cfg.Suites = []mls.CipherSuite{audience.SuiteHybrid, audience.SuiteClassic}
	}
	if cfg.Book == nil {
		cfg.Book = &trust.Book{}
	}
	e := &Groups{cfg: cfg, gate: NewGate(cfg.Policy)}
	m := audience.Config{
		Server: cfg.Server, Suites: cfg.Suites,
		Statement: e.statement, Verify: verifyStatement,
	}
	if cfg.Secret != nil {
		m.RequirePSK = true
		m.PSK = func(id []byte) [][]byte { return [][]byte{cfg.Secret.psk(id)} }
	}
	aud, err := audience.New(m)
	if err != nil {
		return nil, err
	}
	e.aud = aud
	e.reset()
	return e, nil
}

// statement signs for a fresh session key (§2.2).
func (e *Groups) statement(sessionKey []byte, session uint32) ([]byte, error) {
	if len(sessionKey) != len(identity.PublicKey{}) {
		return nil, identity.ErrPublicKey
	}
	s, err := e.cfg.Device.Statement(identity.PublicKey(sessionKey), identity.SHA256(e.cfg.Server), session, nil)
	if err != nil {
		return nil, err
	}
	return s.Append(nil), nil
}

// verifyStatement holds a statement against the leaf that it stands in.
func verifyStatement(b, sessionKey []byte, server [32]byte, session uint32) (audience.Who, error) {
	s, err := identity.ParseStatement(b)
	if err != nil {
		return audience.Who{}, err
	}
	if len(sessionKey) != len(identity.PublicKey{}) {
		return audience.Who{}, identity.ErrPublicKey
	}
	if err := s.Verify(identity.PublicKey(sessionKey), identity.SHA256(server), session); err != nil {
		return audience.Who{}, err
	}
	return audience.Who{Identity: s.Identity, Device: s.Device}, nil
}

// State returns where the gate stands.
func (e *Groups) State() State { return e.gate.State() }

// Leave returns what may leave now. Ask it for each packet.
func (e *Groups) Leave() Leave { return e.gate.Leave() }

// Question returns what StateAsked asks.
func (e *Groups) Question() Question { return e.gate.Question() }

// Stats returns what was dropped, by reason, of voice and texts.
func (e *Groups) Stats() Stats { return e.stats }

// Agreement returns what the agreement on keys has done and dropped.
func (e *Groups) Agreement() audience.Stats { return e.aud.Stats() }
