package interop_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestStock stands three unmodified clients in one channel, for each client on
// each server:
//
//	alice  behind a guard with the secret, reached by [::1]
//	carol  behind a guard with another secret; she has the other client
//	eve    without Sotto
//
// Bob, a headless client with the secret, speaks: alice hears the sentence, the
// other two exact silence, not noise. Then alice speaks, and bob records her.
func TestStock(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three desktop clients and speaks for ten seconds")
	}
	protocols := map[peers.StockKind][][]byte{}
	for _, kind := range peers.ServerKinds {
		for _, client := range peers.StockKinds {
			t.Run(kind.String()+"/"+client.String(), func(t *testing.T) {
				protocols[client] = append(protocols[client], stockCall(t, kind, client))
			})
		}
	}
	for client, lines := range protocols {
		if len(lines) == 2 && bytes.Equal(lines[0], lines[1]) {
			t.Errorf("%v shows the same version for both servers: the picture shows something else", client)
		}
	}
}

// other is the other of the two clients.
func other(client peers.StockKind) peers.StockKind {
	return peers.StockKinds[(int(client)+1)%len(peers.StockKinds)]
}

// stockCall returns the picture of the server's version in alice's client.
func stockCall(t *testing.T, kind peers.ServerKind, client peers.StockKind) []byte {
	server := peers.Start(t, kind, peers.ServerOptions{})
	secret := newSecret(t)
	tap := peers.StartTap(t, server)
	hers := startGuard(t, "alice's guard", tap.Addr(), secret, "--verbose")
	strange := startGuard(t, "carol's guard", server.Addr(), newSecret(t))
	alice := peers.StartStock(t, peers.StockOptions{Kind: client, Addr: hers.addr6(), Name: "alice", Server: server})
	carol := peers.StartStock(t, peers.StockOptions{Kind: other(client), Addr: strange.addr(), Name: "carol", Server: server})
	eve := peers.StartStock(t, peers.StockOptions{Kind: client, Addr: server.Addr(), Name: "eve", Server: server})
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
	if !heard(t, "alice", speech, recordings["alice"].Stop()) {
		t.Logf("%d voice packets came to her guard; her streams:\n%s", len(tap.Voices(voice.ToClient)), alice.Streams())
	}
	for _, name := range []string{"carol", "eve"} {
		heardNothing(t, name, speech, recordings[name].Stop())
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
	t.Logf("bob recorded %d packets of %d0 ms", len(lines), step)
	heard(t, "bob", speech, sound)
	for name, r := range recordings {
		heardNothing(t, name, speech, r.Stop())
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
		pair := kind.String() + "-" + client.String() + ".png"
		shot = filepath.Join(dir, "alice-"+pair)
		eve.Screenshot(filepath.Join(dir, "eve-"+pair))
		carol.Screenshot(filepath.Join(dir, "carol-"+pair))
	}
	alice.Screenshot(shot)
	reads(t, "alice", alice, "Welcome message: Connected through Sotto on this computer.", "[server] hello", "Server: Sotto: ")
	readsNot(t, "eve", eve, "Sotto")
	protocol, direct := versionLine(t, alice), versionLine(t, eve)
	if !bytes.Equal(protocol, direct) {
		t.Error("the server's version is another through guard")
	}
	return protocol
}

// addr6 is where a link of guard leads: no name server can lead a client away from
// an address of IPv6.
func (g *guarded) addr6() string { return fmt.Sprintf("[::1]:%d", g.port) }

// heard wants a sound to be the spoken sentence.
func heard(t *testing.T, who string, speech *peers.Speech, sound peers.Sound) bool {
	t.Helper()
	parts := peers.CorrelateParts(speech.Sound, sound, 500*time.Millisecond, 600*time.Millisecond)
	t.Logf("%s heard %.1f dBFS, correlation by parts %.3f", who, sound.DBFS(), parts)
	if parts < 0.5 {
		t.Errorf("what %s heard correlates with the sentence by %.3f, want more than 0.5", who, parts)
	}
	return parts >= 0.5
}

// heardNothing wants exact silence for longer than the sentence.
func heardNothing(t *testing.T, who string, speech *peers.Speech, sound peers.Sound) {
	t.Helper()
	if sound.RMS() != 0 || sound.Duration() < speech.Sound.Duration() {
		t.Errorf("%s heard RMS %v (%.1f dBFS) in %v, want exact silence for longer than the sentence",
			who, sound.RMS(), sound.DBFS(), sound.Duration())
	}
}

// reads waits until all words stand in the client's log view.
func reads(t *testing.T, who string, c *peers.StockClient, words ...string) {
	t.Helper()
	var log, missing string
	missingOne := func() bool {
		for _, w := range words {
			if !strings.Contains(log, w) {
				missing = w
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(patience); ; {
		log = logView(t, c)
		if !missingOne() {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s's client does not say %q:\n%s", who, missing, log)
			return
		}
	}
}

// readsNot wants none of the words in the client's log view.
func readsNot(t *testing.T, who string, c *peers.StockClient, words ...string) {
	t.Helper()
	log := logView(t, c)
	for _, w := range words {
		if strings.Contains(log, w) {
			t.Errorf("%s's client says %q:\n%s", who, w, log)
		}
	}
	if !strings.Contains(log, "Connected.") {
		t.Errorf("%s's log is not a log:\n%s", who, log)
	}
}

func logView(t *testing.T, c *peers.StockClient) string {
	t.Helper()
	log, err := c.LogView()
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func versionLine(t *testing.T, c *peers.StockClient) []byte {
	t.Helper()
	line, err := c.Protocol()
	if err != nil {
		t.Fatal(err)
	}
	return line
}
