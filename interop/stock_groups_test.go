package interop_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/opus"
)

// TestStockGroups stands three unmodified clients in one channel: alice with 1.3.4
// and bob with 1.5, each behind a guard, and eve without Sotto. Nothing is typed
// but what people say. Alice speaks and bob hears the sentence, then the other way
// round; so with lines of text. Eve hears exact silence and reads nothing, and the
// server sees no voice in clear.
func TestStockGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three desktop clients and speaks for ten seconds")
	}
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) { stockGroups(t, kind) })
	}
}

func stockGroups(t *testing.T, kind peers.ServerKind) {
	server := peers.Start(t, kind, peers.ServerOptions{})
	tap := peers.StartTap(t, server)
	hers := startGuard(t, "alice's guard", tap.Addr(), automatic, "--policy", "require", "--verbose")
	his := startGuard(t, "bob's guard", tap.Addr(), automatic, "--policy", "require", "--verbose")
	eve := peers.StartStock(t, peers.StockOptions{
		Kind: peers.StockKinds[int(kind)%len(peers.StockKinds)], Addr: server.Addr(), Name: "eve", Server: server,
	})
	alice := peers.StartStock(t, peers.StockOptions{Kind: peers.Mumble134, Addr: hers.addr6(), Name: "alice", Server: server})
	bob := peers.StartStock(t, peers.StockOptions{Kind: peers.Mumble15, Addr: his.addr6(), Name: "bob", Server: server})
	for _, g := range []*guarded{hers, his} {
		g.wait("roster", func(e event) bool { return len(e.Members) == 2 })
		g.gate(0, "ciphertext")
	}

	speech := peers.Speak(t, "", 60)
	speak := func(who string, from *peers.StockClient, whom string, to *peers.StockClient) {
		t.Helper()
		sound, silence := to.Record(), eve.Record()
		from.PlayMic(speech.WAV)
		end := sound.Len() + time.Second // what is still in jitter buffers
		waitFor(t, "the end of the recordings", func() bool { return sound.Len() >= end && silence.Len() >= end })
		if !heard(t, whom, speech, sound.Stop()) {
			t.Logf("%s spoke; %s's streams:\n%s", who, whom, to.Streams())
		}
		heardNothing(t, "eve", speech, silence.Stop())
	}
	speak("alice", alice, "bob", bob)
	speak("bob", bob, "alice", alice)
	if n := sealed(t, tap); n < 200 {
		t.Errorf("%d packets of encrypted voice passed the tap, two sentences have more", n)
	}

	alice.SendChat("hello bob from the old client")
	reads(t, "bob", bob, "alice: hello bob from the old client", "Connected through Sotto on this computer.")
	bob.SendChat("hello alice from the new one")
	reads(t, "alice", alice, "bob: hello alice from the new one", "Connected through Sotto on this computer.")
	alice.SendChat("/sotto status")
	reads(t, "alice", alice, "Certificate of the server: ")
	bob.SendChat("/Sotto status")
	reads(t, "bob", bob, "Certificate of the server: ")
	readsNot(t, "eve", eve, "hello bob", "hello alice", "otto status")
	for _, words := range []string{"from the old client", "from the new one"} {
		if hits := tap.Contains([]byte(words)); len(hits) != 0 {
			t.Errorf("%q passed the tap: %v", words, hits)
		}
	}
	if dir := os.Getenv("SOTTO_SCREENSHOTS"); dir != "" {
		alice.Screenshot(filepath.Join(dir, "groups-"+kind.String()+"-mumble-1.3.4.png"))
		bob.Screenshot(filepath.Join(dir, "groups-"+kind.String()+"-mumble-1.5.png"))
	}
}

// sealed wants that all voice to the server is encrypted, and counts it.
func sealed(t *testing.T, tap *peers.Tap) (n int) {
	t.Helper()
	for _, p := range tap.Voices(voice.ToServer) {
		if p.Codec != voice.Opus || len(p.Data) == 0 {
			continue
		}
		if _, _, _, ok := envelope.ParseVoice(p.Data); ok {
			n++
		} else if _, padding, ok := opus.ParseCover(p.Data); !ok || len(padding) != 0 { // bare silence ends a spurt
			t.Errorf("voice in clear passed the tap: % x", p.Data)
		}
	}
	return n
}
