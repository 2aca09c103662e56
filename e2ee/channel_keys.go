package e2ee

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// maxChannelKeys bounds the derived keys kept for channels. A server that shows
// more channels costs a derivation more often, nothing else.
const maxChannelKeys = 64

// tagLen is the length in bytes of a position's tag and keyIDLen that of a key id.
const (
	tagLen   = 4
	keyIDLen = 4
)

// channelKeys is what the secret gives for the speakers of one channel.
type channelKeys struct {
	prk     []byte
	ready   []byte // MAC key of SecretReady
	context []byte // context_key of §7.3
	keyID   []byte

	tag    [tagLen]byte // of the own plugin context, if tagFor is its number
	tagFor int
}

func newChannelKeys(s *Secret, channel uint32) *channelKeys {
	prk := s.prk(channel)
	return &channelKeys{
		prk:     prk,
		ready:   expand(prk, "sotto/1 ready", 32),
		context: expand(prk, "sotto/1 context", 32),
		keyID:   s.keyID(prk),
	}
}

// streamBase is the base key of step 0 of a sender's stream (§10.3).
func (k *channelKeys) streamBase(session uint32, nonce [nonceLen]byte) []byte {
	info := binary.BigEndian.AppendUint32([]byte("sotto/1 stream"), session)
	return expand(k.prk, string(append(info, nonce[:]...)), baseKeyLen)
}

// textKey is the AES-128 key and the nonce of one SecretText.
func (k *channelKeys) textKey(session uint32, salt [nonceLen]byte) (key, iv []byte) {
	info := binary.BigEndian.AppendUint32([]byte("sotto/1 text"), session)
	b := expand(k.prk, string(append(info, salt[:]...)), 16+12)
	return b[:16], b[16:]
}

// readyMAC is the mac of a SecretReady over all that stands before it.
func (k *channelKeys) readyMAC(before []byte) []byte {
	mac := hmac.New(sha256.New, k.ready)
	mac.Write(before)
	return mac.Sum(nil)[:readyMACLen]
}

// pluginContext is the own client's plugin_context. Each new one has a new
// number, so that tags made for an earlier one are seen to be old.
type pluginContext struct {
	value  []byte
	number int
}

// positionTag is the tag of §7.3 of the own plugin context under these keys.
func (k *channelKeys) positionTag(c *pluginContext) *[tagLen]byte {
	if k.tagFor != c.number {
		k.tag = contextTag(k.context, c.value)
		k.tagFor = c.number
	}
	return &k.tag
}

// contextTag is HMAC-SHA256(context_key, plugin_context)[0:4] (§7.3).
func contextTag(key, value []byte) (tag [tagLen]byte) {
	mac := hmac.New(sha256.New, key)
	mac.Write(value)
	copy(tag[:], mac.Sum(nil))
	return tag
}

// keysOf returns the keys of speakers in channel. When the cache is full it
// starts again; streams keep the keys they use.
func (e *Engine) keysOf(channel uint32) *channelKeys {
	if k, ok := e.keys[channel]; ok {
		return k
	}
	if len(e.keys) >= maxChannelKeys {
		clear(e.keys)
	}
	k := newChannelKeys(e.cfg.Secret, channel)
	e.keys[channel] = k
	return k
}
