package headless

import "regexp"

// rooms are the packages whose names begin the texts of their errors.
var rooms = regexp.MustCompile(`(^|: |\()(?:carrier|client|control|crypt|e2ee|endpoint|envelope|events|guard|headless|identity|keystore|mirror|ogg|opus|sframe|voice): `)

// Sentence makes the text of an error one for people: without the names of the
// packages that it came through, which tell a programmer where to look.
func Sentence(text string) string {
	for {
		// Two names in a row share the characters between them.
		shorter := rooms.ReplaceAllString(text, "$1")
		if shorter == text {
			return text
		}
		text = shorter
	}
}
