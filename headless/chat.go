package headless

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"github.com/sotto-voip/sotto/client"
)

// maxLine bounds one typed line in bytes.
const maxLine = 64 << 10

// Lines reads lines in the background until in ends; the channel is then
// closed. The goroutine ends with the reader.
func Lines(in io.Reader) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		s := bufio.NewScanner(in)
		s.Buffer(nil, maxLine)
		for s.Scan() {
			out <- s.Text()
		}
	}()
	return out
}

// Chat sends each line to the own channel and hands each event to see, until
// the context ends, the lines end, or the connection does, which is an error.
// A text that is refused is no error: refused gets the reason.
func Chat(ctx context.Context, conn *client.Client, lines <-chan string, see func(client.Event), refused func(error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case l, ok := <-lines:
			if !ok {
				return nil
			}
			if strings.TrimSpace(l) == "" {
				continue
			}
			if err := conn.SendText(html.EscapeString(l)); err != nil {
				refused(err)
			}
		case ev, ok := <-conn.Events():
			if !ok {
				return client.ErrClosed
			}
			see(ev)
			if gone, is := ev.(client.Disconnected); is && gone.Retry == 0 {
				return gone.Err
			}
		}
	}
}

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

// Describe words an event for a person's terminal, "" for what is not worth a line.
func Describe(ev client.Event) string {
	switch ev := ev.(type) {
	case client.TextMessage:
		from, mark := Printable(ev.Name), ""
		if from == "" {
			from = "[server]"
		}
		if !ev.Encrypted {
			mark = " [not encrypted]"
		}
		return fmt.Sprintf("%s%s: %s", from, mark, Plain(ev.HTML))
	case client.Notice:
		return "* " + Printable(ev.Text)
	case client.Denied:
		return "* " + Printable(ev.Reason)
	case client.OtherSecret:
		return fmt.Sprintf("* %s uses another secret and cannot hear you.", Printable(ev.Name))
	case client.Disconnected:
		if ev.Retry > 0 {
			return fmt.Sprintf("* connection lost (%v); trying again in %v", Printable(Sentence(ev.Err.Error())), ev.Retry.Round(100_000_000))
		}
	}
	return ""
}
