package endpoint

import (
	"slices"
	"testing"
)

// A member whom the server hides has the keys all the same, and is named.
func TestUnlisted(t *testing.T) {
	for _, c := range []struct{ members, hearers, want []uint32 }{
		{nil, []uint32{2, 3}, nil},
		{[]uint32{1, 2, 3}, []uint32{2, 3, 4}, nil},
		{[]uint32{9, 1, 2}, []uint32{2, 3}, []uint32{9}},
		{[]uint32{1, 8, 9}, nil, []uint32{8, 9}},
	} {
		if got := unlisted(c.members, c.hearers, 1); !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.members, c.hearers, got, c.want)
		}
	}
}
