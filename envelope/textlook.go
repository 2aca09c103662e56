package envelope

import "strings"

// LooksLikeText reports whether s is a text part of Sotto or was one before a
// server or another client cut, wrapped or escaped it. Such a text is never
// shown to a human, who would see a wall of base64; one that ParseText refuses
// is dropped and counted.
//
// The rule: "sotto:" and a digit, in any case and of any version, stands at the
// beginning of the text, behind a tag, or as the value of a src attribute. A
// human who only writes about sotto:1 inside a sentence is not silenced. The
// work is linear in len(s).
func LooksLikeText(s string) bool {
	const mark = "sotto:"
	for i := 0; i+len(mark) < len(s); i++ {
		if s[i]|0x20 != 's' || !strings.EqualFold(s[i:i+len(mark)], mark) {
			continue
		}
		if c := s[i+len(mark)]; c < '0' || c > '9' {
			continue
		}
		// A fixed look back keeps the work linear whatever is repeated in s.
		before := s[max(0, i-64):i]
		if atStart(before) {
			return true
		}
	}
	return false
}

// atStart reports whether a value may begin behind before: nothing but blanks,
// the end of a tag, or src= with or without a quote, plain or as an entity.
func atStart(before string) bool {
	const blanks = " \t\r\n\v\f\u00a0\u200b\ufeff"
	before = strings.TrimRight(before, blanks)
	if before == "" {
		return true
	}
	switch before[len(before)-1] {
	case '>':
		return true
	case ';', '"', '\'', '=':
	default: // the most common case, and the cheap one
		return false
	}
	before = strings.ToLower(before)
	if strings.HasSuffix(before, "&gt;") {
		return true
	}
	for _, quote := range []string{`"`, `'`, "&quot;", "&#34;", "&#39;", "&apos;"} {
		if cut, ok := strings.CutSuffix(before, quote); ok {
			before = cut
			break
		}
	}
	before = strings.TrimRight(before, blanks)
	before, ok := strings.CutSuffix(before, "=")
	return ok && strings.HasSuffix(strings.TrimRight(before, blanks), "src")
}
