package trust

import (
	"cmp"
	"fmt"
	"time"
)

// Regime is how a server carries Sotto's messages (Sotto protocol §1.4); a
// greater one is better.
type Regime uint8

// The regimes.
const (
	RegimeUnknown Regime = iota // not found out yet
	RegimeNone                  // N: no echo
	RegimeText                  // T: texts come back
	RegimeEcho                  // E: plugin messages come back
)

// Facts is what a connection turned out to be.
type Facts struct {
	// Suite is the MLS cipher suite of the channel's group, 0 while there is none.
	Suite  uint16
	Regime Regime
	// Version is the server's, as a number that grows (control.Version); 0 if it
	// says none, which is worse than any.
	Version uint64
}

type facts struct {
	Facts
	last int64
}

// suiteRank orders suites: with post-quantum keys, classic, not one of ours.
func suiteRank(suite uint16) int {
	switch suite {
	case 0xF47A:
		return 2
	case 0x0001:
		return 1
	}
	return 0
}

// RememberServer remembers the best that was seen of a server, fact by fact.
// When 1,000 servers are remembered, the one not used for longest is forgotten.
func (b *Book) RememberServer(now time.Time, server string, f Facts) {
	server = serverName(server)
	old := b.servers[server]
	best := f
	if old != nil {
		if f.Suite == 0 || suiteRank(f.Suite) < suiteRank(old.Suite) {
			best.Suite = old.Suite
		}
		best.Regime, best.Version = max(f.Regime, old.Regime), max(f.Version, old.Version)
		if best == old.Facts && now.Unix()-old.last < touch {
			return
		}
	}
	b.setServer(now.Unix(), server, best)
	b.log(func(o *Book) { o.setServer(now.Unix(), server, best) })
}

// AcceptServer is the user's word that a server is to be taken as it is now.
func (b *Book) AcceptServer(now time.Time, server string, f Facts) {
	server = serverName(server)
	b.setServer(now.Unix(), server, f)
	b.log(func(o *Book) { o.setServer(now.Unix(), server, f) })
}

func (b *Book) setServer(now int64, server string, f Facts) {
	if b.servers == nil {
		b.servers = map[string]*facts{}
	}
	if b.servers[server] == nil && len(b.servers) >= maxServers {
		var oldest string
		for s, f := range b.servers {
			if o := b.servers[oldest]; o == nil || cmp.Or(cmp.Compare(f.last, o.last), cmp.Compare(s, oldest)) < 0 {
				oldest = s
			}
		}
		delete(b.servers, oldest)
	}
	b.servers[server] = &facts{f, now}
}

// Worse reports whether a server is worse than it was within the year (Sotto
// protocol §11), and in what, in one sentence for people. A Suite of 0 and
// RegimeUnknown are not known yet and not compared.
func (b *Book) Worse(now time.Time, server string, f Facts) (reason string, worse bool) {
	old := b.servers[serverName(server)]
	if old == nil || now.Unix()-old.last >= int64(Memory/time.Second) {
		return "", false
	}
	switch {
	case f.Suite != 0 && suiteRank(f.Suite) < suiteRank(old.Suite):
		return fmt.Sprintf("the keys are of a weaker kind than before here (suite 0x%04X, before 0x%04X)", f.Suite, old.Suite), true
	case f.Regime != RegimeUnknown && f.Regime < old.Regime:
		return "this server carries less than it did before", true
	case f.Version < old.Version:
		return "this server says that it is older than it was before", true
	}
	return "", false
}
