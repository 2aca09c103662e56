package mls_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

func TestSignOutside(t *testing.T) {
	k, err := mls.GenerateSignatureKey(mls.X25519AES128GCM)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("\x0dSotto 1 Hello\x02hi")
	signature, err := k.SignOutside(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := mls.VerifyOutside(mls.X25519AES128GCM, k.Public(), message, signature); err != nil {
		t.Error(err)
	}
	for i := range message {
		bad := bytes.Clone(message)
		bad[i] ^= 1
		if err := mls.VerifyOutside(mls.X25519AES128GCM, k.Public(), bad, signature); !errors.Is(err, mls.ErrSignature) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for _, own := range []string{"\x15MLS 1.0 FramedContentTBS", "\x40\x15MLS 1.0 FramedContentTBS", "\x80\x00\x00\x15MLS 1.0 x"} {
		if _, err := k.SignOutside([]byte(own)); !errors.Is(err, mls.ErrUsage) {
			t.Errorf("%q is signed: %v", own, err)
		}
		if err := mls.VerifyOutside(mls.X25519AES128GCM, k.Public(), []byte(own), signature); !errors.Is(err, mls.ErrSignature) {
			t.Errorf("%q verifies: %v", own, err)
		}
	}
	if err := mls.VerifyOutside(0x0004, k.Public(), message, signature); !errors.Is(err, mls.ErrUnsupported) {
		t.Errorf("X448: %v", err)
	}
}

// A committer sees the authenticator of the epoch that its Commit would begin.
func TestStagedEpochAuthenticator(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	profile, config := client("A")
	g, err := mls.NewGroup(config, mls.GroupOptions{
		CipherSuite: mls.X25519AES128GCM, Profile: profile, Lifetime: mls.LifetimeAround(now, 0, time.Hour),
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.Commit(mls.CommitOptions{}, now)
	if err != nil {
		t.Fatal(err)
	}
	before, staged := g.EpochAuthenticator(), c.EpochAuthenticator()
	if len(staged) == 0 || bytes.Equal(before, staged) {
		t.Fatalf("%x, then %x", before, staged)
	}
	if err := g.Merge(c); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g.EpochAuthenticator(), staged) {
		t.Error("another authenticator than the staged one")
	}
	if c.EpochAuthenticator() != nil {
		t.Error("a merged Commit still has secrets")
	}
}
