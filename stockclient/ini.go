package stockclient

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// parseINI reads an INI file as QSettings of Qt 5 does
// (src/corelib/io/qsettings.cpp: readIniLine, readIniSection,
// iniUnescapedStringList) and returns the values by group/key. Lines that are none
// are passed over, as Qt does; a list of values counts as none, for no setting that
// is read here is one. A character below U+0100 may stand for a byte.
func parseINI(b []byte) map[string]string {
	values := map[string]string{}
	group := ""
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for len(b) > 0 {
		var line []byte
		line, b = iniLine(b)
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] == '[' {
			name, _, _ := bytes.Cut(line[1:], []byte("]"))
			group = iniGroup(string(bytes.TrimSpace(name)))
			continue
		}
		key, value, ok := bytes.Cut(line, []byte("="))
		if !ok {
			continue
		}
		name := group + strings.ReplaceAll(string(bytes.TrimSpace(key)), `\`, "/")
		if s, ok := iniValue(value); ok {
			values[name] = s
		} else {
			delete(values, name)
		}
	}
	return values
}

// iniGroup is what the name of a section puts before its keys.
func iniGroup(name string) string {
	if strings.EqualFold(name, "General") {
		return ""
	}
	return strings.ReplaceAll(name, `\`, "/") + "/"
}

// iniLine returns the first line of b, which in quotes or after a backslash goes
// on past its end, without its comment, and what follows.
func iniLine(b []byte) (line, rest []byte) {
	quoted, end := false, -1
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case end >= 0 && c != '\n': // in a comment
		case c == '\\':
			i++
			if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
				i++
			}
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			end = i
		case c == '\n' && !quoted:
			if end < 0 {
				end = i
			}
			return b[:end], b[i+1:]
		}
	}
	if end < 0 {
		end = len(b)
	}
	return b[:end], nil
}

// iniEscapes are the characters after a backslash that stand for another.
var iniEscapes = map[byte]rune{
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
	'"': '"', '?': '?', '\'': '\'', '\\': '\\',
}

// iniValue takes quotes and escapes off a value; false if it is a list.
func iniValue(b []byte) (string, bool) {
	b = bytes.Trim(b, " \t\r")
	var s strings.Builder
	quoted := false
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
			i++
		case c == ',' && !quoted:
			return "", false
		case c == '\\':
			i += iniEscape(b[i+1:], &s) + 1
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				r = rune(c) // written without a codec: Latin-1
			}
			s.WriteRune(r)
			i += n
		}
	}
	return s.String(), true
}

// iniEscape writes what the escape b stands for, without its backslash, and
// returns how long it is. Digits of a hexadecimal or octal one go on as long as
// there are any; what comes out has 16 bits (a QChar). Unknown ones stand for
// nothing.
func iniEscape(b []byte, s *strings.Builder) int {
	if len(b) == 0 {
		return 0
	}
	if r, ok := iniEscapes[b[0]]; ok {
		s.WriteRune(r)
		return 1
	}
	if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
		return 2 // the value goes on in the next line
	}
	from, base := 0, 8
	if b[0] == 'x' {
		from, base = 1, 16
	}
	value, n := uint16(0), from
	for ; n < len(b); n++ {
		d := digit(b[n])
		if d >= base {
			break
		}
		value = value*uint16(base) + uint16(d)
	}
	if n > from {
		s.WriteRune(rune(value))
	}
	return max(n, 1)
}

// digit is the value of a hexadecimal digit, else more than any digit has.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return 16
}

// byteArray reads the form in which QSettings writes a QByteArray; nil if s is none.
func byteArray(s string) []byte {
	s, ok := strings.CutPrefix(s, "@ByteArray(")
	if !ok {
		return nil
	}
	if s, ok = strings.CutSuffix(s, ")"); !ok {
		return nil
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil
		}
		b = append(b, byte(r))
	}
	return b
}

// text reads a string as QSettings writes it: other types begin with one @.
func text(s string) string {
	if strings.HasPrefix(s, "@@") {
		return s[1:]
	}
	if strings.HasPrefix(s, "@") {
		return ""
	}
	return s
}
