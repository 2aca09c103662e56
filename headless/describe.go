package headless

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/mirror"
)

// Plain turns a Mumble text into one line for a terminal: tags off, line
// breaks to spaces, control characters away (they could rewrite the screen).
func Plain(text string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.Join(strings.Fields(b.String()), " ")
		case html.TextToken:
			b.WriteString(Printable(string(z.Text())))
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			switch string(name) {
			case "br", "p", "div", "li", "tr":
				b.WriteByte(' ')
			case "img":
				b.WriteString("[picture]")
			}
		case html.EndTagToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

// Printable replaces what a terminal would act on instead of showing it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
}

// Name words the name of a user, which is the server's word: as it is if it is
// plainly one, else in quotation marks, so that it cannot pass for anything else of
// the line.
func Name(name string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)
	}
	if name != "" && len(name) <= 40 && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return name
	}
	return mirror.Label(name)
}

// Names words a list of names.
func Names(names []string) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = Name(n)
	}
	return strings.Join(words, ", ")
}

// DescribePlain is Describe for a client without Sotto. It never decrypts, so
// that says nothing of a text; behind guard, guard has marked it already.
func DescribePlain(ev client.Event) string {
	if t, ok := ev.(client.TextMessage); ok {
		words := Plain(t.HTML)
		if from := author(t); from != server || !strings.HasPrefix(words, server) {
			return from + ": " + words
		}
		return words
	}
	return Describe(ev)
}

// server stands for the name of a text's author that the server is itself.
const server = "[server]"

func author(t client.TextMessage) string {
	if t.Name == "" {
		return server
	}
	return Name(t.Name)
}

// Describe words an event for a person's terminal, "" for what is not worth a line.
func Describe(ev client.Event) string {
	switch ev := ev.(type) {
	case client.TextMessage:
		mark := ""
		if !ev.Encrypted {
			mark = " [not encrypted]"
		}
		return fmt.Sprintf("%s%s: %s", author(ev), mark, Plain(ev.HTML))
	case client.Notice:
		return "* " + Printable(ev.Text)
	case client.Denied:
		if ev.Reason == "" {
			return fmt.Sprintf("* the server refused it (%v)", ev.Type)
		}
		if ev.Server {
			return "* [server] " + Printable(ev.Reason)
		}
		return "* " + Printable(ev.Reason)
	case client.Question:
		return "* " + Printable(ev.Text)
	case client.Roster:
		if !ev.Home || len(ev.Members) < 2 {
			return ""
		}
		return "* in the encrypted group: " + Names(ev.Members)
	case client.OtherSecret:
		return fmt.Sprintf("* %s uses another secret and cannot hear you.", Name(ev.Name))
	case client.Disconnected:
		if ev.Retry > 0 {
			return fmt.Sprintf("* connection lost (%v); trying again in %v", Printable(Sentence(ev.Err.Error())), ev.Retry.Round(100_000_000))
		}
	}
	return ""
}
