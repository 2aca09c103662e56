package interop_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// maxRecorded is the longest frame that a recorded session keeps, in bytes: mutating
// pictures finds nothing.
const maxRecorded = 2000

// TestRecordSession writes what one client and a real server say to each other in a
// round of mixed use, as the seeds of guard's fuzz targets; only with
// SOTTO_RECORD=DIR, for they lie in guard/testdata/sessions. A file holds frames of
// the control channel, each behind a byte with the direction: 0 to the client, 1 to
// the server. Datagrams stand there as if they had come through the tunnel.
func TestRecordSession(t *testing.T) {
	dir := os.Getenv("SOTTO_RECORD")
	if dir == "" {
		t.Skip("writes files into the tree: SOTTO_RECORD=DIR")
	}
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			certs := map[string]*peers.Certificate{}
			for _, name := range []string{"alice", "SuperUser", "bob", "carol"} {
				certs[name] = peers.NewCertificate(t, name)
			}
			x := newMix(t, kind, direct, certs)
			tap := peers.StartTap(t, x.Server)
			x.alice.addr = tap.Addr()
			x.run(1, x.begun)
			var out []byte
			for _, f := range tap.Frames() {
				if f.Frame.Type == control.TypePing || f.Conn > 0 || len(f.Frame.Body) > maxRecorded || len(f.Frame.Body) == 0 && f.UDP {
					continue
				}
				direction := byte(0)
				if f.Dir == voice.ToServer {
					direction = 1
				}
				out = control.AppendFrame(append(out, direction), f.Frame.Type, f.Frame.Body)
			}
			name := filepath.Join(dir, kind.String()+".frames")
			if err := os.WriteFile(name, out, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d bytes", name, len(out))
		})
	}
}
