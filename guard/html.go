package guard

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image"
	_ "image/gif" // the three kinds of picture that may be shown
	_ "image/jpeg"
	_ "image/png"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/idna"
)

// Limits of a decrypted text (Sotto protocol §12).
const (
	maxHTML   = 96000      // bytes
	maxPixels = 16_000_000 // of all pictures together, which the client unpacks
	// Qt lays tables out for minutes when they nest, and a thousand tags in a
	// row hold a client up for seconds; nobody's text needs either.
	maxTags  = 500
	maxDepth = 16
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

// filterHTML makes a text fit for the stock client's log: a rich-text view that
// loads what it is told to, and lays out whatever it is given on the thread that
// also plays the voice. No remote loads, no styles, no pictures but small PNG,
// JPEG and GIF inside the text, no link but web and Mumble ones, none to this
// machine; few tags, not deep, each closed where it must be.
func filterHTML(in string) string { return newFilter(false).run(in) }

// filterLine is filterHTML for what must stay in one line, so that it cannot
// look like two: what would begin a line becomes a space.
func filterLine(in string) string { return newFilter(true).run(in) }

// filter is one run over one text.
type filter struct {
	out    strings.Builder
	line   bool     // one line only
	open   []string // tags to be closed
	tags   int
	pixels int64
	silent string // the tag whose content is left out; "" none
}

// inlineTags change letters and begin no line.
var inlineTags = []string{"a", "b", "big", "cite", "code", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "tt", "u"}

// voidTags have no end.
var voidTags = []string{"br", "hr", "img"}

func newFilter(line bool) *filter { return &filter{line: line, pixels: maxPixels} }

func (f *filter) run(in string) string {
	if len(in) > maxHTML {
		return "[a text that was too long is not shown]"
	}
	z := html.NewTokenizer(strings.NewReader(in))
	for {
		switch z.Next() {
		case html.ErrorToken:
			for len(f.open) > 0 {
				f.pop()
			}
			return f.out.String()
		case html.TextToken:
			if f.silent == "" {
				f.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			f.start(z.Token())
		case html.EndTagToken:
			f.end(z.Token().Data)
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

func (f *filter) text(s string) {
	if f.line {
		s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029' }), " ")
	}
	f.out.WriteString(html.EscapeString(s))
}

func (f *filter) start(t html.Token) {
	switch {
	case f.silent != "":
		return
	case slices.Contains(silentTags, t.Data):
		if t.Type == html.StartTagToken {
			f.silent = t.Data
		}
		return
	}
	attributes, ok := allowedTags[t.Data]
	if !ok {
		return
	}
	if f.line && !slices.Contains(inlineTags, t.Data) {
		f.out.WriteByte(' ')
		return
	}
	void := slices.Contains(voidTags, t.Data)
	if f.tags++; f.tags > maxTags || !void && len(f.open) >= maxDepth {
		return // the words inside stay
	}
	var kept strings.Builder
	for _, a := range t.Attr {
		if !slices.Contains(attributes, a.Key) {
			continue
		}
		switch {
		case a.Key == "href" && !harmlessLink(a.Val):
			continue
		case a.Key == "src":
			size, ok := harmlessImage(a.Val)
			if !ok || size > f.pixels {
				f.out.WriteString("[a picture is not shown]")
				return
			}
			f.pixels -= size
		}
		kept.WriteString(" " + a.Key + `="` + html.EscapeString(a.Val) + `"`)
	}
	if t.Data == "img" && kept.Len() == 0 {
		return
	}
	f.out.WriteString("<" + t.Data + kept.String())
	closed := t.Type == html.SelfClosingTagToken
	if closed && void {
		f.out.WriteString("/")
	}
	f.out.WriteString(">")
	if void {
		return
	}
	f.open = append(f.open, t.Data)
	if closed {
		f.pop()
	}
}

// end closes a tag that is open, and with it what stands open inside.
func (f *filter) end(tag string) {
	if f.silent != "" {
		if tag == f.silent {
			f.silent = ""
		}
		return
	}
	if !slices.Contains(f.open, tag) {
		return
	}
	for {
		last := f.open[len(f.open)-1]
		f.pop()
		if last == tag {
			return
		}
	}
}

func (f *filter) pop() {
	f.out.WriteString("</" + f.open[len(f.open)-1] + ">")
	f.open = f.open[:len(f.open)-1]
}

// harmlessLink allows what a person may click: web and Mumble, elsewhere. A
// link to this machine could press a button on a page of ours.
func harmlessLink(href string) bool {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil || !slices.Contains([]string{"http", "https", "mumble"}, strings.ToLower(u.Scheme)) {
		return false
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		a, err := netip.ParseAddr(host)
		return err == nil && elsewhere(a)
	}
	// As a browser reads it: full-width dots and digits are dots and digits.
	host, err = idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return false
	}
	a, number, ok := looseIPv4(host)
	return !number || ok && elsewhere(a)
}

// elsewhere reports whether an address is surely not this machine's own.
func elsewhere(a netip.Addr) bool {
	a = a.Unmap()
	if b := a.As16(); a.Is6() && [12]byte(b[:12]) == ([12]byte{}) {
		a = netip.AddrFrom4([4]byte(b[12:])) // ::127.0.0.1, and :: and ::1 as well
		return a.As4()[0] != 0 && !a.IsLoopback()
	}
	return !a.IsLoopback() && !(a.Is4() && a.As4()[0] == 0)
}

// looseIPv4 reads an IPv4 address as browsers and inet_aton do: one to four
// numbers, decimal, octal or hexadecimal, of which the last fills what is left
// (WHATWG URL, "IPv4 parser"). number says that host is meant as one at all.
func looseIPv4(host string) (a netip.Addr, number, ok bool) {
	parts := strings.Split(host, ".")
	last := parts[len(parts)-1]
	if _, err := strconv.ParseUint(last, 10, 64); err != nil && !strings.HasPrefix(strings.ToLower(last), "0x") && !errors.Is(err, strconv.ErrRange) {
		return a, false, false
	}
	if len(parts) > 4 {
		return a, true, false
	}
	var sum uint64
	for i, p := range parts {
		base := 10
		if rest, hex := strings.CutPrefix(strings.ToLower(p), "0x"); hex {
			p, base = rest, 16
			if p == "" {
				p = "0"
			}
		} else if len(p) > 1 && p[0] == '0' {
			base = 8
		}
		n, err := strconv.ParseUint(p, base, 32)
		most := uint64(255)
		if i == len(parts)-1 {
			most = 1<<(8*(5-len(parts))) - 1
		}
		if err != nil || n > most {
			return a, true, false
		}
		if i == len(parts)-1 {
			sum |= n
		} else {
			sum |= n << (8 * (3 - i))
		}
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true, true
}

// harmlessImage allows a picture that is wholly inside the text and not large
// once unpacked, and says how many pixels it has.
func harmlessImage(src string) (pixels int64, ok bool) {
	rest, ok := strings.CutPrefix(src, "data:image/")
	if !ok {
		return 0, false
	}
	kind, data, ok := strings.Cut(rest, ";base64,")
	if !ok || !slices.Contains([]string{"png", "jpeg", "jpg", "gif"}, strings.ToLower(kind)) {
		return 0, false
	}
	// The stock client percent-encodes the base64 and breaks its lines.
	if plain, err := url.PathUnescape(data); err == nil {
		data = plain
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data), ""))
	if err != nil {
		return 0, false
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil || !slices.Contains([]string{"png", "jpeg", "gif"}, format) || config.Width <= 0 || config.Height <= 0 ||
		config.Width > maxPixels || config.Height > maxPixels {
		return 0, false
	}
	return int64(config.Width) * int64(config.Height), true
}

// escape makes plain words fit for a line of HTML.
func escape(text string) string { return html.EscapeString(text) }
