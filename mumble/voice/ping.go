package voice

// A Ping tests the way a datagram takes, and in the Protobuf format also asks
// for and carries what a server list shows. It travels inside the UDP cipher;
// the Protobuf form may also come bare, from a client that only lists servers.
type Ping struct {
	// Timestamp comes back unchanged; its unit is the sender's business.
	Timestamp uint64
	// RequestExtended asks for the fields below.
	RequestExtended bool
	// Extended says that the fields below are meant. ServerVersion is in the form
	// of Version.version_v2 and cannot be 0 then: 0 is how the wire says that the
	// fields are absent.
	Extended      bool
	ServerVersion uint64
	UserCount     uint32
	MaxUserCount  uint32
	// MaxBandwidth is in bits per second for each user.
	MaxBandwidth uint32
}

// maxLegacyPing is type byte and longest timestamp: upstream takes longer ones
// for something else (Mumble src/MumbleProtocol.cpp, decodePing_legacy).
const maxLegacyPing = 10

// IsPing reports whether a decrypted datagram says it is a ping. It looks at
// first byte and length only. A server answers a legacy ping best by sending
// the same bytes back: some clients put a bare number where a varint belongs.
func IsPing(b []byte, f Format) bool {
	if len(b) < 2 {
		return false
	}
	if f == Protobuf {
		return b[0] == protobufPing && len(b) <= MaxSize
	}
	return b[0]>>5 == legacyPing && len(b) <= maxLegacyPing
}

// AppendPing appends the ping to dst. The legacy format has the timestamp and
// nothing else.
func AppendPing(dst []byte, f Format, p *Ping) []byte {
	if f == Legacy {
		return AppendVarint(append(dst, legacyPing<<5), p.Timestamp)
	}
	// The timestamp is written even if 0: upstream refuses a ping of one byte.
	dst = appendUint(append(dst, protobufPing), 1, p.Timestamp)
	if p.RequestExtended {
		dst = appendUint(dst, 2, 1)
	}
	if p.Extended {
		dst = appendUint(dst, 3, p.ServerVersion)
		dst = appendUint(dst, 4, uint64(p.UserCount))
		dst = appendUint(dst, 5, uint64(p.MaxUserCount))
		dst = appendUint(dst, 6, uint64(p.MaxBandwidth))
	}
	return dst
}

// ParsePing decodes a ping into *p, which it resets first. Errors: ErrNotPing,
// ErrShort, ErrTrailing, ErrMalformed, ErrTooLong.
func ParsePing(b []byte, f Format, p *Ping) error {
	*p = Ping{}
	if len(b) > MaxSize {
		return ErrTooLong
	}
	if !IsPing(b, f) {
		return ErrNotPing
	}
	if f == Protobuf {
		return parseProtobufPing(b[1:], p)
	}
	v, n, err := ParseVarint(b[1:])
	if err != nil {
		return err
	}
	if 1+n != len(b) {
		return ErrTrailing
	}
	p.Timestamp = v
	return nil
}

// parseProtobufPing reads the message behind the first byte. Counts above 32
// bits lose their upper part, as in any protobuf.
func parseProtobufPing(b []byte, p *Ping) error {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
		if f.wire != wireVarint {
			continue
		}
		switch f.number {
		case 1:
			p.Timestamp = f.v
		case 2:
			p.RequestExtended = f.v != 0
		case 3:
			p.ServerVersion = f.v
		case 4:
			p.UserCount = uint32(f.v)
		case 5:
			p.MaxUserCount = uint32(f.v)
		case 6:
			p.MaxBandwidth = uint32(f.v)
		}
	}
	p.Extended = p.ServerVersion != 0
	if !p.Extended {
		p.UserCount, p.MaxUserCount, p.MaxBandwidth = 0, 0, 0
	}
	return nil
}
