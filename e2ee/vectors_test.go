package e2ee_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

var update = flag.Bool("update", false, "write the test vectors of this package anew")

const vectorFile = "testdata/typed-secret.json"

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// typedVectors are those of Sotto protocol §13, item 16. Error is the text of the
// error a receiver ends with; empty: the packet must open.
type typedVectors struct {
	Comment   string         `json:"comment"`
	Server    hexBytes       `json:"server"`
	Secrets   []secretVector `json:"secrets"`
	NoSecrets []string       `json:"malformed_secrets"`
	Channel   uint32         `json:"channel"` // of the speaker, for all that follows
	Session   uint32         `json:"session"` // of the speaker
	Now       int64          `json:"now"`     // Unix seconds, the receiver's clock
	Ready     []objectVector `json:"secret_ready"`
	Voice     []voiceVector  `json:"stream"` // one after the other, to one receiver
	Text      []objectVector `json:"secret_text"`
}

type secretVector struct {
	Text        string   `json:"text"`
	MachineMade bool     `json:"machine_made"`
	S           hexBytes `json:"s"`
	PRK         hexBytes `json:"prk"`
	KeyID       hexBytes `json:"key_id"`
	PSKID       hexBytes `json:"psk_id"`
	PSK         hexBytes `json:"psk"` // for that psk_id
}

type objectVector struct {
	Why   string   `json:"why"`
	Body  hexBytes `json:"body"`
	HTML  string   `json:"html,omitempty"`
	Error string   `json:"error,omitempty"`
}

type voiceVector struct {
	Why         string   `json:"why"`
	After       int64    `json:"after_seconds,omitempty"` // since the packet before
	VK          byte     `json:"vk"`
	Rest        hexBytes `json:"rest"`
	FrameNumber uint64   `json:"frame_number"`
	Terminator  bool     `json:"terminator,omitempty"`
	Opus        hexBytes `json:"opus,omitempty"`
	Error       string   `json:"error,omitempty"`
}

// makeVectors makes them from fixed inputs with the reference alone.
func makeVectors() typedVectors {
	server := make([]byte, 32)
	for i := range server {
		server[i] = 0xC0 + byte(i)
	}
	v := typedVectors{
		Comment: "Typed secret. Machine-made S: bytes 00..0f. Server: bytes c0..df. Nonces and salts: one byte repeated. The receiver, session 1 in channel 9, has the first secret. Each element of secret_ready and secret_text meets a receiver that has received nothing before; stream is one run, to one receiver. psk is what the secret gives as external PSK for psk_id.",
		Server:  server, Channel: 3, Session: 7, Now: 1_800_000_000,
		NoSecrets: []string{
			"sotto-secret-aaaqeayeaudaocajbifqydiob", "sotto-secret-aaaqeayeaudaocajbifqydiob5",
			"SOTTO-SECRET-AAAQEAYEAUDAOCAJBIFQYDIOB4", "sotto-secret-", "short", "  seven c ",
		},
	}
	machine := make([]byte, 16)
	for i := range machine {
		machine[i] = byte(i)
	}
	salt := sha256.Sum256(append([]byte("sotto/1 argon2"), server...))
	phrase := argon2.IDKey([]byte("correct horse battery staple é"), salt[:16], 3, 65536, 4, 32)
	for _, s := range []secretVector{
		{Text: "sotto-secret-aaaqeayeaudaocajbifqydiob4", MachineMade: true, S: machine},
		{Text: " correct  horse battery\tstaple e\u0301\n", S: phrase},
	} {
		s.PRK = refPRK(s.S, server, v.Channel)
		s.KeyID = refExpand(s.PRK, 4, []byte("sotto/1 key id"))
		s.PSKID = bytes.Repeat([]byte{0x99}, 16)
		s.PSK = refExpand(refHMAC(s.PSKID, s.S), 32, []byte("sotto/1 psk"))
		v.Secrets = append(v.Secrets, s)
	}

	prk, id := v.Secrets[0].PRK, v.Secrets[0].KeyID
	minute := uint32(v.Now / 60)
	a, b := bytes.Repeat([]byte{0xA1}, 16), bytes.Repeat([]byte{0xB2}, 16)
	otherChannel, otherServer := refPRK(machine, server, 4), refPRK(machine, machine, 3)

	v.Ready = []objectVector{
		{Why: "with key id", Body: refReady(prk, 7, a, minute, id)},
		{Why: "without key id", Body: refReady(prk, 7, a, minute, nil)},
		{Why: "5 minutes ahead", Body: refReady(prk, 7, a, minute+5, id)},
		{Why: "5 minutes behind", Body: refReady(prk, 7, a, minute-5, id)},
		{Why: "6 minutes ahead", Body: refReady(prk, 7, a, minute+6, id), Error: e2ee.ErrClock.Error()},
		{Why: "6 minutes behind", Body: refReady(prk, 7, a, minute-6, id), Error: e2ee.ErrClock.Error()},
		{Why: "another session", Body: refReady(prk, 8, a, minute, id), Error: e2ee.ErrMalformed.Error()},
		{Why: "another channel", Body: refReady(otherChannel, 7, a, minute, id), Error: e2ee.ErrAuth.Error()},
		{Why: "another server", Body: refReady(otherServer, 7, a, minute, id), Error: e2ee.ErrAuth.Error()},
		{Why: "a key id of 3 bytes", Body: refReady(prk, 7, a, minute, id[:3]), Error: e2ee.ErrMalformed.Error()},
		{Why: "a byte more", Body: append(refReady(prk, 7, a, minute, id), 0), Error: e2ee.ErrMalformed.Error()},
	}

	app := func(scope byte, channel uint32, html string) []byte {
		return refApp(bytes.Repeat([]byte{1}, 16), 0, uint64(v.Now)*1000, scope, channel, html, 64)
	}
	dirty := app(0, 3, "hello")
	dirty[63] = 1
	ofType := func(kind byte) []byte {
		b := app(0, 3, "hello")
		b[0] = kind
		return b
	}
	v.Text = []objectVector{
		{Why: "to the channel", Body: refText(prk, 7, a, minute, app(0, 3, "hello")), HTML: "hello"},
		{Why: "private", Body: refText(prk, 7, b, minute, app(2, 0xFFFFFFFF, "psst")), HTML: "psst"},
		{Why: "5 minutes behind", Body: refText(prk, 7, a, minute-5, app(0, 3, "late")), HTML: "late"},
		{Why: "6 minutes behind", Body: refText(prk, 7, a, minute-6, app(0, 3, "late")), Error: e2ee.ErrClock.Error()},
		{Why: "another session", Body: refText(prk, 8, a, minute, app(0, 3, "x")), Error: e2ee.ErrMalformed.Error()},
		{Why: "another channel", Body: refText(otherChannel, 7, a, minute, app(0, 3, "x")), Error: e2ee.ErrAuth.Error()},
		{Why: "private with a channel", Body: refText(prk, 7, a, minute, app(2, 3, "x")), Error: e2ee.ErrMalformed.Error()},
		{Why: "a scope that is none", Body: refText(prk, 7, a, minute, app(3, 3, "x")), Error: e2ee.ErrMalformed.Error()},
		{Why: "padding that is not zero", Body: refText(prk, 7, a, minute, dirty), Error: e2ee.ErrMalformed.Error()},
		{Why: "an AppData of type 6, a leave", Body: refText(prk, 7, a, minute, ofType(6)), Error: e2ee.ErrMalformed.Error()},
		{Why: "an AppData of type 7 that is a text but for that", Body: refText(prk, 7, a, minute, ofType(7)), Error: e2ee.ErrMalformed.Error()},
		{Why: "an AppData of a type that is not known", Body: refText(prk, 7, a, minute, ofType(77)), Error: e2ee.ErrMalformed.Error()},
		{Why: "not UTF-8", Body: refText(prk, 7, a, minute, app(0, 3, "\xff")), Error: e2ee.ErrMalformed.Error()},
	}

	opus := []byte("an Opus packet")
	voice := func(why string, x refVoice, plain []byte, heard []byte, fail error) {
		x.session = max(x.session, 7)
		p := voiceVector{Why: why, VK: envelope.VoiceTyped, Rest: x.seal(server, prk, plain), FrameNumber: uint64(x.number), Terminator: x.end == 1, Opus: heard}
		if x.header {
			p.VK = envelope.VoiceTypedKey
		}
		if fail != nil {
			p.Opus, p.Error = nil, fail.Error()
		}
		v.Voice = append(v.Voice, p)
	}
	plain := refPlain(0, opus, nil, 16)
	voice("no nonce heard yet", refVoice{nonce: a, ctr: 0}, plain, nil, e2ee.ErrNoKey)
	voice("6 minutes ahead", refVoice{nonce: a, ctr: 0, header: true, minute: minute + 6}, plain, nil, e2ee.ErrClock)
	voice("session 8 under session 7", refVoice{nonce: a, ctr: 0, session: 8, header: true, minute: minute}, plain, nil, e2ee.ErrAuth)
	voice("first packet", refVoice{nonce: a, ctr: 0, header: true, minute: minute, number: 2}, plain, opus, nil)
	voice("the same again", refVoice{nonce: a, ctr: 0, header: true, minute: minute, number: 2}, plain, nil, e2ee.ErrReplay)
	voice("without header", refVoice{nonce: a, ctr: 9, number: 4}, plain, opus, nil)
	voice("counter of two bytes", refVoice{nonce: a, ctr: 300, number: 65535}, plain, opus, nil)
	voice("reordered", refVoice{nonce: a, ctr: 299, number: 65533}, plain, opus, nil)
	voice("keep-alive", refVoice{nonce: a, ctr: 301}, refPlain(0, nil, nil, 16), nil, nil)
	voice("end of speech", refVoice{nonce: a, ctr: 302, number: 6, end: 1}, refPlain(0, nil, nil, 16), nil, nil)
	voice("a reserved flag", refVoice{nonce: a, ctr: 303}, refPlain(4, opus, nil, 16), nil, e2ee.ErrMalformed)
	voice("longer than itself", refVoice{nonce: a, ctr: 304}, append(u16(15), opus...), nil, e2ee.ErrMalformed)
	voice("position without room", refVoice{nonce: a, ctr: 305}, refPlain(8, opus, make([]byte, 15), 31), nil, e2ee.ErrMalformed)
	voice("position of another place", refVoice{nonce: a, ctr: 306}, refPlain(8, opus, make([]byte, 16), 32), opus, nil)
	voice("counter 2^14", refVoice{nonce: a, ctr: 1 << 14}, plain, opus, nil)
	voice("counter above 2^14", refVoice{nonce: a, ctr: 1<<14 + 1}, plain, nil, e2ee.ErrNoKey)
	voice("8 steps ahead", refVoice{nonce: a, step: 8, ctr: 0, number: 8}, plain, opus, nil)
	voice("the step before", refVoice{nonce: a, step: 7, ctr: 5, number: 9}, plain, opus, nil)
	voice("9 steps ahead of that", refVoice{nonce: a, step: 17, ctr: 0}, plain, nil, e2ee.ErrNoKey)
	voice("the first nonce under another number", refVoice{nonce: a, n: 1, step: 8, ctr: 1, header: true, minute: minute}, plain, nil, e2ee.ErrNoKey)
	voice("second nonce", refVoice{nonce: b, n: 1, ctr: 0, header: true, minute: minute, number: 10}, plain, opus, nil)
	voice("late from the first", refVoice{nonce: a, step: 8, ctr: 1, number: 11}, plain, opus, nil)
	voice("11 s later, from the first", refVoice{nonce: a, step: 8, ctr: 2, header: true, minute: minute, number: 12}, plain, nil, e2ee.ErrReplay)
	v.Voice[len(v.Voice)-1].After = 11
	voice("second nonce goes on", refVoice{nonce: b, n: 1, ctr: 1, number: 13}, plain, opus, nil)
	voice("wrong frame number", refVoice{nonce: b, n: 1, ctr: 2, number: 14}, plain, nil, e2ee.ErrAuth)
	v.Voice[len(v.Voice)-1].FrameNumber = 15
	voice("wrong terminator", refVoice{nonce: b, n: 1, ctr: 3, number: 14}, plain, nil, e2ee.ErrAuth)
	v.Voice[len(v.Voice)-1].Terminator = true
	c, d := bytes.Repeat([]byte{0xC3}, 16), bytes.Repeat([]byte{0xD4}, 16)
	voice("a new nonce at step 9", refVoice{nonce: c, n: 2, step: 9, header: true, minute: minute, number: 16}, plain, nil, e2ee.ErrNoKey)
	voice("a new nonce at step 15", refVoice{nonce: c, n: 2, step: 15, header: true, minute: minute, number: 16}, plain, nil, e2ee.ErrNoKey)
	voice("a new nonce at step 8", refVoice{nonce: d, n: 2, step: 8, header: true, minute: minute, number: 16}, plain, opus, nil)
	return v
}

// TestVectors gives the vectors of testdata to the package, after comparing them
// with what the reference makes now.
func TestVectors(t *testing.T) {
	made, err := json.MarshalIndent(makeVectors(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, made) {
		t.Error("testdata differs from what the reference makes")
	}
	var v typedVectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	server := [32]byte(v.Server)
	for _, s := range v.Secrets {
		got, err := e2ee.ParseSecret(s.Text, server)
		if err != nil || got.MachineMade() != s.MachineMade || got.KeyID(v.Channel) != hex.EncodeToString(s.KeyID) {
			t.Errorf("secret %q: %v, %v, want key id %x", s.Text, got, err, s.KeyID)
		} else if psk := e2ee.PSKOf(got, s.PSKID); !bytes.Equal(psk, s.PSK) {
			t.Errorf("secret %q: PSK %x, want %x", s.Text, psk, s.PSK)
		}
	}
	for _, text := range v.NoSecrets {
		if _, err := e2ee.ParseSecret(text, server); err == nil {
			t.Errorf("%q is taken for a secret", text)
		}
	}

	now := time.Unix(v.Now, 0)
	receiver := func() *e2ee.Engine {
		secret, err := e2ee.ParseSecret(v.Secrets[0].Text, server)
		if err != nil {
			t.Fatal(err)
		}
		e, err := e2ee.New(e2ee.Config{Secret: secret, Server: server})
		if err != nil {
			t.Fatal(err)
		}
		e.Handle(now, e2ee.Connected{Session: 1})
		e.Handle(now, e2ee.World{Channel: 9, Peers: []e2ee.Peer{{Session: v.Session, Channel: v.Channel, Name: "speaker"}}})
		return e
	}
	mustFail := 0
	object := func(kind envelope.Kind, o objectVector) (e *e2ee.Engine, text string) {
		e = receiver()
		before := e.Stats()
		e.Handle(now, e2ee.Received{From: v.Session, Object: envelope.Object{Kind: kind, Body: o.Body}})
		for out, ok := e.Next(); ok; out, ok = e.Next() {
			if out, ok := out.(e2ee.TextReceived); ok {
				text = out.Text.HTML
			}
		}
		if o.Error != "" {
			mustFail++
		}
		if got, want := e.Stats(), counted(before, o.Error); got != want {
			t.Errorf("%s: counted %+v, want %+v", o.Why, got, want)
		}
		return e, text
	}
	for _, o := range v.Ready {
		if e, _ := object(envelope.KindSecretReady, o); e.IsHolder(v.Session) != (o.Error == "") {
			t.Errorf("SecretReady, %s: holder %v", o.Why, e.IsHolder(v.Session))
		}
	}
	for _, o := range v.Text {
		if _, text := object(envelope.KindSecretText, o); text != o.HTML {
			t.Errorf("SecretText, %s: %q, want %q", o.Why, text, o.HTML)
		}
	}
	e := receiver()
	for _, p := range v.Voice {
		now = now.Add(time.Duration(p.After) * time.Second)
		f := e2ee.Frame{FrameNumber: p.FrameNumber, Terminator: p.Terminator}
		err := e.OpenVoice(nil, now, v.Session, p.VK, p.Rest, &f)
		if !errors.Is(err, voiceErrors[p.Error]) || !bytes.Equal(f.Opus, p.Opus) {
			t.Errorf("stream, %s: %q, %v, want %q, %q", p.Why, f.Opus, err, p.Opus, p.Error)
		}
		if p.Error != "" {
			mustFail++
		}
	}
	t.Logf("%d secrets, %d that are none, %d SecretReady, %d SecretText, %d packets; %d of these must fail",
		len(v.Secrets), len(v.NoSecrets), len(v.Ready), len(v.Text), len(v.Voice), mustFail)
}

var voiceErrors = map[string]error{"": nil}

func init() {
	for _, err := range []error{e2ee.ErrNoKey, e2ee.ErrReplay, e2ee.ErrClock, e2ee.ErrAuth, e2ee.ErrMalformed, e2ee.ErrStale} {
		voiceErrors[err.Error()] = err
	}
}

// counted is s with the error counted.
func counted(s e2ee.Stats, err string) e2ee.Stats {
	switch err {
	case e2ee.ErrMalformed.Error():
		s.Malformed++
	case e2ee.ErrAuth.Error():
		s.Auth++
	case e2ee.ErrClock.Error():
		s.Stale++
	case e2ee.ErrReplay.Error():
		s.Replay++
	}
	return s
}

// What the package seals, the reference seals to the same bytes.
func TestSealMatchesReference(t *testing.T) {
	const text = "sotto-secret-aaaqeayeaudaocajbifqydiob4"
	s := make([]byte, 16)
	for i := range s {
		s[i] = byte(i)
	}
	r := newRoom(t, true)
	alice := r.join("alice", 5, engine(t, text, e2ee.PolicyPrefer))
	r.join("bob", 5, engine(t, text, e2ee.PolicyPrefer))
	r.run(time.Second)
	prk := refPRK(s, testServer[:], 5)

	ready := alice.sent[0].(e2ee.SendObject).Object.Body
	id := refExpand(prk, 4, []byte("sotto/1 key id"))
	if want := refReady(prk, alice.session, ready[4:20], uint32(time.Unix(1_800_000_000, 0).Unix()/60), id); !bytes.Equal(ready, want) {
		t.Errorf("SecretReady %x, want %x", ready, want)
	}

	tag := refHMAC(refExpand(prk, 32, []byte("sotto/1 context")), []byte("game"))[:4]
	alice.Handle(r.now, e2ee.PluginContext{Context: []byte("game")})
	position := join([]byte{0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0, 0, 0, 0, 0x3F}, tag)
	var nonce []byte
	step, ctr := 0, uint64(0)
	for i := range 3 * 300 {
		if i > 0 && i%300 == 0 {
			r.run(5*time.Minute - 20*time.Second) // the next step, the same nonce
			step, ctr = step+1, 0
		}
		f := e2ee.Frame{FrameNumber: uint64(65_000 + i), Opus: []byte("fourteen bytes"), Terminator: i%100 == 99}
		plain := refPlain(0, f.Opus, nil, 32)
		if i%2 == 0 {
			f.HasPosition, f.Position = true, [3]float32{1, -2, 0.5}
			plain = refPlain(8, f.Opus, position, 32)
		}
		p, err := r.seal(alice, &f)
		if err != nil {
			t.Fatal(err)
		}
		if p.vk == envelope.VoiceTypedKey {
			nonce = p.rest[:16]
		}
		want := refVoice{session: alice.session, nonce: nonce, step: step, ctr: ctr, header: p.vk == envelope.VoiceTypedKey,
			minute: uint32(r.now.Unix() / 60), number: uint16(f.FrameNumber), end: map[bool]byte{true: 1}[f.Terminator]}.seal(testServer[:], prk, plain)
		if !bytes.Equal(p.rest, want) {
			t.Fatalf("frame %d: %x, want %x", i, p.rest, want)
		}
		ctr++
		r.now = r.now.Add(100 * time.Millisecond)
	}
}
