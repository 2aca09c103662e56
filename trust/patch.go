package trust

// Patch is changes of a Book. It shares nothing with the Book it is from, so that
// another goroutine may write it. The zero value is empty.
type Patch struct{ journal []func(*Book) }

// Take returns what changed since Parse, or since the last Saved, Rebase or Take.
// The Book keeps the changes but has none to write any more, see Return.
func (b *Book) Take() Patch {
	p := Patch{b.journal}
	b.journal = nil
	return p
}

// Return says that p, which Take gave, was not written.
func (b *Book) Return(p Patch) { b.journal = append(p.journal, b.journal...) }

// Apply makes the changes to a Book that another process may have written since.
func (p Patch) Apply(b *Book) {
	for _, change := range p.journal {
		change(b)
	}
}
