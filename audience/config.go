package audience

import (
	"errors"

	"github.com/sotto-voip/sotto/mls"
)

// The cipher suites of version 1 (Sotto protocol §2).
const (
	SuiteHybrid  = mls.CipherSuite(0xF47A) // MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519
	SuiteClassic = mls.X25519AES128GCM     // 0x0001
)

// Who is behind a leaf, as its identity statement says it with valid signatures.
// What that is worth is the matter of package trust.
type Who struct {
	Identity [32]byte
	Device   [32]byte
	// MumbleCert is the SHA-1 of a Mumble certificate in hexadecimal that the
	// statement proves, or "".
	MumbleCert string
}

// Config is what a Machine is made of. It holds for a whole run.
type Config struct {
	// Server is the SHA-256 of the server certificate in DER that we see.
	Server [32]byte
	// Suites are what we support, the first is what we found with.
	Suites []mls.CipherSuite
	// Statement makes our identity statement for a fresh session key (§2.2).
	Statement func(sessionKey []byte, session uint32) ([]byte, error)
	// Verify reads and verifies a statement that stands in the leaf with this
	// session key, server and session.
	Verify func(statement, sessionKey []byte, server [32]byte, session uint32) (Who, error)
	// PSK returns the keys that our typed secrets give for a psk_id (§10.2), at
	// most four are tried. nil has none. NewPSK, if set, is asked when we found:
	// true makes the group require one.
	PSK        func(pskID []byte) [][]byte
	RequirePSK bool
	// Admit is asked before we add somebody to a group that admits not everybody
	// who is present (§2.4). nil admits nobody to such a group.
	Admit func(Who) bool
}

// Errors of New and of Protect.
var (
	ErrConfig  = errors.New("audience: incomplete configuration")
	ErrNoGroup = errors.New("audience: not in such a group")
	ErrTooLong = errors.New("audience: too long")
	ErrWait    = errors.New("audience: a change of the group is under way")
)
