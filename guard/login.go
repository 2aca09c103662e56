package guard

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// The rows of the table that belong to login and to what server and client
// announce about themselves.

var (
	version15  = control.MakeVersion(1, 5, 0)
	versionMax = client15 // the newest version that guard implements
	client15   = control.MakeVersion(1, 5, 735)
)

// What encryption adds to each packet, in bytes, at most for the packet sizes
// that the stock client uses, and the share of bandwidth that must therefore
// be left free at 50 packets a second; the client never goes below the floor.
const (
	overheadBytes   = 56
	bandwidthNeeded = 8 * 50 * overheadBytes
	bandwidthFloor  = 8000
)

// versionDown: the client switches features and the form of its voice by the
// server's version, so that stays; only the release tells of guard.
func versionDown(s *session, _ time.Time, m proto.Message) action {
	v := m.(*mumblepb.Version)
	s.down.setServerVersion(control.VersionOf(v))
	if v.Release == nil {
		return pass
	}
	v.Release = proto.String(v.GetRelease() + " via Sotto")
	return rewrite
}

// versionUp is what guard announces upstream for this client, nil for nothing.
// A server of 1.5 or later gets at least 1.5, so that the upstream leg speaks
// the protobuf form whatever the client speaks below.
func (s *session) versionUp() *mumblepb.Version {
	v := proto.CloneOf(s.from.version)
	own := control.VersionOf(v)
	if s.up.ServerVersion() >= version15 {
		own = max(own, version15)
	} else {
		own = min(own, versionMax)
	}
	if v == nil {
		if own == 0 {
			return nil
		}
		v = &mumblepb.Version{}
	}
	own.Set(v)
	control.DropUnknown(v)
	return v
}

// authenticateUp passes the login on. opus=false from a bot would flip the
// whole server to another codec.
func (g *Guard) authenticateUp(a *mumblepb.Authenticate) *mumblepb.Authenticate {
	up := proto.CloneOf(a)
	up.Opus = proto.Bool(true)
	if g.cfg.Password != "" && up.GetPassword() == "" && up.GetUsername() == g.cfg.Name {
		up.Password = proto.String(g.cfg.Password)
	}
	control.DropUnknown(up)
	return up
}

// tokensUp: a second Authenticate changes the access tokens.
func tokensUp(s *session, _ time.Time, m proto.Message) action {
	a := m.(*mumblepb.Authenticate)
	s.tokens = a.GetTokens()
	a.Opus = proto.Bool(true)
	return rewrite
}

// serverSyncDown: the login is complete. Room for what encryption adds is
// taken off the bandwidth, or servers that police it would black-hole the rest.
func serverSyncDown(s *session, _ time.Time, m proto.Message) action {
	sync := m.(*mumblepb.ServerSync)
	s.up.Authenticated()
	s.down.conn.Authenticated()
	if s.end.Leave() == e2ee.LeaveNothing {
		// Before the client may speak at all, not a moment after.
		s.braked = true
		s.down.conn.SendMessage(&mumblepb.UserState{Session: sync.Session, Suppress: proto.Bool(true)})
	}
	if sync.MaxBandwidth != nil {
		sync.MaxBandwidth = proto.Uint32(s.bandwidth(sync.GetMaxBandwidth()))
	}
	sync.WelcomeText = proto.String(s.welcomeText(sync.GetWelcomeText()))
	return rewrite
}

// welcomeText begins with our line; what the server says follows and is marked.
func (s *session) welcomeText(server string) string {
	const ours = "Connected through Sotto on this computer."
	switch {
	case server == "":
		return ours
	case s.g.cfg.Policy == e2ee.PolicyOff:
		return ours + "<br/>" + server
	}
	return ours + "<br/>[server] " + filterHTML(server)
}

// welcome follows ServerSync: from here on lines can be shown.
func (s *session) welcome(now time.Time) {
	s.synced = true
	s.g.emit(events.Event{Event: "joined", Session: s.end.Mirror().Self(), Name: s.end.Mirror().Name(s.end.Mirror().Self())})
	if s.g.cfg.Policy == e2ee.PolicyOff {
		s.say(s.stateLine())
	}
	s.sayEars(now)
	if s.g.first != "" && s.say(s.g.first) {
		s.g.first = ""
	}
	if s.ownCertificate {
		s.say("you are known here by a certificate of Sotto. To keep your registered name, import yours: sotto identity import-mumble FILE.p12")
	}
}

// serverConfigDown: the limits shrink by what encryption needs.
func serverConfigDown(s *session, _ time.Time, m proto.Message) action {
	if s.g.cfg.Policy == e2ee.PolicyOff {
		return pass
	}
	c := m.(*mumblepb.ServerConfig)
	if c.WelcomeText != nil {
		c.WelcomeText = proto.String("[server] " + filterHTML(c.GetWelcomeText()))
	}
	if c.MaxBandwidth != nil {
		c.MaxBandwidth = proto.Uint32(s.bandwidth(c.GetMaxBandwidth()))
	}
	// Both, whatever this message says of them: what fits depends on all the limits,
	// and a later one holds only what an administrator has changed.
	most, limits := uint32(s.end.MaxText()), s.end.Limits()
	c.MessageLength = proto.Uint32(atMost(limits.MessageLength, most))
	c.ImageMessageLength = proto.Uint32(atMost(limits.ImageMessageLength, most))
	return rewrite
}

// atMost lowers a limit of the server, where 0 means none.
func atMost(limit, most uint32) uint32 {
	if limit == 0 || limit > most {
		return most
	}
	return limit
}

func (s *session) bandwidth(server uint32) uint32 {
	if s.g.cfg.Policy == e2ee.PolicyOff {
		return server
	}
	if server < bandwidthFloor+bandwidthNeeded {
		return bandwidthFloor
	}
	server -= bandwidthNeeded
	if s.lowered != 0 {
		server = min(server, s.lowered) // see tooLong
	}
	return server
}
