package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/sotto-voip/sotto/identity"
)

// Person is what is known about somebody present.
type Person struct {
	// Identity is the key of a statement that was verified; zero for somebody
	// without Sotto, or whose statement has not come.
	Identity identity.PublicKey
	// Name, CertHash and Registered are the server's word. CertHash is the hex
	// of UserState.hash; what is not hex of 16 to 128 digits counts as none.
	Name          string
	CertHash      string
	Registered    uint32
	HasRegistered bool
}

// Kind is what somebody or something is remembered by.
type Kind uint8

// The kinds. The zero Kind names nothing.
const (
	ByCertificate  Kind = iota + 1 // hash of the Mumble certificate
	ByRegistration                 // registered id on one server
	ByName                         // name, NFKC and case-folded
	byIdentity                     // identity key, in the sticky memory only
	byChannel                      // channel id on one server, likewise
)

var kindNames = [...]string{ByCertificate: "certificate", ByRegistration: "registered", ByName: "name", byIdentity: "identity", byChannel: "channel"}

// String returns the word for k, "unknown" for what is none.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

const (
	maxServerLen = 300 // host:port has at most 263
	maxNameIn    = 512 // bytes of a name that are looked at; Murmur's default allows 128 characters
	maxName      = 64  // bytes of a folded name; a longer one is kept as its hash
	maxShown     = 64  // bytes of a name kept for showing
	minHash      = 16  // hex digits of a certificate's hash; SHA-1 has 40
	maxHash      = 128
)

// serverName bounds the name of a server.
func serverName(s string) string {
	if len(s) <= maxServerLen && !strings.ContainsFunc(s, unprintable) && s == strings.ToValidUTF8(s, "") {
		return s
	}
	return digest(s)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "#" + hex.EncodeToString(sum[:16])
}

// fold is the form in which names are compared: NFKC and case-folded, without
// space around it.
func fold(s string) string {
	s = clean(s, maxNameIn)
	f := cases.Fold()
	// Folding can undo the normal form and the other way round; twice is what
	// the Unicode Standard takes (NFKC_Casefold, D146 in section 3.13).
	for range 2 {
		s = norm.NFKC.String(f.String(norm.NFKC.String(s)))
	}
	s = clean(strings.TrimSpace(s), len(s))
	if len(s) > maxName {
		return digest(s)
	}
	return s
}

// clean makes a server's text fit for a line: valid UTF-8 of at most n bytes,
// what does not print as U+FFFD.
func clean(s string, n int) string {
	s = cut(s, n)
	s = strings.ToValidUTF8(s, "\ufffd")
	s = strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '\ufffd'
		}
		return r
	}, s)
	return cut(s, n)
}

// unprintable is what can move or hide what stands beside it: controls,
// directions, separators of lines.
func unprintable(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) }

// cut returns the first n bytes of s, or fewer so that no character is halved.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// quote shows a name from a server in a sentence of ours.
func quote(name string) string { return strconv.Quote(clean(name, maxShown)) }

func personKey(p identity.PublicKey) key { return key{byIdentity, "", hex.EncodeToString(p[:])} }

// marksOf returns the marks of p on a server.
func marksOf(server string, p Person) []key {
	keys := make([]key, 0, 3)
	if h := strings.ToLower(p.CertHash); isHash(h) {
		keys = append(keys, key{ByCertificate, "", h})
	}
	if p.HasRegistered {
		keys = append(keys, key{ByRegistration, server, strconv.FormatUint(uint64(p.Registered), 10)})
	}
	if name := fold(p.Name); name != "" {
		keys = append(keys, key{ByName, server, name})
	}
	return keys
}

func isHash(s string) bool {
	if len(s) < minHash || len(s) > maxHash {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isNumber reports whether s is a decimal number of 32 bits in its only form.
func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == s
}
