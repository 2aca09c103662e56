package opus

import "time"

// TOC is the first byte of a packet (RFC 6716 section 3.1). All 256 values are
// valid.
type TOC byte

// Config returns the configuration number, 0 to 31: mode, bandwidth and frame
// duration in one (RFC 6716 table 2).
func (t TOC) Config() int { return int(t >> 3) }

// Stereo reports the s bit. A decoder of any channel count plays both kinds.
func (t TOC) Stereo() bool { return t&4 != 0 }

// Code returns the frame count code, 0 to 3 (RFC 6716 section 3.1).
func (t TOC) Code() int { return int(t & 3) }

// Mode is the operating mode of the codec (RFC 6716 section 3.1).
type Mode uint8

// The three modes.
const (
	SILK Mode = iota
	Hybrid
	CELT
)

// String returns the name of the RFC.
func (m Mode) String() string {
	switch m {
	case SILK:
		return "SILK-only"
	case Hybrid:
		return "Hybrid"
	case CELT:
		return "CELT-only"
	}
	return "unknown mode"
}

// Mode returns the operating mode of the configuration.
func (t TOC) Mode() Mode {
	switch c := t.Config(); {
	case c < 12:
		return SILK
	case c < 16:
		return Hybrid
	default:
		return CELT
	}
}

// Bandwidth is the audio bandwidth (RFC 6716 table 1).
type Bandwidth uint8

// The five bandwidths, narrowest first.
const (
	Narrowband    Bandwidth = iota // 4 kHz
	Mediumband                     // 6 kHz
	Wideband                       // 8 kHz
	SuperWideband                  // 12 kHz
	Fullband                       // 20 kHz
)

// String returns the abbreviation of the RFC.
func (b Bandwidth) String() string {
	switch b {
	case Narrowband:
		return "NB"
	case Mediumband:
		return "MB"
	case Wideband:
		return "WB"
	case SuperWideband:
		return "SWB"
	case Fullband:
		return "FB"
	}
	return "unknown bandwidth"
}

// Bandwidth returns the audio bandwidth of the configuration.
func (t TOC) Bandwidth() Bandwidth {
	switch c := t.Config(); {
	case c < 12:
		return Narrowband + Bandwidth(c/4)
	case c < 14:
		return SuperWideband
	case c < 16:
		return Fullband
	case c < 20:
		return Narrowband // CELT has no mediumband
	default:
		return Wideband + Bandwidth((c-20)/4)
	}
}

// FrameDuration returns the length of each frame in the packet: 2.5, 5, 10, 20,
// 40 or 60 ms.
func (t TOC) FrameDuration() time.Duration {
	c := t.Config()
	switch t.Mode() {
	case SILK:
		return [...]time.Duration{10, 20, 40, 60}[c%4] * time.Millisecond
	case Hybrid:
		return [...]time.Duration{10, 20}[c%2] * time.Millisecond
	default:
		return 2500 * time.Microsecond << (c % 4)
	}
}
