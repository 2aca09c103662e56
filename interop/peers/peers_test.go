package peers_test

import (
	"testing"

	"github.com/sotto-voip/sotto/interop/peers"
)

// TestServers starts each server, restarts it on the same port and finds its
// own certificate there (Start checks it).
func TestServers(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := peers.Start(t, kind, peers.ServerOptions{SuperUserPassword: "secret"})
			port := s.Port()
			s.Restart()
			if s.Port() != port {
				t.Errorf("restarted on port %d, want %d", s.Port(), port)
			}
			t.Logf("%v on %s", kind, s.Addr())
		})
	}
}
