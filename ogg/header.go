package ogg

import (
	"encoding/binary"
	"errors"
)

// SampleRate is the clock of granule positions and of the pre-skip, in Hz,
// whatever the rate of the recording was (RFC 7845 section 4).
const SampleRate = 48000

// Errors of the two headers.
var (
	ErrHead    = errors.New("ogg: OpusHead is not valid")
	ErrVersion = errors.New("ogg: OpusHead of an unknown version")
	ErrTags    = errors.New("ogg: OpusTags is not valid")
)

// Head is the identification header, OpusHead (RFC 7845 section 5.1).
type Head struct {
	Channels        uint8  // of the output, at least 1; with family 0 at most 2
	PreSkip         uint16 // samples at 48 kHz to throw away at the beginning
	InputSampleRate uint32 // of the recording, in Hz, for information; 0 unknown
	OutputGain      int16  // dB in Q7.8, to be applied by the player
	MappingFamily   uint8  // 0: mono or stereo in one Opus stream
	// Mapping is the channel mapping table for families other than 0: stream
	// count, coupled stream count, then one byte for each channel. Nil with
	// family 0.
	Mapping []byte
}

const headLen = 19

// check is the rule for both directions.
func (h Head) check() error {
	if h.Channels == 0 {
		return ErrHead
	}
	if h.MappingFamily == 0 {
		if h.Channels > 2 || len(h.Mapping) != 0 {
			return ErrHead
		}
		return nil
	}
	if len(h.Mapping) != 2+int(h.Channels) || h.MappingFamily == 1 && h.Channels > 8 {
		return ErrHead
	}
	streams, coupled := int(h.Mapping[0]), int(h.Mapping[1])
	if streams == 0 || coupled > streams || streams+coupled > 255 {
		return ErrHead
	}
	for _, index := range h.Mapping[2:] {
		if index != 255 && int(index) >= streams+coupled {
			return ErrHead // 255 is silence; others name a decoded channel
		}
	}
	return nil
}

func (h Head) append(dst []byte) []byte {
	dst = append(dst, "OpusHead\x01"...)
	dst = append(dst, h.Channels)
	dst = binary.LittleEndian.AppendUint16(dst, h.PreSkip)
	dst = binary.LittleEndian.AppendUint32(dst, h.InputSampleRate)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(h.OutputGain))
	dst = append(dst, h.MappingFamily)
	return append(dst, h.Mapping...)
}

func isHead(b []byte) bool { return len(b) >= 8 && string(b[:8]) == "OpusHead" }

// parseHead reads the packet b, which isHead has seen.
func parseHead(b []byte) (Head, error) {
	if len(b) < headLen {
		return Head{}, ErrHead
	}
	// "Implementations SHOULD treat streams where the upper four bits of the
	// version number match that of a recognized specification as
	// backwards compatible": 0 to 15 are read as version 1.
	if b[8] > 15 {
		return Head{}, ErrVersion
	}
	h := Head{
		Channels:        b[9],
		PreSkip:         binary.LittleEndian.Uint16(b[10:]),
		InputSampleRate: binary.LittleEndian.Uint32(b[12:]),
		OutputGain:      int16(binary.LittleEndian.Uint16(b[16:])),
		MappingFamily:   b[18],
	}
	if h.MappingFamily != 0 {
		// Later minor versions may append fields, so more is no error.
		n := headLen + 2 + int(h.Channels)
		if len(b) < n {
			return Head{}, ErrHead
		}
		h.Mapping = append([]byte(nil), b[headLen:n]...)
	}
	return h, h.check()
}

// Tags is the comment header, OpusTags (RFC 7845 section 5.2).
type Tags struct {
	Vendor   string   // the encoder, UTF-8
	Comments []string // NAME=value, UTF-8, as they stand in the file
}

// MaxTags is how many bytes of a comment header are kept. Files carry cover
// pictures there, so a longer header is no error: comments that do not lie
// wholly in its first MaxTags bytes are left out.
const MaxTags = 64 << 10

// maxTagsSkip is where RFC 7845 section 5.2 lets a reader give up.
const maxTagsSkip = 125829120

func (t Tags) append(dst []byte) []byte {
	dst = append(dst, "OpusTags"...)
	dst = appendString(dst, t.Vendor)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t.Comments)))
	for _, c := range t.Comments {
		dst = appendString(dst, c)
	}
	return dst
}

// size returns the length that append will have.
func (t Tags) size() int {
	n := 8 + 4 + len(t.Vendor) + 4
	for _, c := range t.Comments {
		n += 4 + len(c)
	}
	return n
}

func appendString(dst []byte, s string) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// parseTags reads the packet b, of which cut says that its end is missing.
func parseTags(b []byte, cut bool) (Tags, error) {
	if len(b) < 8 || string(b[:8]) != "OpusTags" {
		return Tags{}, ErrTags
	}
	b = b[8:]
	vendor, b, ok := cutString(b)
	if !ok || len(b) < 4 {
		return Tags{}, ErrTags // even when cut: a vendor of 64 KiB is no name
	}
	t := Tags{Vendor: vendor}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	// n is only a claim; the loop ends with the bytes.
	for ; n > 0; n-- {
		c, rest, ok := cutString(b)
		if !ok {
			if cut {
				break
			}
			return Tags{}, ErrTags
		}
		t.Comments = append(t.Comments, c)
		b = rest
	}
	return t, nil // what follows the comments is padding (section 5.2)
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", b, false
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return "", b, false
	}
	return string(b[4 : 4+n]), b[4+n:], true
}
