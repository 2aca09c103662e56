package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestStock stands three unmodified clients in one channel:
//
//	alice  behind a guard with the secret
//	carol  behind a guard with another secret
//	eve    without Sotto
//
// Bob, a headless client with the secret, speaks: alice hears the sentence, the
// other two exact silence, not noise. Then alice speaks, and bob records her.
func TestStock(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three desktop clients and speaks for ten seconds")
	}
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) { stockCall(t, kind) })
	}
}

func stockCall(t *testing.T, kind peers.ServerKind) {
	server := peers.Start(t, kind, peers.ServerOptions{})
	secret := newSecret(t)
	tap := peers.StartTap(t, server)
	hers := startGuard(t, "alice's guard", tap.Addr(), secret, "--verbose")
	strange := startGuard(t, "carol's guard", server.Addr(), newSecret(t))
	alice := peers.StartStock(t, peers.StockOptions{Addr: fmt.Sprintf("[::1]:%d", hers.port), Name: "alice", Server: server})
	carol := peers.StartStock(t, peers.StockOptions{Addr: strange.addr(), Name: "carol", Server: server})
	eve := peers.StartStock(t, peers.StockOptions{Addr: server.Addr(), Name: "eve", Server: server})
	session := hers.joined(0)

	// Bob speaks.
	// In packets of 60 ms the clip stays below Murmur 1.3's default of 72 kbit/s,
	// beyond which it loses packets without a word.
	speech := peers.Speak(t, "", 60)
	recordings := map[string]*peers.Recording{"alice": alice.Record(), "carol": carol.Record(), "eve": eve.Record()}
	play := startClient(t, "play", "bob", server.Addr(), secret, nil, speech.Opus)
	hers.gate(0, "ciphertext")
	if code := play.end(patience + speech.Sound.Duration()); code != 0 {
		t.Fatalf("play ended with %d: %s", code, play.Stderr())
	}
	end := recordings["alice"].Len() + time.Second // what is still in jitter buffers
	waitFor(t, "the end of the recordings", func() bool { return recordings["alice"].Len() >= end })
	heard := recordings["alice"].Stop()
	parts := peers.CorrelateParts(speech.Sound, heard, 500*time.Millisecond, 600*time.Millisecond)
	t.Logf("alice heard %.1f dBFS, correlation by parts %.3f", heard.DBFS(), parts)
	if parts < 0.5 {
		t.Errorf("what alice heard correlates with the sentence by %.3f, want more than 0.5; %d voice packets came to her guard; her streams:\n%s",
			parts, len(tap.Voices(voice.ToClient)), alice.Streams())
	}
	for _, name := range []string{"carol", "eve"} {
		silence := recordings[name].Stop()
		t.Logf("%s heard RMS %v in %v", name, silence.RMS(), silence.Duration())
		if silence.RMS() != 0 || silence.Duration() < speech.Sound.Duration() {
			t.Errorf("%s heard RMS %v (%.1f dBFS) in %v, want exact silence for longer than the sentence",
				name, silence.RMS(), silence.DBFS(), silence.Duration())
		}
	}
	strange.wait("other_secret", nil)
	if strange.leaves() != "nothing" {
		t.Errorf("carol's gate lets %s leave", strange.leaves())
	}

	// Alice speaks into her microphone. Her client is a stranger to bob's, who
	// has gone and comes back as a recorder.
	dir := t.TempDir()
	recordings = map[string]*peers.Recording{"carol": carol.Record(), "eve": eve.Record()}
	mark := hers.mark()
	record := startClient(t, "record", "bob", server.Addr(), secret, nil, dir)
	record.gate(0, "ciphertext")
	hers.waitFrom(mark, "holder", holds("bob"))
	alice.PlayMic(speech.WAV)
	name := filepath.Join(dir, fmt.Sprintf("alice-%d", session))
	waitFor(t, "the end of alice's sentence", func() bool { return ended(name + ".jsonl") })
	record.Terminate()
	if code := record.end(patience); code != 0 {
		t.Errorf("record ended with %d", code)
	}
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
	sound := peers.DecodeOpus(t, peers.ReadOpus(t, name+".opus"), time.Duration(step)*10*time.Millisecond)
	parts = peers.CorrelateParts(speech.Sound, sound, 500*time.Millisecond, 600*time.Millisecond)
	t.Logf("bob recorded %d packets of %d0 ms, %.1f dBFS, correlation by parts %.3f", len(lines), step, sound.DBFS(), parts)
	if parts < 0.5 {
		t.Errorf("what bob recorded correlates with the sentence by %.3f, want more than 0.5", parts)
	}
	for name, r := range recordings {
		if silence := r.Stop(); silence.RMS() != 0 || silence.Duration() < speech.Sound.Duration() {
			t.Errorf("%s heard RMS %v in %v while alice spoke, want exact silence", name, silence.RMS(), silence.Duration())
		}
	}

	// The silence was not that of a dead sound card: somebody without Sotto speaks
	// in clear. Eve hears it, alice does not while her secret is set.
	recordings = map[string]*peers.Recording{"alice": alice.Record(), "carol": carol.Record(), "eve": eve.Record()}
	frank := peers.DialRaw(t, server.Addr(), "frank", peers.RawOptions{UDP: true})
	frank.Speak(speech.Packets[:30], speech.Frame, 0)
	end = recordings["eve"].Len() + time.Second
	waitFor(t, "the end of the recordings", func() bool { return recordings["eve"].Len() >= end })
	for name, r := range recordings {
		if sound := r.Stop(); (sound.RMS() > 0) != (name == "eve") {
			t.Errorf("%s heard RMS %v while frank spoke in clear", name, sound.RMS())
		}
	}

	shot := filepath.Join(t.TempDir(), "alice.png")
	if dir := os.Getenv("SOTTO_SCREENSHOTS"); dir != "" {
		shot = filepath.Join(dir, "alice-"+kind.String()+".png")
		eve.Screenshot(filepath.Join(dir, "eve-"+kind.String()+".png"))
		carol.Screenshot(filepath.Join(dir, "carol-"+kind.String()+".png"))
	}
	alice.Screenshot(shot)
}
