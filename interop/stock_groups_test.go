package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
)

// TestStockGroups stands two unmodified clients in one channel, alice behind a guard
// and eve without Sotto. Nothing is typed anywhere. Bob, a headless client, speaks:
// alice hears the sentence, eve exact silence. Then alice speaks, and bob records
// her.
func TestStockGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two desktop clients and speaks for ten seconds")
	}
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) { stockGroups(t, kind) })
	}
}

func stockGroups(t *testing.T, kind peers.ServerKind) {
	server := peers.Start(t, kind, peers.ServerOptions{})
	hers := startGuard(t, "alice's guard", server.Addr(), automatic, "--policy", "require", "--verbose")
	eve := peers.StartStock(t, peers.StockOptions{Addr: server.Addr(), Name: "eve", Server: server})
	alice := peers.StartStock(t, peers.StockOptions{Addr: fmt.Sprintf("[::1]:%d", hers.port), Name: "alice", Server: server})
	session := hers.joined(0)

	speech := peers.Speak(t, "", 60)
	heard, silent := alice.Record(), eve.Record()
	play := startClient(t, "play", "bob", server.Addr(), automatic, []string{"--wait", "60s"}, speech.Opus)
	hers.gate(0, "ciphertext")
	if code := play.end(2*patience + speech.Sound.Duration()); code != 0 {
		t.Fatalf("play ended with %d: %s", code, play.Stderr())
	}
	end := heard.Len() + time.Second // what is still in jitter buffers
	waitFor(t, "the end of the recordings", func() bool { return heard.Len() >= end })
	sound := heard.Stop()
	parts := peers.CorrelateParts(speech.Sound, sound, 500*time.Millisecond, 600*time.Millisecond)
	t.Logf("alice heard %.1f dBFS, correlation by parts %.3f", sound.DBFS(), parts)
	if parts < 0.5 {
		t.Errorf("what alice heard correlates with the sentence by %.3f, want more than 0.5; her streams:\n%s", parts, alice.Streams())
	}
	if s := silent.Stop(); s.RMS() != 0 || s.Duration() < speech.Sound.Duration() {
		t.Errorf("eve heard RMS %v (%.1f dBFS) in %v, want exact silence", s.RMS(), s.DBFS(), s.Duration())
	}

	// Bob has gone, and comes back as a recorder with the identity of another.
	dir := t.TempDir()
	silent = eve.Record()
	mark := hers.mark()
	record := startClient(t, "record", "bobby", server.Addr(), automatic, nil, dir)
	record.gate(0, "ciphertext")
	hers.waitFrom(mark, "roster", func(e event) bool { return len(e.Members) == 2 })
	waitFor(t, "alice's gate", func() bool { return hers.leaves() == "ciphertext" })
	alice.PlayMic(speech.WAV)
	name := filepath.Join(dir, fmt.Sprintf("alice-%d", session))
	waitFor(t, "the end of alice's sentence", func() bool { return ended(name + ".jsonl") })
	record.Terminate()
	record.end(patience)
	lines := readLines(t, name+".jsonl")
	if len(lines) < 2 {
		t.Fatalf("recorded %d packets", len(lines))
	}
	for _, l := range lines {
		if !l.Encrypted {
			t.Errorf("frame %d arrived in clear", l.Frame)
		}
	}
	step := lines[1].Frame - lines[0].Frame
	sound = peers.DecodeOpus(t, peers.ReadOpus(t, name+".opus"), time.Duration(step)*10*time.Millisecond)
	parts = peers.CorrelateParts(speech.Sound, sound, 500*time.Millisecond, 600*time.Millisecond)
	t.Logf("bobby recorded %d packets, correlation by parts %.3f", len(lines), parts)
	if parts < 0.5 {
		t.Errorf("what bobby recorded correlates with the sentence by %.3f, want more than 0.5", parts)
	}
	if s := silent.Stop(); s.RMS() != 0 || s.Duration() < speech.Sound.Duration() {
		t.Errorf("eve heard RMS %v in %v while alice spoke, want exact silence", s.RMS(), s.Duration())
	}
	if dir := os.Getenv("SOTTO_SCREENSHOTS"); dir != "" {
		alice.Screenshot(filepath.Join(dir, "groups-"+kind.String()+".png"))
	}
}
