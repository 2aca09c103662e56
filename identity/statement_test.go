package identity_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sotto-voip/sotto/identity"
)

var server = identity.SHA256{1, 2, 3}

// signed returns a device, its owner and a statement for a fresh session key.
func signed(t testing.TB, extra []byte) (*identity.PrivateKey, *identity.Device, identity.PublicKey, identity.Statement) {
	t.Helper()
	owner, session := identity.New(), identity.New().Public()
	d := owner.NewDevice(1893456000)
	s, err := d.Statement(session, server, 9, extra)
	if err != nil {
		t.Fatal(err)
	}
	return owner, d, session, s
}

func TestStatement(t *testing.T) {
	extra := identity.AppendRecord(identity.AppendRecord(nil, 0x100, []byte("future")), identity.RecordCertificate, bytes.Repeat([]byte{5}, 100))
	owner, d, session, s := signed(t, extra)
	b := s.Append([]byte("before"))[6:]
	// By the letter of the protocol page.
	id, dev := owner.Public(), d.Public()
	want := slices.Concat([]byte{0, 1, 0}, id[:], dev[:], binary.BigEndian.AppendUint64(nil, 1893456000),
		s.DeviceSignature[:], s.SessionSignature[:], []byte{0x40, byte(len(extra))}, extra)
	if !bytes.Equal(b, want) {
		t.Fatalf("%x, want %x", b, want)
	}
	device := slices.Concat([]byte{0, 1}, id[:], dev[:], binary.BigEndian.AppendUint64(nil, 1893456000))
	if !id.Verify(identity.LabelDevice, device, s.DeviceSignature[:]) {
		t.Error("the device is certified over something else")
	}
	content := slices.Concat(session[:], server[:], []byte{0, 0, 0, 9})
	if !dev.Verify(identity.LabelSession, content, s.SessionSignature[:]) {
		t.Error("the session is signed over something else")
	}
	got, err := identity.ParseStatement(b)
	if err != nil || !bytes.Equal(got.Append(nil), b) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := got.Verify(session, server, 9); err != nil {
		t.Error(err)
	}
	if data, ok := got.Record(identity.RecordCertificate); !ok || !bytes.Equal(data, bytes.Repeat([]byte{5}, 100)) {
		t.Errorf("record %x, %v", data, ok)
	}
	if _, ok := got.Record(2); ok {
		t.Error("a record that is not there")
	}
	// Nothing of it may be changed; version, mode and lengths do not even parse.
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1
		s, err := identity.ParseStatement(bad)
		if err == nil {
			err = s.Verify(session, server, 9)
		}
		if extraAt := 3 + 72 + 128 + 2; i < extraAt && err == nil {
			t.Errorf("byte %d changed, still true", i) // extra is not under these signatures: MLS signs the leaf
		}
	}
	other := identity.New().Public()
	for name, err := range map[string]error{
		"another session key": got.Verify(other, server, 9),
		"another server":      got.Verify(session, identity.SHA256{1, 2, 4}, 9),
		"another session":     got.Verify(session, server, 10),
	} {
		if !errors.Is(err, identity.ErrStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := got.Verify(identity.PublicKey{}, server, 9); !errors.Is(err, identity.ErrPublicKey) {
		t.Errorf("session key of small order: %v", err)
	}
}

// TestStatementOfAnother: a device that the identity did not certify, and a
// certificate moved to another identity.
func TestStatementOfAnother(t *testing.T) {
	_, _, session, s := signed(t, nil)
	_, _, _, eve := signed(t, nil)
	swapped := s
	swapped.Identity = eve.Identity
	late := s
	late.DeviceNotAfter = 0
	mixed := s
	mixed.Device, mixed.SessionSignature = eve.Device, eve.SessionSignature
	for name, s := range map[string]identity.Statement{"identity": swapped, "end": late, "device": mixed} {
		if err := s.Verify(session, server, 9); !errors.Is(err, identity.ErrStatement) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func TestParseStatementRefuses(t *testing.T) {
	_, _, _, s := signed(t, identity.AppendRecord(nil, 7, []byte("data")))
	good := s.Append(nil)
	const extraAt = 203
	with := func(at int, b ...byte) []byte {
		out := slices.Clone(good)
		copy(out[at:], b)
		return out
	}
	extra := func(length []byte, data []byte) []byte { return slices.Concat(good[:extraAt], length, data) }
	for _, r := range []struct {
		name string
		b    []byte
		want error
	}{
		{"good", good, nil},
		{"no extra", extra([]byte{0}, nil), nil},
		{"the longest extra", extra([]byte{0x42, 0}, identity.AppendRecord(nil, 9, make([]byte, 508))), nil},
		{"nothing", nil, identity.ErrStatement},
		{"a byte more", append(slices.Clone(good), 0), identity.ErrStatement},
		{"version 2", with(1, 2), identity.ErrStatement},
		{"mode 1", with(2, 1), identity.ErrStatement},
		{"identity of small order", with(3, make([]byte, 32)...), identity.ErrPublicKey},
		{"device of small order", with(35, append([]byte{1}, make([]byte, 31)...)...), identity.ErrPublicKey},
		{"identity not canonical", with(3, slices.Concat([]byte{0xee}, bytes.Repeat([]byte{0xff}, 30), []byte{0x7f})...), identity.ErrPublicKey},
		{"extra too long", extra([]byte{0x42, 1}, identity.AppendRecord(nil, 9, make([]byte, 509))), identity.ErrStatement},
		{"length not shortest", extra([]byte{0x40, 3}, []byte{0, 7, 0}), identity.ErrStatement},
		{"length of four bytes", extra([]byte{0x80, 0, 0, 3}, []byte{0, 7, 0}), identity.ErrStatement},
		{"half a record", extra([]byte{1}, []byte{0}), identity.ErrStatement},
		{"a record without length", extra([]byte{2}, []byte{0, 7}), identity.ErrStatement},
		{"a record too short", extra([]byte{4}, []byte{0, 7, 2, 1}), identity.ErrStatement},
	} {
		if _, err := identity.ParseStatement(r.b); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", r.name, err, r.want)
		}
	}
	for i := range good {
		if _, err := identity.ParseStatement(good[:i]); !errors.Is(err, identity.ErrStatement) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

func TestDeviceText(t *testing.T) {
	owner, d, session, s := signed(t, nil)
	text := d.Export()
	if !strings.HasPrefix(text, "sotto-device-1") {
		t.Fatalf("%.14s", text)
	}
	again, err := identity.ParseDevice(text, owner)
	if err != nil || again.Public() != d.Public() || again.Identity() != owner.Public() {
		t.Fatal(err)
	}
	s2, err := again.Statement(session, server, 9, nil)
	if err != nil || !bytes.Equal(s2.Append(nil), s.Append(nil)) {
		t.Errorf("another statement after reading, %v", err)
	}
	eve := identity.New()
	taken, err := identity.ParseDevice(text, eve)
	if err != nil || taken.Identity() != eve.Public() {
		t.Errorf("%v", err) // whoever has the text has the key: it becomes a device of hers, not of the owner
	}
	for name, bad := range map[string]string{"nothing": "", "identity": owner.Export(), "cut": text[:len(text)-1], "upper case": strings.ToUpper(text), "space": text + " "} {
		if _, err := identity.ParseDevice(bad, owner); !errors.Is(err, identity.ErrPrivateKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := identity.ParseDevice(text, &identity.PrivateKey{}); !errors.Is(err, identity.ErrPrivateKey) {
		t.Errorf("zero identity: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{d, *d} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, text[14:24]) || !strings.Contains(out, "redacted") {
				t.Errorf("%s: %s", verb, out)
			}
		}
	}
}

func TestStatementRefusals(t *testing.T) {
	owner := identity.New()
	d := owner.NewDevice(0)
	key := identity.New().Public()
	var zero identity.Device
	if (identity.PrivateKey{}).NewDevice(0) != nil || zero.Export() != "" {
		t.Error("the zero key certifies")
	}
	if _, err := zero.Statement(key, server, 1, nil); !errors.Is(err, identity.ErrStatement) {
		t.Errorf("zero device: %v", err)
	}
	if _, err := d.Statement(identity.PublicKey{}, server, 1, nil); !errors.Is(err, identity.ErrPublicKey) {
		t.Errorf("zero session key: %v", err)
	}
	for _, extra := range [][]byte{{0}, identity.AppendRecord(nil, 1, make([]byte, 509))} {
		if _, err := d.Statement(key, server, 1, extra); !errors.Is(err, identity.ErrStatement) {
			t.Errorf("extra of %d bytes: %v", len(extra), err)
		}
	}
}

func FuzzParseStatement(f *testing.F) {
	_, _, session, s := signed(f, identity.AppendRecord(nil, 7, []byte("data")))
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := identity.ParseStatement(b)
		if err != nil {
			return
		}
		if got := s.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("%x becomes %x", b, got)
		}
		s.Verify(session, server, 9)
		s.Record(1)
	})
}

func BenchmarkStatementVerify(b *testing.B) {
	_, _, session, s := signed(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Verify(session, server, 9); err != nil {
			b.Fatal(err)
		}
	}
}
