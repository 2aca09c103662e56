package peers_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// stockPairs runs f for two of the four pairs of server and client, each of both
// once.
func stockPairs(t *testing.T, f func(*testing.T, peers.ServerKind, peers.StockKind)) {
	for i, kind := range peers.ServerKinds {
		client := peers.StockKinds[i]
		t.Run(kind.String()+"/"+client.String(), func(t *testing.T) { f(t, kind, client) })
	}
}

// TestStockHears lets the stock client listen to a raw client on each server:
// first to nothing, then to a sentence.
func TestStockHears(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a desktop client and speaks for five seconds")
	}
	stockPairs(t, func(t *testing.T, kind peers.ServerKind, client peers.StockKind) {
		s := peers.Start(t, kind, peers.ServerOptions{})
		c := peers.StartStock(t, peers.StockOptions{Kind: client, Addr: s.Addr(), Name: "stella", Server: s})
		bob := peers.DialRaw(t, s.Addr(), "bob", peers.RawOptions{UDP: true})
		stella := bob.WaitUser(patience, "stella")
		if got := bob.Users()[stella].GetHash(); got != c.Certificate.Hash() {
			t.Errorf("stella shows the certificate %q, want %q", got, c.Certificate.Hash())
		}
		// A newcomer and a line of text make no sound of their own.
		bob.Text(0, "hello stella")
		if still := c.RecordSink(2 * time.Second); still.RMS() != 0 || still.Duration() < 2*time.Second {
			t.Errorf("%v of nothing have RMS %v, want exactly 0", still.Duration(), still.RMS())
		}

		speech := peers.Speak(t, "", 20)
		recording := c.Record()
		bob.Speak(speech.Packets, speech.Frame, 0)
		end := recording.Len() + time.Second
		waitFor(t, "the end of the recording", func() bool { return recording.Len() >= end })
		heard := recording.Stop()
		v, at := peers.Correlate(speech.Sound, heard)
		p := peers.CorrelateParts(speech.Sound, heard, 500*time.Millisecond, 200*time.Millisecond)
		t.Logf("stella heard %.1f dBFS, correlation %.3f at %v, by parts %.3f", heard.DBFS(), v, at, p)
		if p < 0.5 {
			t.Errorf("correlation by parts %.3f, want more than 0.5", p)
		}
		if name := os.Getenv("SOTTO_SCREENSHOT"); name != "" {
			c.Screenshot(name)
		}
	})
}

// TestStockSpeaks plays a sentence into the stock client's microphone, through a
// tap, and listens with a raw client; then the client types a line.
func TestStockSpeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a desktop client and speaks for five seconds")
	}
	stockPairs(t, func(t *testing.T, kind peers.ServerKind, client peers.StockKind) {
		s := peers.Start(t, kind, peers.ServerOptions{})
		tap := peers.StartTap(t, s)
		c := peers.StartStock(t, peers.StockOptions{Kind: client, Addr: tap.Addr(), Name: "stella", Server: s})
		bob := peers.DialRaw(t, s.Addr(), "bob", peers.RawOptions{UDP: true})
		stella := bob.WaitUser(patience, "stella")
		speech := peers.Speak(t, "", 20)
		c.PlayMic(speech.WAV)
		waitFor(t, "the end of the transmission", func() bool {
			return slices.ContainsFunc(bob.Heard(stella), func(p voice.Packet) bool { return p.Terminator })
		})
		heard := bob.Heard(stella)
		var packets [][]byte
		for _, p := range heard {
			packets = append(packets, p.Data)
			if len(tap.Contains(p.Data)) == 0 {
				t.Errorf("packet %d did not pass the tap", p.FrameNumber)
			}
		}
		step := heard[1].FrameNumber - heard[0].FrameNumber
		sound := peers.DecodeOpus(t, packets, time.Duration(step)*10*time.Millisecond)
		p := peers.CorrelateParts(speech.Sound, sound, 500*time.Millisecond, 200*time.Millisecond)
		t.Logf("bob heard %d packets of %d0 ms, %.1f dBFS, correlation by parts %.3f", len(heard), step, sound.DBFS(), p)
		if p < 0.5 {
			t.Errorf("correlation by parts %.3f, want more than 0.5", p)
		}

		c.SendChat("typed by hand & seen by all")
		if m := bob.WaitText(patience, "typed by hand &amp; seen by all"); m.GetActor() != stella {
			t.Errorf("text from %d, want %d", m.GetActor(), stella)
		}
		if len(tap.Contains([]byte("typed by hand"))) != 1 {
			t.Error("the line did not pass the tap")
		}
		if n := tap.Blind(); n != 0 {
			t.Errorf("the tap could not open %d datagrams", n)
		}
		c.Screenshot(filepath.Join(t.TempDir(), "screen.png"))
	})
}

// TestStockRefuses answers No to the certificate question.
func TestStockRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a desktop client")
	}
	stockPairs(t, func(t *testing.T, kind peers.ServerKind, client peers.StockKind) {
		s := peers.Start(t, kind, peers.ServerOptions{})
		c := peers.StartStock(t, peers.StockOptions{Kind: client, Addr: s.Addr(), Name: "stella", KeepDialog: true})
		if err := c.Refuse(); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitUser("stella", 2*time.Second); err == nil {
			t.Error("stella came in although she refused the certificate")
		}
		if !c.Alive() {
			t.Error("the client has ended")
		}
	})
}

// waitFor waits with the patience of a slow machine.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", what)
		}
	}
}
