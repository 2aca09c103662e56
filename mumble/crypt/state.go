package crypt

import (
	"crypto/aes"
	"crypto/rand"
	"errors"
	"slices"
)

// Sizes in bytes.
const (
	KeySize   = 16
	NonceSize = 16

	// Overhead is what Seal adds: one byte of IV and three of the tag.
	Overhead = 1 + tagSize

	tagSize = 3
)

var (
	// ErrShort says that a datagram has no room for the header.
	ErrShort = errors.New("crypt: datagram shorter than its header")
	// ErrReplay says that a datagram came before, or is too late to tell.
	ErrReplay = errors.New("crypt: repeated or too late")
	// ErrTag says that a datagram was altered, forged, or belongs to another key
	// or nonce.
	ErrTag = errors.New("crypt: wrong tag")
	// ErrNoKey says that no key was set.
	ErrNoKey = errors.New("crypt: no key")
	// ErrSize says that a key or nonce does not have 16 bytes.
	ErrSize = errors.New("crypt: key or nonce is not 16 bytes")
)

// Stats are counts of datagrams, as in a Ping message.
type Stats struct {
	// Good were opened; Late are those of them that a newer one overtook; Lost
	// never came, as far as is known; Resync counts new nonces from the peer.
	Good, Late, Lost, Resync uint32
}

// A CryptState is one end of a leg: a key, and a nonce for either way. The zero
// CryptState has no key. It must not be copied: two copies would use nonces
// twice.
//
// Seal and Open may run at the same time, each in one goroutine; the other
// methods only while neither runs.
type CryptState struct {
	// RemoteStats are the peer's, as its last Ping said them. The caller keeps
	// them here, nothing in this package looks at them.
	RemoteStats Stats

	key        [KeySize]byte
	valid      bool
	skipLegacy bool

	sender struct {
		ocb2
		iv iv
	}
	receiver struct {
		ocb2
		iv      iv
		history history
		stats   Stats
	}
}

// SetKey takes key and nonces from a CryptSetup message: for a server encryptIV
// is server_nonce, for a client client_nonce. It forgets what was received
// before; the statistics go on, as upstream's do. Nothing changes with ErrSize.
func (cs *CryptState) SetKey(key, encryptIV, decryptIV []byte) error {
	if len(key) != KeySize || len(encryptIV) != NonceSize || len(decryptIV) != NonceSize {
		return ErrSize
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	copy(cs.key[:], key)
	cs.sender.aes, cs.receiver.aes = b, b
	cs.sender.iv, cs.receiver.iv = loadIV(encryptIV), loadIV(decryptIV)
	cs.receiver.history = history{}
	cs.valid = true
	return nil
}

// GenerateKey makes a fresh key and fresh nonces, for the end that sends the
// CryptSetup.
func (cs *CryptState) GenerateKey() {
	var b [KeySize + 2*NonceSize]byte
	rand.Read(b[:]) // does not fail: the program ends instead
	// The sizes are right, so neither does this.
	_ = cs.SetKey(b[:KeySize], b[KeySize:][:NonceSize], b[KeySize+NonceSize:])
	clear(b[:])
}

// Valid reports whether a key is set.
func (cs *CryptState) Valid() bool { return cs.valid }

// Key returns a copy of the key, nil if none is set.
func (cs *CryptState) Key() []byte {
	if !cs.valid {
		return nil
	}
	return slices.Clone(cs.key[:])
}

// EncryptIV returns the nonce of the last datagram sealed: what the peer needs
// when it asks for a resync.
func (cs *CryptState) EncryptIV() []byte { return cs.sender.iv.bytes() }

// DecryptIV returns the nonce of the newest datagram opened.
func (cs *CryptState) DecryptIV() []byte { return cs.receiver.iv.bytes() }

// SetDecryptIV takes the nonce a peer sent in answer to a resync, and counts the
// resync. What was opened before stays refused.
func (cs *CryptState) SetDecryptIV(nonce []byte) error {
	if len(nonce) != NonceSize {
		return ErrSize
	}
	cs.receiver.iv = loadIV(nonce)
	cs.receiver.stats.Resync++
	return nil
}

// SkipLegacyPing makes Seal pass over nonces whose first byte is 1; the peer
// counts one of 256 datagrams as lost.
//
// A sender of the legacy voice format must do this towards Murmur 1.5: it tries
// each datagram as a bare ping before it decrypts it, takes a first byte of 1
// for one of the protobuf format, and then misreads the legacy packet inside
// (Mumble src/MumbleProtocol.cpp, UDPDecoder::decode; src/murmur/Server.cpp,
// Server::run).
func (cs *CryptState) SkipLegacyPing(on bool) { cs.skipLegacy = on }

// Stats returns the counts of what was opened here.
func (cs *CryptState) Stats() Stats { return cs.receiver.stats }

// String says whether a key is set, and nothing of it.
func (cs *CryptState) String() string {
	if cs.valid {
		return "crypt.CryptState(with key)"
	}
	return "crypt.CryptState(no key)"
}

// GoString is String: neither %v nor %#v prints the key.
func (cs *CryptState) GoString() string { return cs.String() }
