package keystore

import "testing"

// A structure with more behind its values is decoded as if that were not there, so it
// must not hide the values from the look at them.
func TestIterationsBehindJunk(t *testing.T) {
	many := []byte{0x30, 0x0B, 0x04, 0x01, 'x', 0x02, 0x06, 1, 0, 0, 0, 0, 0} // salt, 2^40
	if checkIterations(many) == nil {
		t.Error("2^40 iterations")
	}
	hidden := append([]byte{0x30, 0x0D}, append(many[2:len(many):len(many)], 0x04, 0x7F)...)
	if checkIterations(hidden) == nil {
		t.Error("2^40 iterations before junk")
	}
	if err := checkIterations([]byte{0x30, 0x08, 0x04, 0x01, 'x', 0x02, 0x02, 8, 0, 0x05}); err != nil {
		t.Errorf("few before junk, which is for decoding to find: %v", err)
	}
	// A salt is random: now and then it looks like a structure with nothing sound in it.
	salt := []byte{0x30, 0x0E, 0x04, 0x08, 0x30, 0x06, 1, 2, 3, 4, 5, 6, 0x02, 0x02, 8, 0}
	if err := checkIterations(salt); err != nil {
		t.Errorf("a salt that looks like a structure: %v", err)
	}
	if err := checkIterations([]byte{0x04, 0x03, 0x30, 0x7F, 0x01}); err != nil {
		t.Errorf("a string that begins like DER: %v", err)
	}
}
