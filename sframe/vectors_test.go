package sframe_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sotto-voip/sotto/sframe"
)

// hexBytes is a byte string in hex, as the vectors write it.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

type vectors struct {
	Header []struct {
		KID     uint64   `json:"kid"`
		CTR     uint64   `json:"ctr"`
		Encoded hexBytes `json:"encoded"`
	} `json:"header"`
	AESCTRHMAC []struct {
		Suite   sframe.Suite `json:"cipher_suite"`
		Key     hexBytes     `json:"key"`
		EncKey  hexBytes     `json:"enc_key"`
		AuthKey hexBytes     `json:"auth_key"`
		Nonce   hexBytes     `json:"nonce"`
		AAD     hexBytes     `json:"aad"`
		PT      hexBytes     `json:"pt"`
		CT      hexBytes     `json:"ct"`
	} `json:"aes_ctr_hmac"`
	SFrame []struct {
		Suite     sframe.Suite `json:"cipher_suite"`
		KID       uint64       `json:"kid"`
		CTR       uint64       `json:"ctr"`
		BaseKey   hexBytes     `json:"base_key"`
		KeyLabel  hexBytes     `json:"sframe_key_label"`
		SaltLabel hexBytes     `json:"sframe_salt_label"`
		Key       hexBytes     `json:"sframe_key"`
		Salt      hexBytes     `json:"sframe_salt"`
		Metadata  hexBytes     `json:"metadata"`
		Nonce     hexBytes     `json:"nonce"`
		AAD       hexBytes     `json:"aad"`
		PT        hexBytes     `json:"pt"`
		CT        hexBytes     `json:"ct"`
	} `json:"sframe"`
}

// readVectors finds the published vectors: in $SOTTO_VECTORS, or in
// shared/vectors beside the checkout.
func readVectors(t *testing.T) vectors {
	t.Helper()
	const name = "sframe/test-vectors.json"
	var dirs []string
	if d := os.Getenv("SOTTO_VECTORS"); d != "" {
		dirs = append(dirs, d)
	} else if at, err := os.Getwd(); err == nil {
		for ; filepath.Dir(at) != at; at = filepath.Dir(at) {
			dirs = append(dirs, filepath.Join(at, "shared", "vectors"))
		}
	}
	for _, d := range dirs {
		b, err := os.ReadFile(filepath.Join(d, filepath.FromSlash(name)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var v vectors
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	const reason = "no sframe/test-vectors.json: set SOTTO_VECTORS to a folder with the vectors of github.com/sframe-wg/sframe"
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
	return vectors{}
}

// TestVectors runs the test vectors of RFC 9605 (appendix C) both ways.
func TestVectors(t *testing.T) {
	v := readVectors(t)
	for _, x := range v.Header {
		want := sframe.Header{KID: x.KID, CTR: x.CTR}
		if got := sframe.AppendHeader(nil, want); !bytes.Equal(got, x.Encoded) {
			t.Errorf("header %+v encodes to %x, want %x", want, got, x.Encoded)
		}
		got, n, err := sframe.ParseHeader(x.Encoded)
		if err != nil || n != len(x.Encoded) || got != want {
			t.Errorf("header %x parses to %+v, %d, %v, want %+v", x.Encoded, got, n, err, want)
		}
	}
	for _, x := range v.AESCTRHMAC {
		a, err := sframe.NewAEAD(x.Suite, x.Key)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(bytes.Clone(x.EncKey), x.AuthKey...), x.Key) {
			t.Errorf("%v: the vector's subkeys are not its key", x.Suite)
		}
		if got := a.Seal(nil, x.Nonce, x.PT, x.AAD); !bytes.Equal(got, x.CT) {
			t.Errorf("%v: AEAD.Encrypt gives %x, want %x", x.Suite, got, x.CT)
		}
		if got, err := a.Open(nil, x.Nonce, x.CT, x.AAD); err != nil || !bytes.Equal(got, x.PT) {
			t.Errorf("%v: AEAD.Decrypt gives %x, %v, want %x", x.Suite, got, err, x.PT)
		}
	}
	for _, x := range v.SFrame {
		key, salt, err := sframe.DeriveKeySalt(x.Suite, x.KID, x.BaseKey)
		if err != nil || !bytes.Equal(key, x.Key) || !bytes.Equal(salt, x.Salt) {
			t.Errorf("%v: key %x, salt %x, %v, want %x, %x", x.Suite, key, salt, err, x.Key, x.Salt)
		}
		if got := sframe.Label("SFrame 1.0 Secret key ", x.KID, x.Suite); got != string(x.KeyLabel) {
			t.Errorf("%v: key label %x, want %x", x.Suite, got, x.KeyLabel)
		}
		if got := sframe.Label("SFrame 1.0 Secret salt ", x.KID, x.Suite); got != string(x.SaltLabel) {
			t.Errorf("%v: salt label %x, want %x", x.Suite, got, x.SaltLabel)
		}
		k, err := sframe.NewKey(x.Suite, x.KID, x.BaseKey)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Nonce(x.CTR); !bytes.Equal(got, x.Nonce) {
			t.Errorf("%v: nonce %x, want %x", x.Suite, got, x.Nonce)
		}
		aad := append(sframe.AppendHeader(nil, sframe.Header{KID: x.KID, CTR: x.CTR}), x.Metadata...)
		if !bytes.Equal(aad, x.AAD) {
			t.Errorf("%v: AAD %x, want %x", x.Suite, aad, x.AAD)
		}
		if got := k.Seal(nil, x.CTR, x.Metadata, x.PT); !bytes.Equal(got, x.CT) {
			t.Errorf("%v: Seal gives %x, want %x", x.Suite, got, x.CT)
		}
		if got, err := k.Open(nil, x.CT, x.Metadata); err != nil || !bytes.Equal(got, x.PT) {
			t.Errorf("%v: Open gives %x, %v, want %x", x.Suite, got, err, x.PT)
		}
		flips := mustFail(t, k, x.CT, x.Metadata)
		t.Logf("%v: %d changed frames refused", x.Suite, flips)
	}
	t.Logf("%d header, %d aes_ctr_hmac, %d sframe vectors", len(v.Header), len(v.AESCTRHMAC), len(v.SFrame))
	if len(v.Header) == 0 || len(v.AESCTRHMAC) != 3 || len(v.SFrame) != 5 {
		t.Error("vectors are missing")
	}
}

// mustFail changes each bit of frame and metadata, and each length, and wants
// every one refused. It returns how many it tried.
func mustFail(t *testing.T, k *sframe.Key, frame, metadata []byte) (n int) {
	t.Helper()
	refuse := func(what string, frame, metadata []byte) {
		t.Helper()
		n++
		if _, err := k.Open(nil, frame, metadata); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
	for i := range frame {
		for bit := range 8 {
			x := bytes.Clone(frame)
			x[i] ^= 1 << bit
			refuse("a bit of the frame", x, metadata)
		}
	}
	for i := range metadata {
		for bit := range 8 {
			x := bytes.Clone(metadata)
			x[i] ^= 1 << bit
			refuse("a bit of the metadata", frame, x)
		}
	}
	for i := range frame {
		refuse("a shorter frame", frame[:i], metadata)
		refuse("a frame without its start", frame[i+1:], metadata)
	}
	for i := range metadata {
		refuse("shorter metadata", frame, metadata[:i])
	}
	refuse("a longer frame", append(bytes.Clone(frame), 0), metadata)
	refuse("longer metadata", frame, append(bytes.Clone(metadata), 0))
	return n
}
