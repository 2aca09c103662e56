package sframe

// The published vectors also name values inside; these doors let the tests
// compare them.
var (
	NewAEAD       = newAEAD
	DeriveKeySalt = deriveKeySalt
	Label         = label
)

// Nonce returns the nonce that k uses with ctr.
func (k *Key) Nonce(ctr uint64) []byte { return k.appendNonce(nil, ctr) }
