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
	pixels := int64(maxPixels)
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
				writeTag(&out, t, &pixels)
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

// writeTag writes what is harmless of a tag. Pictures take their size off pixels.
func writeTag(out *strings.Builder, t html.Token, pixels *int64) {
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
		case a.Key == "src":
			size, ok := harmlessImage(a.Val)
			if !ok || size > *pixels {
				out.WriteString("[a picture is not shown]")
				return
			}
			*pixels -= size
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
