package mls

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
)

// TestDecodersAllocateInProportion feeds what is smallest on the wire and largest
// in memory.
func TestDecodersAllocateInProportion(t *testing.T) {
	leaf := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "x")).KeyPackage.LeafNode
	repeat := func(n int, part []byte) []byte { return appendOpaque(nil, bytes.Repeat(part, n)) }
	types := appendUint16s(nil, make([]uint16, 1<<18))
	distinct := appendVector(nil, func(b []byte) []byte {
		for i := range 1 << 16 {
			b = append(appendUint16(b, uint16(i)), 0)
		}
		return b
	})
	small := append(append(make([]byte, 0, 64), 16), make([]byte, 16)...)
	tiny := append(append(small[:17:17], small...), 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0)
	for name, c := range map[string]struct {
		b      []byte
		decode func(*reader)
	}{
		"blank nodes":    {append(repeat(1<<20, []byte{0})[:4], append(make([]byte, 1<<20-1-len(leaf.append(nil))), append([]byte{1, 1}, leaf.append(nil)...)...)...), func(r *reader) { decodeTree(suites[0], 1<<20)(r) }},
		"only blank":     {repeat(1<<20, []byte{0}), func(r *reader) { decodeTree(suites[0], 1<<20)(r) }},
		"type lists":     {types, func(r *reader) { decodeUint16s[CipherSuite](r) }},
		"extensions":     {distinct, func(r *reader) { decodeExtensions(r) }},
		"external inits": {repeat(1<<16, []byte{1, 0, 6, 0}), func(r *reader) { decodeCommit(r) }},
		"removes":        {repeat(1<<16, []byte{1, 0, 3, 0, 0, 0, 0}), func(r *reader) { decodeCommit(r) }},
		"updates":        {repeat(1<<12, append([]byte{1, 0, 2}, tiny...)), func(r *reader) { decodeCommit(r) }},
		"certificates":   {append([]byte{0, 2}, repeat(1<<16, []byte{0})...), func(r *reader) { decodeCredential(r) }},
		"PSKs":           {append([]byte{0, 0}, repeat(1<<16, []byte{1, 0, 1, 0})...), func(r *reader) { decodeGroupSecrets(r) }},
		"senders":        {repeat(1<<16, []byte{0, 0, 1, 0}), func(r *reader) { decodeExternalSenders(r) }},
		"ciphertexts":    {append(leaf.append(nil), appendOpaque(nil, append(small[:17:17], repeat(1<<12, append(small[:17:17], small...))...))...), func(r *reader) { decodeUpdatePath(r) }},
		"welcomes":       {append([]byte{0, 1}, repeat(1<<12, append(small[:17:17], 0, 0))...), func(r *reader) { decodeWelcome(r) }},
		"a long vector":  {[]byte{0xbf, 0xff, 0xff, 0xff}, func(r *reader) { r.opaque() }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parse(c.b, func(r *reader) bool { c.decode(r); return true })
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		if got > uint64(10*len(c.b)+128<<10) {
			t.Errorf("%s: %d bytes for %d (%v)", name, got, len(c.b), err)
		}
		t.Logf("%s: %.1f times %d bytes, %v", name, float64(got)/float64(len(c.b)), len(c.b), err)
	}
}

func TestMalformed(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":                 {nil, ErrMalformed},
		"version 2":               {[]byte{0, 2, 0, 1}, ErrUnsupported},
		"wire format 9":           {[]byte{0, 1, 0, 9}, ErrUnsupported},
		"cut off":                 {[]byte{0, 1, 0, 1, 4, 1, 2}, ErrMalformed},
		"length prefix 11":        {[]byte{0, 1, 0, 2, 0xff, 0, 0, 0}, ErrMalformed},
		"length not minimal":      {[]byte{0, 1, 0, 2, 0x40, 1, 0}, ErrMalformed},
		"unknown proposal":        {append([]byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 2}, 0x0a, 0x0a), ErrUnsupported},
		"sender type 7":           {[]byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 2}, ErrMalformed},
		"presence octet 2":        {[]byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 2}, ErrMalformed},
		"trailing bytes":          {append((&Message{Welcome: &Welcome{}}).Marshal(), 0), ErrMalformed},
		"proposal or reference 3": {[]byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 3, 2, 3, 0}, ErrMalformed},
	} {
		_, err := ParseMessage(c.b)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := parse([]byte{0, 9}, decodeCredential); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	for b := range 256 {
		if _, err := parse([]byte{byte(b), 0, 0}, decodePreSharedKeyID); (err == nil) != (b == 1) {
			t.Errorf("psktype %d: %v", b, err)
		}
	}
}
