package voice

import (
	"errors"
	"math"
)

// MaxSize is the longest datagram plaintext in bytes, header included; servers
// and clients drop longer ones (Mumble src/MumbleProtocol.h,
// MAX_UDP_PACKET_SIZE).
const MaxSize = 1024

// version150 is the first version with the Protobuf format, in the form of
// Version.version_v2 (Mumble src/MumbleProtocol.h, PROTOBUF_INTRODUCTION_VERSION).
const version150 = 1<<48 | 5<<32

// Errors of Parse, Append and the ping functions, to be matched with errors.Is.
var (
	// ErrTooLong says that a datagram would be or is longer than MaxSize.
	ErrTooLong = errors.New("voice: packet longer than 1024 bytes")
	// ErrShort says that a datagram ends before what it promises.
	ErrShort = errors.New("voice: packet ends early")
	// ErrTrailing says that bytes follow a legacy packet which are no position.
	ErrTrailing = errors.New("voice: trailing bytes")
	// ErrMalformed says that a datagram is not of its format.
	ErrMalformed = errors.New("voice: malformed packet")
	// ErrNotAudio says that a datagram is not audio: a ping or of unknown type.
	ErrNotAudio = errors.New("voice: not an audio packet")
	// ErrNotPing says that a datagram is not a ping.
	ErrNotPing = errors.New("voice: not a ping")
	// ErrCodec says that a codec has no number in the format.
	ErrCodec = errors.New("voice: codec not possible in this format")
	// ErrTarget says that a target is above 31.
	ErrTarget = errors.New("voice: target above 31")
	// ErrContext says that a context is above 3.
	ErrContext = errors.New("voice: unknown context")
	// ErrSession says that a packet from the server names no possible session.
	ErrSession = errors.New("voice: no such session")
	// ErrEmpty says that a protobuf packet has no payload; only the legacy
	// format has a packet without one.
	ErrEmpty = errors.New("voice: empty payload")
)

// A Format is one of the two encodings. The zero Format is Legacy.
type Format uint8

const (
	// Legacy is the format of all versions before 1.5.0.
	Legacy Format = iota
	// Protobuf is the format between two ends of 1.5.0 or later.
	Protobuf
)

// String returns "legacy" or "protobuf".
func (f Format) String() string {
	if f == Protobuf {
		return "protobuf"
	}
	return "legacy"
}

// FormatFor returns the format of a leg whose ends announced versions a and b,
// in the form of Version.version_v2. An end that announced nothing, 0, speaks
// Legacy.
func FormatFor(a, b uint64) Format {
	if min(a, b) >= version150 {
		return Protobuf
	}
	return Legacy
}

// A Direction is the way a packet goes; it decides which fields stand in it.
type Direction uint8

const (
	// ToServer packets have a target and no session.
	ToServer Direction = iota
	// ToClient packets have a session, a context and perhaps a volume.
	ToClient
)

// A Codec is the number of a codec in the legacy format. Number 1 is the ping.
type Codec uint8

// The codecs. Only Opus is alive, and only Opus exists in the Protobuf format.
const (
	CELTAlpha Codec = 0
	Speex     Codec = 2
	CELTBeta  Codec = 3
	Opus      Codec = 4
)

// The contexts of a packet to a client: why it is heard.
const (
	ContextNormal   = 0
	ContextShout    = 1
	ContextWhisper  = 2
	ContextListener = 3
)

// TargetLoopback is the target that comes back to the speaker alone.
const TargetLoopback = 31

// A Packet is one packet of speech, decoded.
type Packet struct {
	Codec Codec
	// Target, to the server: 0 speech, 1 to 30 registered targets, 31 loopback.
	Target uint8
	// Context, to the client: one of the Context constants.
	Context uint8
	// Session of the speaker, to the client; never 0.
	Session uint32
	// FrameNumber counts 10 ms of sound: a packet of 20 ms is followed by the
	// number plus 2. See WrapFrameNumber.
	FrameNumber uint64
	// Data is the payload. Parse lets it alias its input. For codecs other than
	// Opus it is everything behind the frame number, frame headers and position
	// included, so that such packets can be passed on but not understood.
	Data []byte
	// Terminator marks the last packet of a transmission.
	Terminator bool
	// Position of the speaker in meters, if HasPosition.
	HasPosition bool
	Position    [3]float32
	// Volume, to the client, is a factor the server asks for, if HasVolume. The
	// wire cannot say 0, and the legacy format cannot say any.
	HasVolume bool
	Volume    float32
}

// WrapFrameNumber returns n modulo 2^31. A 1.5 server hands legacy clients the
// low 32 bits as a signed number, so larger ones arrive as something else
// (Mumble src/MumbleProtocol.cpp, prepareAudioPacket_legacy).
func WrapFrameNumber(n uint64) uint64 { return n & (1<<31 - 1) }

// Append appends the packet to dst as a datagram plaintext of format f. The
// fields of the other direction are not looked at. In the legacy format a
// volume is lost; a context of 3 is written, though clients before 1.4 do not
// know it.
//
// Errors: ErrCodec, ErrTarget, ErrContext, ErrSession, ErrEmpty, ErrTooLong, and
// ErrMalformed for a volume that is not finite. With an error it returns dst as
// it was.
func Append(dst []byte, f Format, d Direction, p *Packet) ([]byte, error) {
	// The payload is bounded first: nothing of a giant one shall be copied.
	if len(p.Data) > MaxSize {
		return dst, ErrTooLong
	}
	if d == ToServer && p.Target > TargetLoopback {
		return dst, ErrTarget
	}
	if d == ToClient && p.Context > ContextListener {
		return dst, ErrContext
	}
	if d == ToClient && p.Session == 0 {
		return dst, ErrSession
	}
	out, err := dst, error(nil)
	if f == Protobuf {
		out, err = appendProtobuf(dst, d, p)
	} else {
		out, err = appendLegacy(dst, d, p)
	}
	if err != nil {
		return dst, err
	}
	if len(out)-len(dst) > MaxSize {
		return dst, ErrTooLong
	}
	return out, nil
}

// Parse decodes a datagram plaintext into *p, which it resets first. p.Data
// aliases b. What Parse accepts, Append writes so that it parses to the same
// again; the bytes may differ, because numbers have more than one form and
// unknown fields of the Protobuf format are skipped. Only a Protobuf packet of
// nearly MaxSize without target or context grows past MaxSize by that field.
//
// With an error *p holds nothing of use.
func Parse(b []byte, f Format, d Direction, p *Packet) error {
	*p = Packet{}
	if len(b) > MaxSize {
		return ErrTooLong
	}
	if len(b) == 0 {
		return ErrShort
	}
	if f == Protobuf {
		return parseProtobuf(b, d, p)
	}
	return parseLegacy(b, d, p)
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
