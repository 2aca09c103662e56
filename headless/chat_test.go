package headless_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

func TestPlain(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"hello", "hello"},
		{"a &lt;b&gt; &amp; c", "a <b> & c"},
		{"<b>bold</b><i>er</i>", "bolder"},
		{"one<br/>two<br>three<p>four</p>five", "one two three fourfive"},
		{"<ul><li>one</li><li>two</li></ul>", "one two"},
		{"line\nbreak\r\nand\ttab", "line break and tab"},
		{`<img src="data:image/png;base64,AAAA"/>`, "[picture]"},
		{`<a href="https://example.org/">here</a>`, "here"},
		{"<!-- not shown -->x<!DOCTYPE html>y", "xy"},
		{"red \x1b[31m and \x1b]0;title\x07 gone", "red [31m and ]0;title gone"},
		{"as entities &#27;[2J &#x1b;]52;c;&#7;", "as entities [2J ]52;c;"},
		{"C1 \u009b2J \u0090x", "C1 2J x"},
		{"bidi \u202eevil\u202c \u2066x\u2069 \u200f\u200e", "bidi evil x"},
		{"as entities &#8238;evil", "as entities evil"},
		{"zero\u200bwidth\ufeff", "zerowidth"},
		{"\xff\xfe broken", "broken"},
		{"backspace \x08\x08\x7f", "backspace"},
		{"<b unclosed", ""},
		{"two  \u00a0 spaces", "two spaces"},
		{"emoji \U0001F600 李", "emoji \U0001F600 李"},
	} {
		if got := headless.Plain(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "<b>x</b>", "&#27;[2J", "\x1b]0;x\x07", "\u202e", "<script>\x1b</script>", "<textarea>&#155;", "\xff", "<img src=x>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// A picture is the one thing that may grow.
		if got := headless.Plain(s); len(got) > 3*len(s) || strings.ContainsFunc(got, acts) {
			t.Errorf("%q becomes %q", s, got)
		}
		p := headless.Printable(s)
		if len(p) > len(s) || strings.ContainsFunc(p, acts) || headless.Printable(p) != p {
			t.Errorf("%q becomes printable %q", s, p)
		}
	})
}

// acts reports whether a terminal does something else with r than show it.
func acts(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

func TestDescribe(t *testing.T) {
	bad := "\x1b[2J\u202e\nx"
	for _, tt := range []struct {
		ev   client.Event
		want string
	}{
		{client.TextMessage{From: 7, Name: "bob", HTML: "<b>hi</b>", Encrypted: true}, "bob: hi"},
		{client.TextMessage{From: 7, Name: "bob", HTML: "hi"}, "bob [not encrypted]: hi"},
		{client.TextMessage{HTML: "welcome"}, "[server] [not encrypted]: welcome"},
		{client.TextMessage{From: 7, Name: bad, HTML: bad, Encrypted: true}, "“[2Jx”: [2J x"},
		{client.TextMessage{From: 7, Name: "* Private. bob", HTML: "hi", Encrypted: true}, "“* Private. bob”: hi"},
		{client.TextMessage{From: 7, Name: "bob: hi, and", HTML: "hi"}, "“bob: hi, and” [not encrypted]: hi"},
		{client.Roster{Home: true, Members: []string{"jürgen_2", "bob, carol"}}, "* in the encrypted group: jürgen_2, “bob, carol”"},
		{client.Notice{Notice: e2ee.Notice{Text: "one " + bad}}, "* one [2J x"},
		{client.Denied{Reason: bad}, "* [2J x"},
		{client.Denied{Reason: bad, Server: true}, "* [server] [2J x"},
		{client.Denied{Type: mumblepb.PermissionDenied_TextTooLong}, "* the server refused it (TextTooLong)"},
		{client.OtherSecret{OtherSecret: e2ee.OtherSecret{Name: bad}}, "* “[2Jx” uses another secret and cannot hear you."},
		{client.Disconnected{Err: io.EOF, Retry: 1234 * ms}, "* connection lost (EOF); trying again in 1.2s"},
		{client.Disconnected{Err: &client.RejectError{Type: mumblepb.Reject_ServerFull, Reason: bad}, Retry: time.Second},
			"* connection lost (the server refused the login: [2J x); trying again in 1s"},
		{client.Disconnected{Err: io.EOF}, ""}, // the command ends with the error itself
		{client.Connected{Session: 3}, ""},
		{client.Voice{Name: "bob"}, ""},
	} {
		if got := headless.Describe(tt.ev); got != tt.want {
			t.Errorf("%T: %q, want %q", tt.ev, got, tt.want)
		}
	}
}

func TestLines(t *testing.T) {
	all := func(s string) (got []string) {
		for l := range headless.Lines(strings.NewReader(s)) {
			if l.Err != nil {
				if !errors.Is(l.Err, headless.ErrLongLine) || l.Text != "" {
					t.Errorf("%.20q: %v", l.Text, l.Err)
				}
				l.Text = "too long"
			}
			got = append(got, l.Text)
		}
		return got
	}
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"one\ntwo\r\n\nlast", []string{"one", "two", "", "last"}},
		{"one\n" + strings.Repeat("x", 1<<20) + "\ntwo\n", []string{"one", "too long", "two"}},
		{strings.Repeat("x", 1<<20), []string{"too long"}},
		{strings.Repeat("x", 64<<10-1) + "\ntwo", []string{strings.Repeat("x", 64<<10-1), "two"}},
	} {
		if got := all(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%.20q: %.60q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestChat(t *testing.T) {
	type chat struct {
		lines   chan headless.Line
		done    chan error
		cancel  context.CancelFunc
		seen    []string
		refused []error
	}
	run := func(t *testing.T, c *client.Client) *chat {
		ctx, cancel := context.WithCancel(t.Context())
		one := &chat{lines: make(chan headless.Line), done: make(chan error, 1), cancel: cancel}
		go func() {
			one.done <- headless.Chat(ctx, c, one.lines, func(ev client.Event) {
				if s := headless.Describe(ev); s != "" {
					one.seen = append(one.seen, s)
				}
			}, func(err error) { one.refused = append(one.refused, err) })
		}()
		synctest.Wait()
		return one
	}
	t.Run("lines in and out", func(t *testing.T) {
		play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			for _, l := range []string{"hello", "  ", "", `1 < 2 & "3"`, "<b>not bold</b>"} {
				one.lines <- headless.Line{Text: l}
			}
			s.come(7, "bob")
			s.send(&mumblepb.TextMessage{Actor: proto.Uint32(7), ChannelId: []uint32{0}, Message: proto.String("<i>hi</i>")})
			close(one.lines)
			if err := <-one.done; err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if want := []string{"hello", "1 &lt; 2 &amp; &#34;3&#34;", "&lt;b&gt;not bold&lt;/b&gt;"}; !slices.Equal(s.texts, want) {
				t.Errorf("sent %q, want %q", s.texts, want)
			}
			if want := []string{"bob [not encrypted]: hi"}; !slices.Equal(one.seen, want) || one.refused != nil {
				t.Errorf("saw %q, want %q; refused %v", one.seen, want, one.refused)
			}
		})
	})
	t.Run("what is said to Sotto stays here", func(t *testing.T) {
		play(t, client.Config{Secret: e2ee.NewSecret()}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			for _, l := range []string{"/sotto", "/Sotto protect", " /sotto lock", "/sotto nonsense"} {
				one.lines <- headless.Line{Text: l}
			}
			close(one.lines)
			if err := <-one.done; err != nil {
				t.Error(err)
			}
			synctest.Wait()
			for _, text := range s.texts { // its own messages go as texts
				if strings.HasPrefix(strings.TrimSpace(text), "/") || strings.Contains(text, "nonsense") {
					t.Errorf("sent %q", s.texts)
				}
			}
			if len(one.refused) != 1 || !strings.Contains(one.refused[0].Error(), "/sotto status") {
				t.Errorf("refused %v", one.refused)
			}
			line, err := c.Line()
			if err == nil && !slices.Contains(one.seen, "* "+line) || err != nil {
				t.Errorf("saw %q, not %q; %v", one.seen, line, err)
			}
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		play(t, client.Config{}, func(t *testing.T, _ *stage, c *client.Client) {
			one := run(t, c)
			one.cancel()
			if err := <-one.done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("connection lost", func(t *testing.T) {
		play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			s.cut()
			if err := <-one.done; err == nil {
				t.Error("no error")
			}
		})
	})
	t.Run("reconnects", func(t *testing.T) {
		play(t, client.Config{Reconnect: true}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			s.cut()
			one.lines <- headless.Line{Text: "into nothing"}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			one.lines <- headless.Line{Text: "again"}
			close(one.lines)
			if err := <-one.done; err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if one.refused != nil {
				t.Errorf("refused: %v", one.refused)
			}
			if want := []string{"into nothing", "again"}; !slices.Equal(s.texts, want) {
				t.Errorf("sent %q, want %q", s.texts, want)
			}
			if len(one.seen) != 1 || !strings.HasPrefix(one.seen[0], "* connection lost") {
				t.Errorf("saw %q", one.seen)
			}
		})
	})
	// What follows is the end of the lines while something is under way.
	t.Run("refused at the end", func(t *testing.T) {
		play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
			s.deny, s.denyAfter = "your message was not sent: nobody there", 2*time.Second
			one := run(t, c)
			one.lines <- headless.Line{Text: "hello"}
			close(one.lines)
			if err := <-one.done; !errors.Is(err, headless.ErrUnsent) {
				t.Error(err)
			}
			if want := []string{"* [server] " + s.deny}; !slices.Equal(one.seen, want) {
				t.Errorf("saw %q, want %q", one.seen, want)
			}
		})
	})
	t.Run("refused without our doing", func(t *testing.T) {
		play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			s.send(&mumblepb.PermissionDenied{Type: mumblepb.PermissionDenied_Text.Enum(), Reason: proto.String("no")})
			start := time.Now()
			close(one.lines)
			if err := <-one.done; err != nil || time.Since(start) != 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("nobody holds the secret", func(t *testing.T) {
		play(t, client.Config{Secret: "sotto-secret-aaaaaaaaaaaaaaaaaaaaaaaaaa"}, func(t *testing.T, s *stage, c *client.Client) {
			s.come(7, "eve")
			one := run(t, c)
			start := time.Now()
			for _, l := range []string{"one", "two"} {
				one.lines <- headless.Line{Text: l}
			}
			close(one.lines)
			if err := <-one.done; !errors.Is(err, headless.ErrHeldBack) {
				t.Error(err)
			}
			if d := time.Since(start); d < 9*time.Second || d > 11*time.Second {
				t.Errorf("given up after %v", d)
			}
			synctest.Wait()
			if len(one.refused) != 2 || !errors.Is(one.refused[0], client.ErrHeld) ||
				slices.ContainsFunc(s.texts, func(text string) bool { return !strings.HasPrefix(text, "sotto:1,") }) {
				t.Errorf("refused %v, sent %q", one.refused, s.texts)
			}
		})
	})
	t.Run("later a refusal takes less", func(t *testing.T) {
		play(t, client.Config{Secret: "sotto-secret-aaaaaaaaaaaaaaaaaaaaaaaaaa"}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			time.Sleep(time.Minute)
			one.lines <- headless.Line{Text: "one"}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if len(one.refused) != 1 {
				t.Errorf("refused %v", one.refused)
			}
			one.cancel()
			if err := <-one.done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a line that is too long", func(t *testing.T) {
		play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
			one := run(t, c)
			one.lines <- headless.Line{Err: headless.ErrLongLine}
			one.lines <- headless.Line{Text: "goes on"}
			close(one.lines)
			if err := <-one.done; !errors.Is(err, headless.ErrUnsent) {
				t.Error(err)
			}
			synctest.Wait()
			if want := []string{"goes on"}; !slices.Equal(s.texts, want) || len(one.refused) != 1 {
				t.Errorf("sent %q, want %q; refused %v", s.texts, want, one.refused)
			}
		})
	})
}

// TestDescribePlain: behind guard a text bears guard's marks and no second ones.
func TestDescribePlain(t *testing.T) {
	for _, tt := range []struct {
		ev   client.Event
		want string
	}{
		{client.TextMessage{From: 7, Name: "bob", HTML: "hi"}, "bob: hi"},
		{client.TextMessage{From: 7, Name: "eve", HTML: "<b>[not encrypted]</b> hi"}, "eve: [not encrypted] hi"},
		{client.TextMessage{HTML: "[server] welcome"}, "[server] welcome"},
		{client.TextMessage{HTML: "welcome"}, "[server]: welcome"},
		{client.TextMessage{From: 7, Name: "eve", HTML: "[server] welcome"}, "eve: [server] welcome"},
		{client.TextMessage{From: 7, Name: "[server]", HTML: "x"}, "“[server]”: x"},
		{client.Denied{Reason: "no"}, "* no"},
		{client.Voice{Name: "bob"}, ""},
	} {
		if got := headless.DescribePlain(tt.ev); got != tt.want {
			t.Errorf("%T: %q, want %q", tt.ev, got, tt.want)
		}
	}
}
