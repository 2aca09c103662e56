package interop_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// text waits for a text event with exactly these words.
func (s *sotto) text(mark int, from, words string) {
	s.t.Helper()
	e := s.waitFrom(mark, "text", func(e event) bool { return e.Text == words })
	if e.Name != from || e.Encrypted == nil || !*e.Encrypted {
		s.t.Errorf("%s: text of %q, encrypted %v, want one of %s, encrypted", s.name, e.Name, e.Encrypted, from)
	}
}

// TestTexts writes between two headless clients, and between one of them and a
// client behind guard.
func TestTexts(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			server := peers.Start(t, kind, peers.ServerOptions{})
			tap := peers.StartTap(t, server)
			secret := newSecret(t)
			bob := startClient(t, "chat", "bob", server.Addr(), secret, nil)
			carl := startClient(t, "chat", "carl", server.Addr(), secret, nil)
			bob.wait("holder", holds("carl"))
			carl.wait("holder", holds("bob"))
			headlessTexts(bob, carl)

			g := startGuard(t, "guard", tap.Addr(), secret)
			alice := peers.DialRaw(t, g.addr(), "alice", peers.RawOptions{UDP: true})
			dave := peers.DialRaw(t, server.Addr(), "dave", peers.RawOptions{})
			for _, name := range []string{"bob", "carl"} {
				g.wait("holder", holds(name))
			}
			bob.wait("holder", holds("alice"))
			guardedTexts(t, g, alice, bob)
			marked(t, tap, alice, dave)
			commands(t, tap, alice)
			for _, m := range dave.Texts() {
				if m.GetActor() != dave.Session {
					t.Errorf("dave, who has no secret, got %q", m.GetMessage())
				}
			}
		})
	}
}

func headlessTexts(bob, carl *sotto) {
	bob.t.Helper()
	for _, words := range []string{
		"hello", "<b>not bold</b> & \"quoted\"", "Grüße aus Köln, 日本, 🦊", strings.Repeat("0123456789", 100),
	} {
		bob.say(words)
		carl.text(0, "bob", html.EscapeString(words))
		carl.say("answer: " + words)
		bob.text(0, "carl", html.EscapeString("answer: "+words))
	}
	// A pasted page: faster than a server and the readers allow, and still whole.
	mark := carl.mark()
	const page = 14
	for i := range page {
		bob.say(fmt.Sprintf("line %d", i))
	}
	for i := range page {
		carl.text(mark, "bob", fmt.Sprintf("line %d", i))
	}
	bob.say(strings.Repeat("&", 20000)) // 100 000 bytes as HTML
	failed := bob.wait("text_failed", nil)
	bob.t.Logf("a text of 100 000 bytes: %s", failed.Reason)
	if !strings.Contains(failed.Reason, "100000 bytes") {
		bob.t.Errorf("the reason is %q", failed.Reason)
	}
	bob.say("still here")
	carl.text(0, "bob", "still here")
}

func guardedTexts(t *testing.T, g *guarded, alice *peers.Raw, bob *sotto) {
	t.Helper()
	session := alice.WaitUser(patience, "bob")
	carl := alice.WaitUser(patience, "carl")
	for i, m := range []*mumblepb.TextMessage{
		{ChannelId: []uint32{0}},
		{Session: []uint32{session}},
		{Session: []uint32{session, carl}},
		{ChannelId: []uint32{0}},
	} {
		words := fmt.Sprintf("number %d ", i) + strings.Repeat("x", 1000*i)
		m.Message = &words
		alice.Send(m)
		bob.text(0, "alice", words)
	}
	bob.say("to all")
	if m := alice.WaitText(patience, "to all"); m.GetActor() != session || len(m.ChannelId) != 1 {
		t.Errorf("the text of bob arrived as %v", m)
	}

	// Too long for what can be encrypted: refused with the size.
	alice.Forget()
	alice.Text(0, strings.Repeat("x", 100000))
	alice.Wait(patience, "refusal of a long text", func(got peers.Received) bool {
		d, ok := got.Message.(*mumblepb.PermissionDenied)
		return ok && strings.Contains(d.GetReason(), "100000 bytes")
	})
	g.wait("text_failed", nil)
}

// marked: what comes in clear is marked for the client, and what a holder sends
// encrypted is filtered, because the server's own filter saw only ciphertext.
func marked(t *testing.T, tap *peers.Tap, alice, dave *peers.Raw) {
	t.Helper()
	dave.Text(0, "in clear")
	alice.WaitText(patience, "<b>[not encrypted]</b> in clear")
	tap.Inject(voice.ToClient, &mumblepb.TextMessage{Message: proto.String("Sotto: all is private")})
	alice.WaitText(patience, "[server] Sotto: all is private")
}

// commands: what begins with /sotto is for guard and never leaves.
func commands(t *testing.T, tap *peers.Tap, alice *peers.Raw) {
	t.Helper()
	for _, line := range []string{"/sotto", "/sotto status", "  /sotto something unheard of"} {
		alice.Forget()
		alice.Text(0, line)
		got := alice.Wait(patience, "answer to "+line, func(got peers.Received) bool {
			m, ok := got.Message.(*mumblepb.TextMessage)
			return ok && m.Actor == nil && strings.HasPrefix(m.GetMessage(), "Sotto: ")
		})
		t.Logf("%s: %s", line, got.Message.(*mumblepb.TextMessage).GetMessage())
	}
	if hits := tap.Contains([]byte("/sotto")); len(hits) != 0 {
		t.Errorf("a command left in a %v", hits[0].Frame.Frame.Type)
	}
}

// TestMarkup, M11: a holder of the secret sends markup that the stock client's log
// would act on. The other guard lets harmless markup pass and nothing else.
func TestMarkup(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{Unlimited: true})
	secret := newSecret(t)
	hers, his := startGuard(t, "alice's guard", server.Addr(), secret), startGuard(t, "bob's guard", server.Addr(), secret)
	alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{UDP: true})
	bob := peers.DialRaw(t, his.addr(), "bob", peers.RawOptions{UDP: true})
	hers.gate(0, "ciphertext")
	his.gate(0, "ciphertext")
	const pixel = `<img src="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="/>`
	for i, c := range []struct{ in, want string }{
		{`<b>bold</b> <i>and</i> <a href="https://example.org/">a link</a>`, `<b>bold</b> <i>and</i> <a href="https://example.org/">a link</a>`},
		{`<script>alert(1)</script>one <style>*{display:none}</style>two`, `one two`},
		{`<img src="https://tracker.example/1.png"/> <img src="file:///etc/passwd"/>`, `[a picture is not shown] [a picture is not shown]`},
		{`<a href="javascript:alert(1)">x</a> <a href="http://127.0.0.1:1/yes">y</a>`, `<a>x</a> <a>y</a>`},
		{pixel, pixel},
		{`<b onclick="x()" style="color:red">x</b> 1 < 2 &amp; 3`, `<b>x</b> 1 &lt; 2 &amp; 3`},
	} {
		mark := fmt.Sprintf("number %d ", i)
		alice.Text(0, mark+c.in)
		got := bob.Wait(patience, c.in, func(got peers.Received) bool {
			m, ok := got.Message.(*mumblepb.TextMessage)
			return ok && strings.HasPrefix(m.GetMessage(), mark)
		}).Message.(*mumblepb.TextMessage)
		if got.GetMessage() != mark+c.want || got.GetActor() != alice.Session {
			t.Errorf("%s arrived as %s, want %s", c.in, got.GetMessage(), c.want)
		}
	}
}

// TestNoHTML: a server that allows no HTML has room for less, and says so.
func TestNoHTML(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur134, peers.ServerOptions{Ini: []string{"allowhtml=false"}})
	secret := newSecret(t)
	bob := startClient(t, "chat", "bob", server.Addr(), secret, nil)
	carl := startClient(t, "chat", "carl", server.Addr(), secret, nil)
	bob.wait("holder", holds("carl"))
	carl.wait("holder", holds("bob"))
	for _, words := range []string{"short", strings.Repeat("0123456789", 300)} {
		bob.say(words)
		carl.text(0, "bob", words)
	}
	bob.say(strings.Repeat("0123456789", 400))
	if e := bob.wait("text_failed", nil); !strings.Contains(e.Reason, "4000 bytes") {
		t.Errorf("the reason is %q", e.Reason)
	}
}
