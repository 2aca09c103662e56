package envelope_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/envelope"
)

func fill(n int) []byte { return bytes.Repeat([]byte{0xA5}, n) }

func TestKinds(t *testing.T) {
	want := map[envelope.Kind]string{
		0x01: "Hello", 0x02: "MLSMessage", 0x03: "Welcome", 0x04: "Ref", 0x05: "Want", 0x06: "Beacon",
		0x07: "KeyPackageRequest", 0x08: "KeyPackageReply", 0x09: "Report", 0x0A: "SecretReady",
		0x0B: "SecretText", 0x0C: "Probe", 0x0D: "Presence",
	}
	for i := range 256 {
		k := envelope.Kind(i)
		name, known := want[k]
		if !known {
			name = "kind 0x" + strings.ToUpper(hex.EncodeToString([]byte{byte(i)}))
		}
		if k.Known() != known || k.String() != name {
			t.Errorf("%02X: known %v, %q; want %v, %q", i, k.Known(), k, known, name)
		}
	}
}

// TestRef has a reference made outside this program:
// printf 'sotto/1 object\x0c\x01\x02\x03\x04\x05\x06\x07\x08' | sha256sum
func TestRef(t *testing.T) {
	o := envelope.Object{Kind: envelope.KindProbe, Body: []byte{1, 2, 3, 4, 5, 6, 7, 8}}
	ref, id := o.Ref(), o.Ref().ID()
	if got := hex.EncodeToString(ref[:]); got != probeRef {
		t.Errorf("ref %s, want %s", got, probeRef)
	}
	if !bytes.Equal(id[:], ref[:8]) {
		t.Errorf("id %x of ref %x", id, ref)
	}
	for _, other := range []envelope.Object{
		{Kind: envelope.KindHello, Body: o.Body}, {Kind: o.Kind, Body: o.Body[:7]}, {Kind: o.Kind},
	} {
		if other.Ref() == ref {
			t.Errorf("%v has the same ref", other)
		}
	}
	if want := sha256.Sum256([]byte("sotto/1 object\x0D")); (envelope.Object{Kind: envelope.KindPresence}).Ref() != want {
		t.Error("ref of an empty body")
	}
}

func TestLengthError(t *testing.T) {
	_, err := envelope.AppendSingle(nil, envelope.Object{Kind: 1, Body: fill(989)})
	var long *envelope.LengthError
	if !errors.Is(err, envelope.ErrTooLong) || !errors.As(err, &long) || long.Len != 989 || long.Max != 988 {
		t.Fatal(err)
	}
	if got := err.Error(); got != "envelope: fragment part of 989 bytes, at most 988 fit" {
		t.Error(got)
	}
	if errors.Is(err, envelope.ErrEmpty) {
		t.Error("is ErrEmpty as well")
	}
}

const probeRef = "24bda56bcb170e39780204203a75ed12129065259a930858f18dfd3eace3782e"
