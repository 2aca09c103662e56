package e2ee

import "testing"

// TestSentence: what people read begins with whole letters, or the quotation mark
// of a name.
func TestSentence(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		" nobody is here ":             "Nobody is here.",
		"“eve” has no Sotto":           "“eve” has no Sotto.",
		"être":                         "Être.",
		"is that you?":                 "Is that you?",
		"the keys are ready.":          "The keys are ready.",
		"\xff broken by somebody else": "\uFFFD broken by somebody else.",
	} {
		if got := sentence(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	e := &Groups{names: map[uint32]string{1: "“alice”", 2: "“bob”"}}
	if one, two := e.see([]uint32{1}), e.see([]uint32{1, 2}); one != "“alice” sees" || two != "“alice”, “bob” see" {
		t.Errorf("%q, %q", one, two)
	}
}
