package interop_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// TestStockWhisper lets unmodified clients whisper as people do: alice is in the root
// and keeps the key of a shortcut pressed, bob is in the channel that it names.
//
//	direct   without Sotto: the shortcut works, and the server sees what is said
//	alone    policy prefer; nobody else is in the root, then eve comes, who has no Sotto
//	held     policy require; eve is there before the first whisper, leaves, and comes again
//
// Through guard, which agrees on keys by itself, bob hears the sentence and the server
// sees none of it. What alice says without the key eve hears with policy prefer, and
// nobody with policy require; the whisper eve never hears.
func TestStockWhisper(t *testing.T) {
	if testing.Short() {
		t.Skip("starts desktop clients and speaks for half a minute")
	}
	speech := peers.Speak(t, clipWords, 20)
	for _, kind := range peers.ServerKinds {
		for _, client := range peers.StockKinds {
			play := func(name string, f func(w *whisperers)) {
				t.Run(name+"/"+kind.String()+"/"+client.String(), func(t *testing.T) {
					t.Parallel()
					f(newWhisperers(t, kind, client, speech))
				})
			}
			if kind == peers.Murmur15 {
				play("direct", whisperDirect)
			}
			play("alone", whisperAlone)
			play("held", whisperHeld)
		}
	}
}

// whisperers are a stock client and who hears it.
type whisperers struct {
	t      *testing.T
	client peers.StockKind
	speech *peers.Speech
	server *peers.Server
	tap    *peers.Tap
	admin  *peers.Raw // out of everybody's hearing
	hall   uint32     // where alice and bob have met
	annex  uint32     // where bob is
	hers   *guarded

	alice   *peers.StockClient
	session uint32 // alice's
	bob     *peers.Raw
	eve     *peers.Raw
}

func newWhisperers(t *testing.T, kind peers.ServerKind, client peers.StockKind, speech *peers.Speech) *whisperers {
	w := &whisperers{t: t, client: client, speech: speech}
	w.server = peers.Start(t, kind, peers.ServerOptions{SuperUserPassword: "hall"})
	w.tap = peers.StartTap(t, w.server)
	w.admin = w.server.Admin()
	w.hall, w.annex = w.server.MakeChannel("hall"), w.server.MakeChannel("annex")
	w.admin.Join(w.server.MakeChannel("office"))
	return w
}

// start starts alice's client, and bob at an address.
func (w *whisperers) start(hers, his string) {
	w.t.Helper()
	w.bob = peers.DialRaw(w.t, his, "bob", peers.RawOptions{UDP: true})
	w.bob.Join(w.hall)
	w.alice = peers.StartStock(w.t, peers.StockOptions{Kind: w.client, Addr: hers, Name: "alice", Server: w.server, Whisper: w.annex})
	w.session = w.bob.WaitUser(patience, "alice")
	if w.hers != nil && w.server.Kind == peers.Murmur134 {
		w.meet()
	}
	w.bob.Join(w.annex)
}

// meet brings alice to bob and back to the root. On servers without plugin messages
// nobody learns who elsewhere has Sotto (docs/spec/01-carriers.md, Discovery).
func (w *whisperers) meet() {
	w.t.Helper()
	w.admin.Move(w.session, w.hall)
	w.hers.together(0, 2)
	w.admin.Move(w.session, 0)
}

// guard starts both behind guards, alice's with flags.
func (w *whisperers) guard(flags ...string) {
	w.t.Helper()
	w.hers = startGuard(w.t, "alice's guard", w.tap.Addr(), automatic, flags...)
	his := startGuard(w.t, "bob's guard", w.server.Addr(), automatic, "--policy", "require")
	w.start(w.hers.addr6(), his.addr())
}

// gate waits until alice's guard is in that state.
func (w *whisperers) gate(state string) {
	w.t.Helper()
	waitFor(w.t, "the state "+state, func() bool { return w.hers.state() == state })
}

// enter lets eve into the root, where everybody begins.
func (w *whisperers) enter() {
	w.t.Helper()
	w.eve = peers.DialRaw(w.t, w.server.Addr(), "eve", peers.RawOptions{UDP: true})
}

func whisperDirect(w *whisperers) {
	w.start(w.tap.Addr(), w.server.Addr())
	w.enter()
	w.says()
	heard(w.t, "of alice eve", w.speech, w.sound(w.eve))
	if n := len(w.bob.Heard(w.session)); n > 0 {
		w.t.Errorf("bob hears %d packets without the key", n)
	}
	w.eve.Forget()
	w.whispers(voice.ContextShout)
	w.eveHearsNothing()
	for _, p := range w.bob.Heard(w.session) {
		if len(w.tap.Contains(p.Data)) == 0 {
			w.t.Errorf("frame %d did not pass the tap", p.FrameNumber)
		}
	}
}

func whisperAlone(w *whisperers) {
	w.guard("--policy", "prefer")
	w.gate("Alone")
	w.whispers(voice.ContextWhisper)
	w.sealed()

	w.enter()
	if w.server.Kind == peers.Murmur134 { // who was moved is asked, and after keys says it twice
		w.gate("Asked")
		w.alice.SendChat("/sotto clear")
		w.alice.SendChat("/sotto clear")
	}
	w.gate("Clear")
	w.says()
	heard(w.t, "of alice eve", w.speech, w.sound(w.eve))
	w.eve.Forget()
	w.tap.Forget()
	w.whispers(voice.ContextWhisper)
	w.sealed()
	w.eveHearsNothing()
}

func whisperHeld(w *whisperers) {
	w.enter()
	w.guard("--policy", "require")
	w.gate("Asked")
	w.keeps() // the client is told not to speak until it has whispered

	w.eve.Close()
	w.gate("Alone")
	w.whispers(voice.ContextWhisper)

	w.enter()
	w.gate("Asked")
	w.keeps() // it speaks, and guard lets none of it out
	w.sealed()
}

// keeps wants that eve hears neither what alice says nor what she whispers.
func (w *whisperers) keeps() {
	w.t.Helper()
	w.alice.PlayMic(w.speech.WAV)
	w.whispers(voice.ContextWhisper)
	w.eveHearsNothing()
}

// says speaks without the key, to the end of the transmission as eve hears it.
func (w *whisperers) says() {
	w.t.Helper()
	w.alice.PlayMic(w.speech.WAV)
	w.over(w.eve, "what alice says")
}

// whispers speaks with the key pressed, and wants that bob hears the sentence and
// nothing else. While the key is pressed the client sends all the time.
func (w *whisperers) whispers(context uint8) {
	w.t.Helper()
	w.bob.Forget()
	w.alice.HoldWhisper()
	w.bob.WaitHeard(patience, w.session, 1)
	w.alice.PlayMic(w.speech.WAV)
	rest := len(w.bob.Heard(w.session)) + 50 // a second, for what is still in the sound card
	w.bob.WaitHeard(patience, w.session, rest)
	w.alice.ReleaseWhisper()
	w.over(w.bob, "what alice whispers")
	for _, p := range w.bob.Heard(w.session) {
		if p.Context != context {
			w.t.Errorf("bob hears frame %d with context %d, want %d", p.FrameNumber, p.Context, context)
		}
	}
	heard(w.t, "of alice bob", w.speech, w.sound(w.bob))
}

// over waits until what a raw client hears of alice has ended.
func (w *whisperers) over(r *peers.Raw, what string) {
	w.t.Helper()
	waitFor(w.t, "the end of "+what, func() bool {
		p := r.Heard(w.session)
		return len(p) > 0 && p[len(p)-1].Terminator
	})
}

// sound is what a raw client has heard of alice.
func (w *whisperers) sound(r *peers.Raw) peers.Sound {
	w.t.Helper()
	all := r.Heard(w.session)
	var packets [][]byte
	for _, p := range all {
		packets = append(packets, p.Data)
	}
	step := all[1].FrameNumber - all[0].FrameNumber
	return peers.DecodeOpus(w.t, packets, time.Duration(step)*10*time.Millisecond)
}

// sealed wants that all voice to the server is encrypted, and none of what bob has
// heard passed in clear.
func (w *whisperers) sealed() {
	w.t.Helper()
	if n := sealed(w.t, w.tap); n < len(w.speech.Packets) {
		w.t.Errorf("%d packets of encrypted voice passed the tap, the sentence has %d", n, len(w.speech.Packets))
	}
	for _, p := range w.bob.Heard(w.session) {
		if hits := w.tap.Contains(p.Data); len(p.Data) > 8 && len(hits) > 0 {
			w.t.Errorf("frame %d passed the tap in clear", p.FrameNumber)
		}
	}
	if n := w.tap.Blind(); n != 0 {
		w.t.Errorf("the tap could not open %d datagrams", n)
	}
}

// eveHearsNothing wants that nothing came to eve that is alice's voice, not even
// encrypted; presence is silence that says who has Sotto.
func (w *whisperers) eveHearsNothing() {
	w.t.Helper()
	for _, p := range w.eve.Heard(w.session) {
		if _, vk, _, ok := envelope.ParseVoice(p.Data); !ok || vk != envelope.VoicePresence {
			w.t.Errorf("eve hears alice, frame %d at first: % x", p.FrameNumber, p.Data)
			return
		}
	}
}
