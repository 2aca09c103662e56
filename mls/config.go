package mls

import (
	"errors"
	"math"
	"time"
)

// Config holds what an application decides for its groups. The zero value of
// each field but Authenticate is the strictest or a sensible choice. A Config
// must not be changed while a group uses it; its functions are called from the
// methods of the group and must not call back into it.
type Config struct {
	// Authenticate is the Authentication Service (RFC 9420 §5.3.1): it says
	// whether a credential speaks for its signature key and is welcome here. It
	// is called for each leaf of a joined tree and each new or changed leaf, and
	// for each external sender. Without it nobody is accepted.
	Authenticate func(Identity) error

	// PSK returns a key that a peer or the application refers to: external ones,
	// and resumption PSKs of other groups or of epochs that the group no longer
	// remembers. nil has none.
	PSK func(PreSharedKeyID) ([]byte, error)

	// InUse reports whether the client is in a group of this ID already, which
	// no Welcome may then lead into (§12.4.3.1). nil knows no other groups.
	InUse func(groupID []byte) bool

	// Padding returns how many zero bytes are added to an application message whose
	// PrivateMessageContent has size bytes without them: data, signature and their
	// lengths (§6.3.1, §15.1). 1 MiB at most; nil adds none. Handshake messages are not
	// padded.
	Padding func(t ContentType, size int) int

	// Handshake is the wire format of our proposals and Commits: PrivateMessage
	// unless it is WireFormatPublicMessage. What others send is read either way.
	Handshake WireFormat

	// MaxLifetime is the longest lifetime accepted in a KeyPackage (§7.2):
	// 90 days and an hour if 0, unlimited if negative.
	MaxLifetime time.Duration

	// PastEpochs is how many former epochs stay readable for late application
	// messages. 0 forgets at once.
	PastEpochs int

	// ResumptionEpochs is how many former epochs' resumption PSKs are kept.
	ResumptionEpochs int

	// OutOfOrder is how many passed-over keys are kept for each sender and
	// epoch: 32 if 0, none if negative. MaxForward is how many keys may be
	// passed over at once: 1000 if 0, none if negative (§15.3).
	OutOfOrder, MaxForward int

	// MaxLeaves is how many leaves, blank ones counted, a ratchet tree may have to
	// be joined: 65536 if 0. A blank leaf is two bytes on the wire; of a tree filled
	// up to a power of two each costs a joiner 150 bytes and two hashes.
	MaxLeaves int

	// MaxProposals is how many proposals are remembered in an epoch, and how many a
	// Commit may have: 1000 if 0. A Commit of more than 1024 does not decode.
	MaxProposals int
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

func (c *Config) outOfOrder() int   { return orDefault(c.OutOfOrder, 32) }
func (c *Config) maxForward() int   { return orDefault(c.MaxForward, 1000) }
func (c *Config) maxLeaves() int    { return orDefault(c.MaxLeaves, 1<<16) }
func (c *Config) maxProposals() int { return orDefault(c.MaxProposals, 1000) }

func (c *Config) authenticate(id Identity) error {
	err := errors.New("no Authenticate in the Config")
	if c.Authenticate != nil {
		err = c.Authenticate(id)
	}
	if err != nil {
		return brokenBy(ErrAuthentication, "5.3.1", err, "credential")
	}
	return nil
}

func (c *Config) padding(t ContentType, size int) int {
	if c.Padding == nil {
		return 0
	}
	return min(max(c.Padding(t, size), 0), 1<<20)
}

// checkTotalLifetime: "Applications MUST define a maximum total lifetime that is
// acceptable for a LeafNode" (§7.2).
func (c *Config) checkTotalLifetime(l Lifetime) error {
	limit := c.MaxLifetime
	if limit == 0 {
		limit = 90*24*time.Hour + time.Hour
	}
	if l.NotAfter < l.NotBefore {
		return broken(ErrLeafNode, "7.2", "lifetime ends before it begins")
	}
	if limit > 0 && l.NotAfter-l.NotBefore > uint64(limit/time.Second) {
		return broken(ErrLeafNode, "7.2", "lifetime of %d s is longer than %v", l.NotAfter-l.NotBefore, limit)
	}
	return nil
}

// checkLifetime: "the current time is within the range of the lifetime" (§7.3).
func checkLifetime(l Lifetime, now time.Time) error {
	if t := now.Unix(); t < 0 || uint64(t) < l.NotBefore || uint64(t) > l.NotAfter {
		return broken(ErrLeafNode, "7.3", "outside of the lifetime %d to %d at %d", l.NotBefore, min(l.NotAfter, math.MaxInt64), t)
	}
	return nil
}
