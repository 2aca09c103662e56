package e2ee

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/sotto-voip/sotto/envelope"
)

// ErrTextTooLong means that a text does not fit the limit.
var ErrTextTooLong = errors.New("e2ee: text too long")

// ErrNotHolder means that somebody a private text is for has not proved to hold
// the secret.
var ErrNotHolder = errors.New("e2ee: not a holder of the secret")

// Scopes of a Text (Sotto protocol §8).
const (
	ScopeChannel uint8 = 0 // a channel
	ScopeTree    uint8 = 1 // a channel and those below it
	ScopePrivate uint8 = 2 // people
)

// NoChannel is the Channel of a private Text.
const NoChannel = 0xFFFFFFFF

const (
	maxHTML     = 96_000
	maxTextBody = 100 << 10

	appText = 1 // AppData type

	textHeadLen = 4 + nonceLen + 4 // session, salt, minute
	gcmTag      = 16
	appHeadLen  = 1 + 16 + 4 + 8 // type, id, seq, sent_ms
	textBodyLen = 1 + 4          // scope, channel
)

// Text is a chat message (AppData type 1 of Sotto protocol §8).
type Text struct {
	ID      [16]byte // random; the same id twice is one message
	Seq     uint32   // grows by one per text of its author
	SentMS  uint64   // the author's clock, Unix milliseconds; 0 if more than 5 min from ours
	Scope   uint8    // ScopeChannel, ScopeTree or ScopePrivate
	Channel uint32   // of the first two scopes, else NoChannel
	HTML    string   // as in a Mumble TextMessage, UTF-8, at most 96 000 bytes
}

// SealText encrypts a text for the own audience into an object whose body has at
// most limit bytes. Of t it takes scope, channel, HTML and, if it is not zero, the
// ID; the rest it fills in. Errors are ErrHeld unless Leave is LeaveCiphertext,
// ErrTextTooLong, and ErrMalformed for a scope that is none.
func (e *Engine) SealText(now time.Time, limit int, t Text) (envelope.Object, error) {
	if e.gate.Leave() != LeaveCiphertext {
		return envelope.Object{}, ErrHeld
	}
	if t.Scope == ScopePrivate {
		return envelope.Object{}, ErrMalformed
	}
	return e.sealText(now, limit, t)
}

// SealPrivate encrypts a text for these sessions, in any channel: a private one,
// or one to a tree or another channel, which the caller has expanded. They are an
// audience of their own, so it is not the channel's gate that decides: "Private
// text ... encrypted if all named hearers are holders, else refused" (§10.3).
// Errors are ErrHeld while not connected or while the own move is under way,
// ErrNotHolder, ErrTextTooLong, and ErrMalformed for a scope that is none.
func (e *Engine) SealPrivate(now time.Time, limit int, to []uint32, t Text) (envelope.Object, error) {
	if e.cfg.Secret == nil || !e.placed || e.moving {
		return envelope.Object{}, ErrHeld
	}
	if len(to) == 0 {
		return envelope.Object{}, ErrNotHolder
	}
	for _, session := range to {
		if !e.IsHolder(session) {
			return envelope.Object{}, ErrNotHolder
		}
	}
	if t.Scope == ScopePrivate {
		t.Channel = NoChannel
	}
	return e.sealText(now, limit, t)
}

func (e *Engine) sealText(now time.Time, limit int, t Text) (envelope.Object, error) {
	if !utf8.ValidString(t.HTML) || !t.addressed() {
		return envelope.Object{}, ErrMalformed
	}
	room := textRoom(limit)
	n := appDataLen(len(t.HTML))
	if n > room || len(t.HTML) > maxHTML {
		return envelope.Object{}, ErrTextTooLong
	}
	if t.ID == ([16]byte{}) {
		rand.Read(t.ID[:])
	}
	t.Seq, t.SentMS = e.seq, uint64(now.UnixMilli())
	padded := textPadded(n, room)
	plain := appendAppData(make([]byte, 0, padded), t)[:padded]

	var salt [nonceLen]byte
	rand.Read(salt[:])
	b := binary.BigEndian.AppendUint32(nil, e.session)
	b = append(b, salt[:]...)
	b = binary.BigEndian.AppendUint32(b, minuteOf(now))
	e.salts.add(now, e.session, salt) // it must not come back as somebody else's
	e.sweepSoon(now)
	key, iv := e.keysOf(e.channel).textKey(e.session, salt)
	aead, err := newGCM(key)
	if err != nil {
		return envelope.Object{}, err
	}
	e.seq++
	return envelope.Object{Kind: envelope.KindSecretText, Body: appendVec(b, aead.Seal(nil, iv, plain, b))}, nil
}

// MaxText returns the length in bytes of the longest HTML that SealText can put
// into an object body of limit bytes, 0 if there is none.
func (e *Engine) MaxText(limit int) int {
	body := vecFit(textRoom(limit) - appHeadLen)
	return min(max(0, vecFit(body-textBodyLen)), maxHTML)
}

// textRoom is the longest plaintext of a SecretText whose body has limit bytes.
func textRoom(limit int) int { return vecFit(limit-textHeadLen) - gcmTag }

// textPadded is the length a plaintext of n bytes is padded to: 64, 256, 1024,
// 4096, then multiples of 4096 (§2), or all the room there is where the next step
// would exceed it.
func textPadded(n, room int) int {
	for _, s := range [...]int{64, 256, 1024, 4096} {
		if n <= s {
			return min(s, room)
		}
	}
	return min((n+4095)/4096*4096, room)
}

func appDataLen(html int) int {
	body := textBodyLen + vecLen(html) + html
	return appHeadLen + vecLen(body) + body
}

func appendAppData(dst []byte, t Text) []byte {
	dst = append(dst, appText)
	dst = append(dst, t.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, t.Seq)
	dst = binary.BigEndian.AppendUint64(dst, t.SentMS)
	body := binary.BigEndian.AppendUint32([]byte{t.Scope}, t.Channel)
	return appendVec(dst, appendVec(body, t.HTML))
}

// parseAppData reads an AppData of type 1 and the zeros behind it.
func parseAppData(b []byte) (t Text, ok bool) {
	if len(b) < appHeadLen || b[0] != appText {
		return t, false
	}
	t.ID = [16]byte(b[1:])
	t.Seq = binary.BigEndian.Uint32(b[17:])
	t.SentMS = binary.BigEndian.Uint64(b[21:])
	body, padding, ok := cutVec(b[appHeadLen:])
	if !ok || len(bytes.Trim(padding, "\x00")) != 0 || len(body) < textBodyLen {
		return t, false
	}
	t.Scope = body[0]
	t.Channel = binary.BigEndian.Uint32(body[1:])
	html, rest, ok := cutVec(body[textBodyLen:])
	if !ok || len(rest) != 0 || len(html) > maxHTML || !utf8.Valid(html) {
		return t, false
	}
	t.HTML = string(html)
	return t, t.addressed()
}

// addressed reports whether scope and channel fit together.
func (t *Text) addressed() bool {
	return t.Scope <= ScopePrivate && (t.Scope == ScopePrivate) == (t.Channel == NoChannel)
}

// receiveText opens a SecretText that the server says p sent.
func (e *Engine) receiveText(now time.Time, p *peer, body []byte) error {
	if len(body) < textHeadLen || len(body) > maxTextBody {
		return ErrMalformed
	}
	ct, rest, ok := cutVec(body[textHeadLen:])
	if !ok || len(rest) != 0 || binary.BigEndian.Uint32(body) != p.Session {
		return ErrMalformed
	}
	salt := [nonceLen]byte(body[4:])
	if e.salts.has(now, p.Session, salt) {
		return ErrReplay
	}
	minute := binary.BigEndian.Uint32(body[4+nonceLen:])
	if !sameTime(now, minute) {
		return ErrClock
	}
	if e.salts.full() {
		return ErrLimit
	}
	key, iv := e.keysOf(p.Channel).textKey(p.Session, salt)
	aead, err := newGCM(key)
	if err != nil {
		return err
	}
	plain, err := aead.Open(nil, iv, ct, body[:textHeadLen])
	if err != nil {
		return ErrAuth
	}
	e.salts.add(now, p.Session, salt)
	e.sweepSoon(now)
	t, ok := parseAppData(plain)
	if !ok {
		return ErrMalformed
	}
	if !e.texts.add(p.Session, t.ID) {
		return ErrReplay
	}
	if sent := time.UnixMilli(int64(t.SentMS)); sent.Sub(now).Abs() > clockMinutes*time.Minute {
		t.SentMS = 0
	}
	e.emit(TextReceived{From: p.Session, Text: t})
	return nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
