package e2ee

import (
	"crypto/hmac"
	"encoding/binary"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// readyMACLen is the length in bytes of the mac of a SecretReady.
const readyMACLen = 16

// sealReady makes the own SecretReady (§10.3). The key id goes along only if the
// secret is machine-made: that of a phrase would let anybody test guesses.
func (e *Engine) sealReady(now time.Time) (envelope.Object, error) {
	s, err := e.sending(now)
	if err != nil {
		return envelope.Object{}, err
	}
	s.named = now
	b := binary.BigEndian.AppendUint32(nil, e.session)
	b = append(b, s.nonce[:]...)
	b = binary.BigEndian.AppendUint32(b, minuteOf(now))
	if e.cfg.Secret.MachineMade() {
		b = appendVec(b, s.keys.keyID)
	} else {
		b = appendVec(b, "")
	}
	b = append(b, s.keys.readyMAC(b)...)
	return envelope.Object{Kind: envelope.KindSecretReady, Body: b}, nil
}

// secretReady is a SecretReady taken apart.
type secretReady struct {
	session uint32
	nonce   [nonceLen]byte
	minute  uint32
	before  []byte // all that the mac is over
	mac     []byte
}

func parseReady(b []byte) (r secretReady, ok bool) {
	if len(b) < 4+keyHeaderLen {
		return r, false
	}
	r.session = binary.BigEndian.Uint32(b)
	r.nonce = [nonceLen]byte(b[4:])
	r.minute = binary.BigEndian.Uint32(b[4+nonceLen:])
	id, mac, ok := cutVec(b[4+keyHeaderLen:])
	if !ok || len(mac) != readyMACLen || len(id) != 0 && len(id) != keyIDLen {
		return r, false
	}
	r.before, r.mac = b[:len(b)-readyMACLen], mac
	return r, true
}

// receiveReady looks at a SecretReady that the server says p sent.
func (e *Engine) receiveReady(now time.Time, p *peer, body []byte) error {
	r, ok := parseReady(body)
	if !ok || r.session != p.Session {
		return ErrMalformed
	}
	if !hmac.Equal(e.keysOf(p.Channel).readyMAC(r.before), r.mac) {
		e.readyFailed(now, p)
		return ErrAuth
	}
	if !sameTime(now, r.minute) {
		e.clockDiffers(now, p, r.minute)
		return ErrClock
	}
	if e.nonces.has(now, r.session, r.nonce) {
		return ErrReplay // of somebody who has left, or of ourselves
	}
	p.ready, p.readyAt = r.nonce, now
	e.holds(now, p)
	// It may not know us: answer, unless we told it just now.
	if p.told.IsZero() || now.Sub(p.told) >= tellAgain {
		p.tell = true
	}
	return nil
}
