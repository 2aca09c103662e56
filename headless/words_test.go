package headless_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/ogg"
)

func TestSentence(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{headless.ErrNotReady, "the microphone is held"},
		{&keystore.Error{Path: "/state", Err: keystore.ErrPermissions}, "open to other users: /state"},
		{fmt.Errorf("%s: %w", "h:1", client.ErrNoChannel), "h:1: no such channel"},
		{fmt.Errorf("keystore: lock: %w", fmt.Errorf("client: opus: e2ee: %w", ogg.ErrCRC)), "lock: page checksum does not match"},
		{errors.New("lost (client: connection closed)"), "lost (connection closed)"},
		{errors.New("open client: no such file"), "open client: no such file"},
		{errors.New("voice:64738: refused"), "voice:64738: refused"},
		{errors.New("no package in it"), "no package in it"},
		{errors.New(""), ""},
	} {
		if got := headless.Sentence(tt.err.Error()); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.err, got, tt.want)
		}
	}
}
