package mls_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

func TestOutOfOrder(t *testing.T) {
	w := newWorld(t, mls.X25519AES128GCM, 3)
	w.cfg.OutOfOrder, w.cfg.MaxForward, w.cfg.PastEpochs = 4, 20, 2
	sender, reader := w.members[1], w.members[0]
	send := func() *mls.Message {
		m, err := sender.Protect([]byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	read := func(m *mls.Message, want error) {
		t.Helper()
		reader = w.again(reader)
		_, err := reader.Read(m, now)
		if (want == nil) != (err == nil) || !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	var m []*mls.Message
	for range 12 {
		m = append(m, send())
	}
	read(m[5], nil)
	read(m[5], mls.ErrGeneration)
	read(m[0], mls.ErrGeneration) // four are kept: 1 to 4
	read(m[1], nil)
	read(m[4], nil)
	read(m[11], nil)
	read(m[2], mls.ErrGeneration) // pushed out by 7 to 10
	read(m[10], nil)
	read(m[7], nil)
	read(m[8], nil)
	for range 20 {
		send()
	}
	read(send(), nil) // 32 is 20 ahead of 12
	for range 21 {
		send()
	}
	read(send(), mls.ErrGeneration)

	// Late messages of former epochs.
	w.cfg.MaxForward = 0
	w.members[0] = reader
	for epoch := range 4 {
		late := send()
		w.commit(2, mls.CommitOptions{})
		for range epoch {
			w.commit(2, mls.CommitOptions{})
		}
		r, err := w.members[2].Read(late, now)
		if epoch < 2 {
			if err != nil || r.(*mls.ApplicationMessage).Epoch != w.members[2].Epoch()-uint64(epoch)-1 {
				t.Errorf("%d epochs late: %v", epoch+1, err)
			}
			if _, err := w.members[2].Read(late, now); !errors.Is(err, mls.ErrGeneration) {
				t.Errorf("a second time: %v", err)
			}
		} else if !errors.Is(err, mls.ErrWrongEpoch) {
			t.Errorf("%d epochs late: %v", epoch+1, err)
		}
	}
	late := send()
	w.commit(2, mls.CommitOptions{})
	w.members[2].ForgetPast()
	if _, err := w.members[2].Read(late, now); !errors.Is(err, mls.ErrWrongEpoch) {
		t.Errorf("after ForgetPast: %v", err)
	}
}

func TestPadding(t *testing.T) {
	w := newWorld(t, mls.X25519AES128GCM, 2)
	w.cfg.Padding = func(_ mls.ContentType, size int) int { return -size & 255 }
	for n := range 250 {
		m, err := w.members[0].Protect(make([]byte, n), nil)
		if err != nil {
			t.Fatal(err)
		}
		const tag = 16
		if size := len(m.Private.Ciphertext) - tag; size%256 != 0 || size < n || size > n+512 {
			t.Fatalf("%d bytes of data are %d padded", n, size)
		}
		if _, err := w.members[1].Read(m, now); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNobodyIsAcceptedWithoutAuthenticate(t *testing.T) {
	_, err := mls.NewGroup(&mls.Config{}, mls.GroupOptions{CipherSuite: 1, Profile: newProfile(t, 1, "x"), Lifetime: lifetime()}, now)
	if !errors.Is(err, mls.ErrAuthentication) {
		t.Error(err)
	}
	kp := newKeyPackage(t, 1, "x").KeyPackage
	if _, err := kp.Verify(&mls.Config{}, now); !errors.Is(err, mls.ErrAuthentication) {
		t.Error(err)
	}
	if v, err := kp.Verify(testConfig(), now); err != nil || v.KeyPackage() != kp || v.Add().KeyPackage != kp {
		t.Error(err)
	}
	if _, err := kp.Verify(testConfig(), now.Add(25*time.Hour)); !errors.Is(err, mls.ErrLeafNode) {
		t.Error(err)
	}
	if _, err := kp.Verify(testConfig(), now.Add(-2*time.Hour)); !errors.Is(err, mls.ErrLeafNode) {
		t.Error(err)
	}
}

func TestAuthenticateSeesTheSuccessor(t *testing.T) {
	w := newWorld(t, mls.P256AES128GCM, 3)
	var asked []mls.Identity
	w.cfg.Authenticate = func(id mls.Identity) error {
		if id.Previous != nil && string(id.Credential.Identity) != string(id.Previous.Credential.Identity) {
			return errors.New("another person")
		}
		asked = append(asked, id)
		return nil
	}
	p := newProfile(t, w.cs, "member 1")
	w.commit(1, mls.CommitOptions{Profile: &p})
	if len(asked) != 3 || !slices.Equal(asked[0].SignatureKey, p.SignatureKey.Public()) || asked[0].Previous == nil {
		t.Errorf("asked %d times", len(asked))
	}
	w.talk()
	p = newProfile(t, w.cs, "somebody else")
	if _, err := w.members[1].Commit(mls.CommitOptions{Profile: &p}, now); !errors.Is(err, mls.ErrAuthentication) {
		t.Error(err)
	}
	if _, err := w.members[1].ProposeUpdate(&p, nil, now); !errors.Is(err, mls.ErrAuthentication) {
		t.Error(err)
	}
	p = newProfile(t, w.cs, "member 1")
	m, err := w.members[1].ProposeUpdate(&p, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(1, m)
	w.commit(0, mls.CommitOptions{})
	w.talk()
}

func TestSecretsDoNotPrint(t *testing.T) {
	k, err := mls.GenerateSignatureKey(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		if s := fmt.Sprintf(verb, k); s != "mls signature private key [redacted]" {
			t.Errorf("%s prints %q", verb, s)
		}
	}
}

func TestSuitesByName(t *testing.T) {
	for _, cs := range []mls.CipherSuite{4, 6, 8, 0, 0x0a0a} {
		if _, err := mls.GenerateSignatureKey(cs); !errors.Is(err, mls.ErrUnsupported) || cs.Supported() {
			t.Errorf("%s: %v", cs, err)
		}
	}
	if n := len(mls.Suites()); n != 6 {
		t.Errorf("%d suites", n)
	}
	if s := mls.CipherSuite(4).String(); s != "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448" {
		t.Error(s)
	}
	w := newWorld(t, mls.X25519AES128GCM, 1)
	k, _ := mls.GenerateSignatureKey(mls.P256AES128GCM)
	p := newProfile(t, w.cs, "x")
	p.SignatureKey = k
	if _, err := mls.NewKeyPackage(w.cs, p, lifetime()); !errors.Is(err, mls.ErrUsage) {
		t.Error(err)
	}
}
