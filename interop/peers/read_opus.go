package peers

import (
	"os"
	"testing"
)

// ReadOpus returns the audio packets of an Ogg Opus file.
func ReadOpus(t testing.TB, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	packets, err := demuxOpus(b)
	if err != nil {
		t.Fatalf("peers: %s: %v", name, err)
	}
	return packets
}
