package keystore_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/sotto-voip/sotto/keystore"
)

// TestAudit names each file that others may read, and nothing else.
func TestAudit(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	dir := filepath.Join(t.TempDir(), "state")
	if wrong := keystore.Audit(dir); wrong != nil {
		t.Errorf("nothing there: %v", wrong)
	}
	store, err := keystore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Identity(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Server("voice.example", 64738); err != nil {
		t.Fatal(err)
	}
	if wrong := keystore.Audit(dir); wrong != nil {
		t.Errorf("a fresh directory: %v", wrong)
	}
	if err := os.Chmod(filepath.Join(dir, "servers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "identity.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("identity.key", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	wrong := keystore.Audit(dir)
	if len(wrong) != 3 {
		t.Fatalf("%v, want 3", wrong)
	}
	for _, err := range wrong {
		var e *keystore.Error
		if !errors.As(err, &e) || e.Hint() == "" || !errors.Is(err, keystore.ErrPermissions) && !errors.Is(err, keystore.ErrNotRegular) {
			t.Errorf("%v", err)
		}
	}
}

// TestKnows: asking makes no record.
func TestKnows(t *testing.T) {
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	if store.Knows("voice.example", 64738) {
		t.Error("a server that nobody named is known")
	}
	if entries, err := os.ReadDir(store.Path()); err != nil || len(entries) > 1 {
		t.Errorf("asking left %v, %v", entries, err)
	}
	server, err := store.Server("[::1]", 64738)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.SetPort(1); err != nil {
		t.Fatal(err)
	}
	if !store.Knows("::1", 64738) || !store.Knows("[::1]", 64738) || store.Knows("::1", 64739) {
		t.Error("a server with a record is not known, or another is")
	}
}

// TestDecline: what the user did not want is remembered, one certificate at a time;
// reading one keeps nothing.
func TestDecline(t *testing.T) {
	store, err := keystore.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := cert(t, "alice", rsaKey(), time.Now().AddDate(1, 0, 0), nil, nil)
	b := p12(t, pkcs12.LegacyRC2, rsaKey(), leaf, nil, "")
	read, der, err := keystore.ReadMumble(b, "")
	if err != nil || read.Name != "alice" || string(der) != string(leaf.Raw) {
		t.Fatalf("%+v, %v", read, err)
	}
	if has, err := store.HasMumble(); has || err != nil {
		t.Errorf("reading imports: %v, %v", has, err)
	}
	if declined, err := store.Declined(read.Hash); declined || err != nil {
		t.Errorf("declined before it was: %v, %v", declined, err)
	}
	if err := store.Decline(read.Hash); err != nil {
		t.Fatal(err)
	}
	if declined, err := store.Declined(read.Hash); !declined || err != nil {
		t.Errorf("not remembered: %v, %v", declined, err)
	}
	if declined, err := store.Declined("00"); declined || err != nil {
		t.Errorf("another one: %v, %v", declined, err)
	}
	if _, err := store.ImportMumble(b, ""); err != nil {
		t.Fatal(err)
	}
	if has, err := store.HasMumble(); !has || err != nil {
		t.Errorf("imported, and not there: %v, %v", has, err)
	}
	if _, _, err := keystore.ReadMumble([]byte("x"), ""); !errors.Is(err, keystore.ErrPKCS12) {
		t.Errorf("garbage: %v", err)
	}
}
