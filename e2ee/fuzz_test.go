package e2ee_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// listener returns an engine in session 1 that hears sessions 2 (a holder whose
// stream it has) and 3 (a stranger), and the packets that 2 sent.
func listener(t testing.TB) (r *room, bob *person, sent []packet, objects []envelope.Object) {
	r, alice, bob := pair(t)
	r.join("stranger", 1, nil)
	for range 12 {
		sent = append(sent, r.say(alice, "an Opus packet"))
	}
	for _, p := range sent[:6] {
		r.wantHeard(bob, p, "an Opus packet")
	}
	o, err := alice.SealText(r.now, 900, e2ee.Text{HTML: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	objects = append(objects, o)
	for _, s := range alice.sent {
		if s, ok := s.(e2ee.SendObject); ok {
			objects = append(objects, s.Object)
		}
	}
	return r, bob, sent, objects
}

// FuzzOpenVoice gives an engine foreign packets: it must neither panic nor hear
// anything in them.
func FuzzOpenVoice(f *testing.F) {
	r, _, sent, _ := listener(f)
	for _, p := range sent {
		f.Add(p.from, p.vk, p.rest, p.number, false, int64(0))
	}
	f.Add(uint32(3), byte(0x12), make([]byte, 60), uint64(1), true, int64(60))
	f.Add(uint32(2), byte(0x11), []byte{0x80, 0xFF}, uint64(0), false, int64(-60))
	f.Fuzz(func(t *testing.T, session uint32, vk byte, rest []byte, number uint64, end bool, seconds int64) {
		_, bob, _, _ := listener(t)
		frame := e2ee.Frame{FrameNumber: number, Terminator: end}
		now := r.now.Add(time.Duration(seconds%100_000) * time.Second)
		err := bob.OpenVoice(nil, now, session, vk, rest, &frame)
		if err == nil || frame.Opus != nil {
			t.Errorf("heard %q", frame.Opus)
		}
		bob.Handle(now, nil)
	})
}

// FuzzReceived gives an engine foreign objects: it must neither panic nor read
// anything in them, nor let anything leave.
func FuzzReceived(f *testing.F) {
	r, _, _, objects := listener(f)
	for _, o := range objects {
		f.Add(uint32(2), uint8(o.Kind), o.Body)
		f.Add(uint32(3), uint8(o.Kind), o.Body)
	}
	f.Add(uint32(3), uint8(envelope.KindSecretReady), ready(3, uint32(r.now.Unix()/60)))
	f.Add(uint32(2), uint8(envelope.KindHello), []byte("hello"))
	f.Fuzz(func(t *testing.T, from uint32, kind uint8, body []byte) {
		r, bob, _, _ := listener(t)
		holders := len(bob.Holders())
		bob.Handle(r.now, e2ee.Received{From: from, Object: envelope.Object{Kind: envelope.Kind(kind), Body: body}})
		for out, ok := bob.Next(); ok; out, ok = bob.Next() {
			if out, ok := out.(e2ee.TextReceived); ok {
				t.Errorf("read %q", out.Text.HTML)
			}
		}
		if len(bob.Holders()) != holders || bob.Leave() == e2ee.LeaveClear {
			t.Errorf("holders %v, %v leaves", bob.Holders(), bob.Leave())
		}
	})
}

// FuzzHolder seals foreign plaintexts as a hostile holder of the secret would: they
// open, and must neither panic nor bring out what is not in them.
func FuzzHolder(f *testing.F) {
	const text = "sotto-secret-aaaqeayeaudaocajbifqydiob4"
	s := make([]byte, 16)
	for i := range s {
		s[i] = byte(i)
	}
	secret, err := e2ee.ParseSecret(text, testServer)
	if err != nil {
		f.Fatal(err)
	}
	prk, nonce := refPRK(s, testServer[:], 3), make([]byte, 16)
	now := time.Unix(1_800_000_000, 0)
	minute := uint32(now.Unix() / 60)
	f.Add(refPlain(0, []byte("opus"), nil, 16))
	f.Add(refPlain(8, []byte("opus"), make([]byte, 16), 32))
	f.Add(refPlain(7, nil, nil, 2))
	f.Add([]byte{0x0F, 0xFF})
	f.Add(refApp(make([]byte, 16), 1, 2, 0, 3, "<b>hi</b>", 64))
	f.Add(refApp(make([]byte, 16), 1, 2, 2, 0xFFFFFFFF, "psst", 256))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) > 900 {
			return
		}
		e, err := e2ee.New(e2ee.Config{Secret: secret, Server: testServer})
		if err != nil {
			t.Fatal(err)
		}
		e.Handle(now, e2ee.Connected{Session: 1})
		e.Handle(now, e2ee.World{Channel: 3, Peers: []e2ee.Peer{{Session: 7, Channel: 3, Hears: true}}})
		e.Handle(now, e2ee.PluginContext{Context: []byte("game")})
		rest := refVoice{session: 7, nonce: nonce, header: true, minute: minute}.seal(testServer[:], prk, plain)
		var frame e2ee.Frame
		if err := e.OpenVoice(nil, now, 7, envelope.VoiceTypedKey, rest, &frame); err == nil && len(frame.Opus)+2 > len(plain) {
			t.Errorf("%d bytes of Opus out of %d", len(frame.Opus), len(plain))
		}
		if e.State() != e2ee.StateTyped {
			t.Errorf("a packet that opened left the gate in %v", e.State())
		}
		if len(plain) < 64 {
			plain = append(plain, make([]byte, 64-len(plain))...) // refText writes lengths of two bytes
		}
		e.Handle(now, e2ee.Received{From: 7, Object: envelope.Object{Kind: envelope.KindSecretText, Body: refText(prk, 7, nonce, minute, plain)}})
		for out, ok := e.Next(); ok; out, ok = e.Next() {
			if out, ok := out.(e2ee.TextReceived); ok {
				x := out.Text
				if !utf8.ValidString(x.HTML) || len(x.HTML) > len(plain) || x.Scope > 2 || (x.Scope == 2) != (x.Channel == e2ee.NoChannel) {
					t.Errorf("text %+v", x)
				}
			}
		}
	})
}

// FuzzParseSecret looks for texts that are taken for machine-made without being
// one. Phrases cost 64 MiB each and are left to the table tests.
func FuzzParseSecret(f *testing.F) {
	f.Add("sotto-secret-aaaqeayeaudaocajbifqydiob4")
	f.Add("sotto-secret-aaaqeayeaudaocajbifqydiob5")
	f.Add("SOTTO-SECRET-")
	f.Add(" short \xff")
	f.Add("\u0344ϙmQ\x18KϷ") // 7 characters as typed, 8 in NFC: a phrase
	f.Fuzz(func(t *testing.T, text string) {
		trimmed := strings.TrimSpace(text)
		machine := len(trimmed) >= 13 && strings.EqualFold(trimmed[:13], "sotto-secret-")
		if !machine && utf8.RuneCountInString(norm.NFC.String(trimmed)) >= 8 {
			return
		}
		s, err := e2ee.ParseSecret(text, testServer)
		if err == nil && (!s.MachineMade() || trimmed != strings.ToLower(trimmed) || len(trimmed) != 39) {
			t.Errorf("%q is taken for a secret", text)
		}
	})
}
