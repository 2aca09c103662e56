package envelope

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Sizes on the text path (Sotto protocol §1.3), in bytes of Part, before the id
// and base64. Which one holds is the carrier's to know.
const (
	MaxImagePart   = 96000 // image form, within Murmur's 131 072 characters
	MaxPlainPart   = 3600  // plain form, within Murmur's 5 000 characters
	MaxUMurmurPart = 4400  // uMurmur, within one control message of 8 186 bytes
	// MaxTextParts is the largest count in the plain form, MaxImageParts that in
	// the image form.
	MaxTextParts  = 128
	MaxImageParts = 8

	textMark   = "sotto:1,"
	imageOpen  = `<img src="`
	imageClose = `"/>`
	maxText    = 131072 // Murmur's default imagemessagelength
)

// TextPart is one part of an object on the text path.
type TextPart struct {
	Kind  Kind
	ID    ID
	Index int    // 0 to Count-1
	Count int    // 1 to 128, as an image 1 to 8
	Part  []byte // at least one byte
}

func (t TextPart) check(image bool) error {
	maxPart, maxCount := MaxUMurmurPart, MaxTextParts
	if image {
		maxPart, maxCount = MaxImagePart, MaxImageParts
	}
	switch {
	case t.Count < 1 || t.Count > maxCount || t.Index < 0 || t.Index >= t.Count:
		return ErrIndex
	case len(t.Part) == 0:
		return ErrEmpty
	case len(t.Part) > maxPart:
		return &LengthError{"text part", len(t.Part), maxPart}
	}
	return nil
}

const upperHex = "0123456789ABCDEF"

// AppendText appends t as the message of a TextMessage: as an image, for servers
// that allow HTML, or plain. The result is ASCII, so that its length in bytes is
// its length in the characters that servers count. It refuses a part above
// MaxImagePart or, plain, above MaxUMurmurPart, and a count above MaxImageParts or
// MaxTextParts; dst then comes back unchanged.
func AppendText(dst []byte, t TextPart, image bool) ([]byte, error) {
	if err := t.check(image); err != nil {
		return dst, err
	}
	if image {
		dst = append(dst, imageOpen...)
	}
	dst = append(dst, textMark...)
	dst = append(dst, upperHex[t.Kind>>4], upperHex[t.Kind&15], ',')
	dst = strconv.AppendInt(dst, int64(t.Index), 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(t.Count), 10)
	dst = append(dst, ',')
	// id and part are one run of base64. Nine bytes end on a boundary of it, so
	// the id and the first byte of part go first and the rest follows unbuffered.
	head := [9]byte{8: t.Part[0]}
	copy(head[:], t.ID[:])
	dst = base64.StdEncoding.AppendEncode(dst, head[:])
	dst = base64.StdEncoding.AppendEncode(dst, t.Part[1:])
	if image {
		dst = append(dst, imageClose...)
	}
	return dst, nil
}

// MaxTextPart returns the longest Part whose text has at most chars characters,
// whatever its index and count, or 0 if none fits. It never exceeds MaxImagePart
// or, plain, MaxPlainPart, and so fits the limits a Murmur server announces in
// its ServerConfig.
func MaxTextPart(chars int, image bool) int {
	most := MaxPlainPart
	chars -= len(textMark) + len("KK,127,128,")
	if image {
		most = MaxImagePart
		chars -= len(imageOpen) + len(imageClose)
	}
	return min(most, max(0, chars/4*3-len(ID{})))
}

// ParseText reads the message of a TextMessage, all of it, in either form: only
// what AppendText writes is accepted, down to the upper case of KK, plain
// decimals and canonical base64. Unlike other parsed values, Part does not alias
// s. If LooksLikeText says so, the text belongs to Sotto even if broken.
func ParseText(s string) (TextPart, error) {
	if len(s) > maxText {
		return TextPart{}, &LengthError{"text", len(s), maxText}
	}
	image := false
	if inner, ok := strings.CutPrefix(s, imageOpen); ok {
		if s, ok = strings.CutSuffix(inner, imageClose); !ok {
			return TextPart{}, ErrText
		}
		image = true
	}
	s, ok := strings.CutPrefix(s, textMark)
	if !ok {
		return TextPart{}, ErrText
	}
	// Commas are not in the base64 alphabet; SplitN bounds the work.
	f := strings.SplitN(s, ",", 4)
	if len(f) != 4 {
		return TextPart{}, ErrText
	}
	kind, ok1 := parseKind(f[0])
	index, ok2 := parseCount(f[1])
	count, ok3 := parseCount(f[2])
	if !ok1 || !ok2 || !ok3 {
		return TextPart{}, ErrText
	}
	// The decoder skips line breaks and Strict does not stop it.
	if strings.IndexByte(f[3], '\r') >= 0 || strings.IndexByte(f[3], '\n') >= 0 { // ContainsAny is slow
		return TextPart{}, ErrText
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(f[3])
	if err != nil {
		return TextPart{}, ErrText
	}
	if len(raw) < len(ID{}) {
		return TextPart{}, ErrTruncated
	}
	t := TextPart{Kind: kind, ID: ID(raw[:8]), Index: index, Count: count, Part: raw[8:]}
	if err := t.check(image); err != nil {
		return TextPart{}, err
	}
	return t, nil
}

func parseKind(s string) (Kind, bool) {
	if len(s) != 2 {
		return 0, false
	}
	hi, lo := strings.IndexByte(upperHex, s[0]), strings.IndexByte(upperHex, s[1])
	return Kind(hi<<4 | lo), hi >= 0 && lo >= 0
}

// parseCount reads a decimal of one to three digits without leading zeros.
func parseCount(s string) (int, bool) {
	if len(s) < 1 || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
