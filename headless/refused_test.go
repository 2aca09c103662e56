package headless

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/ogg"
)

// TestRefusedPacket: a packet that the Ogg writer does not take is left out and
// ends nothing. No server can send one so long today, so it comes in by hand.
func TestRefusedPacket(t *testing.T) {
	r, err := NewRecorder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// 20 ms of sound and 70,000 bytes of padding, as RFC 6716 allows.
	long := append([]byte{0xFB, 0x41}, bytes.Repeat([]byte{255}, 276)...)
	long = append(append(long, 0), make([]byte, 276*254+1)...)
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for i, p := range [][]byte{long, {0xF8, 1, 2}, long, {0xF8, 3, 4}} {
		ev := client.Voice{From: 7, Name: "alice", FrameNumber: uint64(2 * i), Opus: p, At: at.Add(time.Duration(i) * 20 * time.Millisecond)}
		if err := r.handle(ev); err != nil {
			t.Fatalf("packet %d ends the recording: %v", i, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	tr := r.Tracks()
	if len(tr) != 1 || tr[0].Packets != 2 || tr[0].Late != 2 {
		t.Fatalf("%+v", tr)
	}
	b, err := os.ReadFile(tr[0].File)
	if err != nil {
		t.Fatal(err)
	}
	o, err := ogg.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		data    []byte
		granule int64
	}{{[]byte{0xF8, 1, 2}, 4 * 480}, {[]byte{0xF8, 3, 4}, 8 * 480}} {
		if p, err := o.Next(); err != nil || !bytes.Equal(p.Data, want.data) || p.Granule != want.granule {
			t.Errorf("%x at %d, %v; want %x at %d", p.Data, p.Granule, err, want.data, want.granule)
		}
	}
	if _, err := o.Next(); err != io.EOF {
		t.Errorf("then %v", err)
	}
}
