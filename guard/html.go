package guard

import (
	"bytes"
	"encoding/base64"
	"image"
	_ "image/gif" // the three kinds of picture that may be shown
	_ "image/jpeg"
	_ "image/png"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Limits of a decrypted text (Sotto protocol §12).
const (
	maxHTML   = 96000      // bytes
	maxPixels = 16_000_000 // of one picture
)

// allowedTags are those that Mumble's own client writes (src/mumble/Log.cpp,
// its validHtml list) with the attributes that are harmless. Everything else
// is taken off; the words inside stay, but for scripts and styles.
var allowedTags = map[string][]string{
	"a": {"href"}, "b": nil, "big": nil, "blockquote": nil, "body": nil, "br": nil, "center": nil, "cite": nil,
	"code": nil, "dd": nil, "dl": nil, "dt": nil, "em": nil, "font": {"color", "size"}, "h1": nil, "h2": nil,
	"h3": nil, "h4": nil, "hr": nil, "i": nil, "img": {"src"}, "li": nil, "ol": nil, "p": nil, "pre": nil,
	"s": nil, "small": nil, "span": nil, "strong": nil, "sub": nil, "sup": nil, "table": nil, "tbody": nil,
	"td": nil, "th": nil, "thead": nil, "tr": nil, "tt": nil, "u": nil, "ul": nil,
}

// silentTags lose their content too.
var silentTags = []string{"script", "style", "title", "iframe", "object", "svg", "math", "template", "noscript", "textarea", "xmp", "plaintext"}

// filterHTML makes a decrypted text fit for the stock client's log: a
// rich-text view that loads what it is told to. No remote loads, no styles, no
// pictures but small PNG, JPEG and GIF inside the text, no link but web and
// Mumble ones, none to this machine.
func filterHTML(in string) string {
	if len(in) > maxHTML {
		return "[a text that was too long is not shown]"
	}
	var out strings.Builder
	z := html.NewTokenizer(strings.NewReader(in))
	silent := ""
	for {
		switch z.Next() {
		case html.ErrorToken:
			return out.String()
		case html.TextToken:
			if silent == "" {
				out.WriteString(html.EscapeString(string(z.Text())))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			if silent == "" && slices.Contains(silentTags, t.Data) {
				if t.Type == html.StartTagToken {
					silent = t.Data
				}
				continue
			}
			if silent == "" {
				writeTag(&out, t)
			}
		case html.EndTagToken:
			t := z.Token()
			if t.Data == silent {
				silent = ""
				continue
			}
			if _, ok := allowedTags[t.Data]; ok && silent == "" {
				out.WriteString("</" + t.Data + ">")
			}
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

func writeTag(out *strings.Builder, t html.Token) {
	attributes, ok := allowedTags[t.Data]
	if !ok {
		return
	}
	var kept strings.Builder
	for _, a := range t.Attr {
		if !slices.Contains(attributes, a.Key) {
			continue
		}
		switch {
		case a.Key == "href" && !harmlessLink(a.Val):
			continue
		case a.Key == "src" && !harmlessImage(a.Val):
			out.WriteString("[a picture is not shown]")
			return
		}
		kept.WriteString(" " + a.Key + `="` + html.EscapeString(a.Val) + `"`)
	}
	if t.Data == "img" && kept.Len() == 0 {
		return
	}
	out.WriteString("<" + t.Data + kept.String())
	if t.Type == html.SelfClosingTagToken {
		out.WriteString("/")
	}
	out.WriteString(">")
}

// harmlessLink allows what a person may click: web and Mumble, elsewhere. A
// link to this machine could press a button on a page of ours.
func harmlessLink(href string) bool {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil || !slices.Contains([]string{"http", "https", "mumble"}, strings.ToLower(u.Scheme)) {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return host != "" && host != "localhost" && !strings.HasSuffix(host, ".localhost") &&
		host != "::1" && !strings.HasPrefix(host, "127.") && host != "0.0.0.0" && host != "0" && host != "::"
}

// harmlessImage allows a picture that is wholly inside the text and not large
// once unpacked.
func harmlessImage(src string) bool {
	rest, ok := strings.CutPrefix(src, "data:image/")
	if !ok {
		return false
	}
	kind, data, ok := strings.Cut(rest, ";base64,")
	if !ok || !slices.Contains([]string{"png", "jpeg", "jpg", "gif"}, strings.ToLower(kind)) {
		return false
	}
	// The stock client percent-encodes the base64 and breaks its lines.
	if plain, err := url.PathUnescape(data); err == nil {
		data = plain
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data), ""))
	if err != nil {
		return false
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(raw))
	return err == nil && slices.Contains([]string{"png", "jpeg", "gif"}, format) &&
		config.Width > 0 && config.Height > 0 && int64(config.Width)*int64(config.Height) <= maxPixels
}

// escape makes plain words fit for a line of HTML.
func escape(text string) string { return html.EscapeString(text) }
