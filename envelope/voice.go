package envelope

import (
	"time"

	"github.com/sotto-voip/sotto/opus"
)

// Voice kinds, the vk byte of a voice envelope (Sotto protocol §1.5).
const (
	VoiceMLS      byte = 0x10 // media under an MLS group
	VoiceTyped    byte = 0x11 // media under a typed secret
	VoiceTypedKey byte = 0x12 // the same with its key header
	VoicePresence byte = 0x13 // presence where text and plugin messages cannot say it

	voiceReserved byte = 0x14 // fragments in voice, later
)

// Limits of a voice envelope, in bytes of Opus payload.
const (
	// MaxVoice is what every server relays whole, whatever else the datagram
	// holds.
	MaxVoice = 960
	// MaxVoiceUMurmur is the limit on uMurmur.
	MaxVoiceUMurmur = 512
)

// voiceMark is the first byte of padding. As an Opus extension header (id 0, L 0)
// it reads "the rest is padding", so that a decoder which looks for extensions
// there finds none in ciphertext.
const voiceMark = 0x00

// VoiceLen returns the length in bytes of a voice envelope of duration d whose
// body (vk and rest) is bodyLen bytes, or 0 if d is not 10, 20, 40 or 60 ms.
func VoiceLen(d time.Duration, bodyLen int) int {
	if bodyLen < 1 {
		return 0
	}
	return opus.CoverLen(d, 1+bodyLen)
}

// MaxVoiceBody returns the longest body, vk and rest, of a voice envelope of
// duration d and at most total bytes; 0 if there is none.
func MaxVoiceBody(d time.Duration, total int) int {
	return max(0, opus.MaxCoverPadding(d, total)-1)
}

// AppendVoice appends the voice envelope of duration d, 10, 20, 40 or 60 ms,
// around body = vk || rest, and returns the longer slice. dst comes back
// unchanged with the error if the body is empty (ErrEmpty), its vk is none of
// the four (ErrVoiceKind), the duration is another (opus.ErrDuration), or the
// envelope would be longer than MaxVoice (ErrTooLong; where the limit is lower,
// ask VoiceLen first). body must not overlap the free capacity of dst. It
// allocates only if that capacity does not suffice.
func AppendVoice(dst []byte, d time.Duration, body []byte) ([]byte, error) {
	if len(body) == 0 {
		return dst, ErrEmpty
	}
	if body[0] < VoiceMLS || body[0] > VoicePresence {
		return dst, ErrVoiceKind
	}
	n := VoiceLen(d, len(body))
	if n == 0 {
		return dst, opus.ErrDuration
	}
	if n > MaxVoice {
		return dst, ErrTooLong // the bare sentinel: a frame every 10 ms must not allocate
	}
	var padding [MaxVoice]byte
	padding[0] = voiceMark
	copy(padding[1:], body)
	return opus.AppendCover(dst, d, padding[:1+len(body)])
}

// ParseVoice reports whether the Opus payload b is a voice envelope: a cover of
// at most MaxVoice bytes whose padding is 00, a vk of §1.5 (the four above, and
// 0x14, which is reserved and to be ignored) and rest, which aliases b. If ok is
// false, b is ordinary Opus or nothing; it has not been checked further.
//
// A voice envelope that nobody can open is played as nothing, never handed on.
func ParseVoice(b []byte) (d time.Duration, vk byte, rest []byte, ok bool) {
	if len(b) > MaxVoice {
		return 0, 0, nil, false
	}
	d, padding, ok := opus.ParseCover(b)
	if !ok || len(padding) < 2 || padding[0] != voiceMark {
		return 0, 0, nil, false
	}
	vk = padding[1]
	if vk < VoiceMLS || vk > voiceReserved {
		return 0, 0, nil, false
	}
	return d, vk, padding[2:], true
}
