package guard

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/gif"
	"image/png"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// pngOf is the beginning of a PNG that claims a size: all that a header check reads.
func pngOf(width, height uint32) string {
	b := []byte("\x89PNG\r\n\x1a\n")
	ihdr := append([]byte("IHDR"), binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)...)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(ihdr)-4))
	b = append(b, ihdr...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr)))
}

func data(kind, raw string) string {
	return "data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString([]byte(raw))
}

func smallPNG(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func smallGIF(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	if err := gif.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2)), nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const refused = "[a picture is not shown]"

func TestFilterHTML(t *testing.T) {
	small := data("png", smallPNG(t))
	head, body, _ := strings.Cut(small, ",")
	encoded := head + "," + url.QueryEscape(body)
	for _, c := range []struct{ name, in, want string }{
		{"plain words", "hello", "hello"},
		{"words that look like tags", "1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"},
		{"entities stay what they are", "&lt;b&gt; &amp;amp;", "&lt;b&gt; &amp;amp;"},
		{"what Mumble writes", `<p>a <b>b</b> <i>c</i> <u>d</u><br/><a href="https://example.org/x?y=1&amp;z">l</a></p>`,
			`<p>a <b>b</b> <i>c</i> <u>d</u><br/><a href="https://example.org/x?y=1&amp;z">l</a></p>`},
		{"case does not matter", `<B>x</B>`, `<b>x</b>`},
		{"unknown tags go, words stay", `<blink>x</blink><video src="http://x"></video>`, `x`},
		{"attributes go", `<b onclick="x()" style="color:red" id=a>x</b>`, `<b>x</b>`},
		{"the attributes of a font stay", `<font color="#f00" face="x" size=3>x</font>`, `<font color="#f00" size="3">x</font>`},
		{"an attribute cannot break out", `<font color='"><script>'>x</font>`, `<font color="&#34;&gt;&lt;script&gt;">x</font>`},
		{"script", `a<script>alert(1)</script>b`, `ab`},
		{"script that does not end", `a<script>alert(1)`, `a`},
		{"script in script", `<script><script>x</script>y</script>z`, `yz`},
		{"style", `a<style>body{background:url(http://x)}</style>b`, `ab`},
		{"svg with a picture", `a<svg><image href="http://x"/><text>t</text></svg>b`, `ab`},
		{"a tag inside a silent one", `<svg><b>x</b></svg><b>y</b>`, `<b>y</b>`},
		{"object, iframe", `<object data=x>1</object><iframe src=http://x>2</iframe>3`, `3`},
		{"form", `<form action="http://x"><input type=submit value=go></form>`, ``},
		{"meta and link and base", `<meta http-equiv=refresh content="0;url=http://x"><link rel=stylesheet href=http://x><base href=http://x>a`, `a`},
		{"comment", `a<!-- <img src=http://x> -->b`, `ab`},
		{"conditional comment", `a<![if IE]>b<![endif]>c`, `abc`},
		{"doctype", `<!DOCTYPE html>a`, `a`},
		{"processing instruction", `<?php x ?>a`, `a`},
		{"cdata", `<![CDATA[<b>]]>`, `]]&gt;`},
		{"nul", "a\x00b", "a\x00b"},
		{"plaintext", `a<plaintext>b<b>`, `a`},
		{"a remote picture", `<img src="http://example.org/x.png">`, refused},
		{"a remote picture without a scheme", `<img src="//example.org/x.png">`, refused},
		{"a file", `<img src="file:///etc/passwd">`, refused},
		{"a resource of the client", `<img src="skin:x.svg">`, refused},
		{"no source", `<img alt=x>`, ``},
		{"a small picture", `<img src="` + small + `"/>`, `<img src="` + html.EscapeString(small) + `"/>`},
		{"a small gif", `<img src="` + data("gif", smallGIF(t)) + `">`, `<img src="` + html.EscapeString(data("gif", smallGIF(t))) + `">`},
		{"a size attribute", `<img width=99999 height=99999 src="` + small + `">`, `<img src="` + html.EscapeString(small) + `">`},
		{"percent-encoded as the client does", `<img src="` + encoded + `">`, `<img src="` + html.EscapeString(encoded) + `">`},
		{"svg as data", `<img src="` + data("svg+xml", "<svg/>") + `">`, refused},
		{"svg that calls itself png", `<img src="` + data("png", "<svg xmlns='http://www.w3.org/2000/svg'/>") + `">`, refused},
		{"another type", `<img src="` + data("webp", "RIFF") + `">`, refused},
		{"no base64", `<img src="data:image/png;base64,!!!">`, refused},
		{"not base64 at all", `<img src="data:image/png,abc">`, refused},
		{"a type with a parameter", `<img src="` + strings.Replace(small, ";base64", ";charset=x;base64", 1) + `">`, refused},
		{"a bomb by its header", `<img src="` + data("png", pngOf(60000, 60000)) + `">`, refused},
		{"the largest number there is", `<img src="` + data("png", pngOf(1<<31-1, 1<<31-1)) + `">`, refused},
		{"no size", `<img src="` + data("png", pngOf(0, 5)) + `">`, refused},
		{"two sources", `<img src="` + small + `" src="http://x">`, `<img src="` + html.EscapeString(small) + `">`},
		{"javascript", `<a href="javascript:x()">l</a>`, `<a>l</a>`},
		{"javascript in disguise", "<a href=\" java\tscript:x()\">l</a>", `<a>l</a>`},
		{"file link", `<a href="file:///x">l</a>`, `<a>l</a>`},
		{"data link", `<a href="data:text/html,x">l</a>`, `<a>l</a>`},
		{"relative link", `<a href="/x">l</a>`, `<a>l</a>`},
		{"a Mumble link", `<a href="mumble://example.org/x">l</a>`, `<a href="mumble://example.org/x">l</a>`},
		{"two targets", `<a href="https://example.org" href="javascript:x()">l</a>`, `<a href="https://example.org">l</a>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := filterHTML(c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// Many small bombs are one large one: the client unpacks all of them.
func TestPicturesTogether(t *testing.T) {
	one := `<img src="` + data("png", pngOf(2000, 2000)) + `"/>`
	out := filterHTML(strings.Repeat(one, 10))
	if shown := strings.Count(out, "<img"); shown != 4 {
		t.Errorf("%d pictures of 4 million pixels are shown, want 4", shown)
	}
	if n := strings.Count(out, refused); n != 6 {
		t.Errorf("%d are refused", n)
	}
	if out := filterHTML(`<img src="` + data("png", pngOf(4000, 4000)) + `"/>`); !strings.HasPrefix(out, "<img") {
		t.Errorf("a picture of 16 million pixels: %.40s", out)
	}
}

func TestHarmlessLink(t *testing.T) {
	for _, c := range []struct {
		href string
		want bool
	}{
		{"https://example.org/", true}, {"HTTP://EXAMPLE.ORG", true}, {"  https://example.org  ", true},
		{"mumble://example.org:64738/Lobby", true}, {"http://1.2.3.4:80/", true}, {"http://128.0.0.1", true},
		{"http://[2001:db8::1]/", true}, {"http://m\u00fcller.example/", true}, {"http://126.255.255.255/", true},
		{"http://4294967040x.example/", true}, {"http://1.2.3.example/", true},
		{"", false}, {"example.org", false}, {"//example.org", false}, {"http:///x", false}, {"http:127.0.0.1", false},
		{"javascript:alert(1)", false}, {"file:///etc/passwd", false}, {"ftp://example.org", false}, {"sotto:x", false}, {"vbscript:x", false},
		{"http://localhost", false}, {"http://LOCALHOST:80", false}, {"http://localhost./", false}, {"http://a.localhost/", false},
		{"http://127.0.0.1", false}, {"http://127.0.0.1.", false}, {"http://127.1", false}, {"http://127.255.255.254", false},
		{"http://user:pw@127.0.0.1:80/", false}, {"http://0x7f000001", false}, {"http://0X7F.1", false}, {"http://2130706433", false},
		{"http://017700000001", false}, {"http://0177.0.0.1", false}, {"http://127.0.0x0.1", false}, {"http://127.0.1", false},
		{"http://0", false}, {"http://0.0.0.0", false}, {"http://0x0", false}, {"http://0x", false},
		{"http://[::1]", false}, {"http://[::]", false}, {"http://[0:0:0:0:0:0:0:1]:80", false}, {"http://[::ffff:127.0.0.1]", false},
		{"http://[::ffff:7f00:1]", false}, {"http://[::127.0.0.1]", false}, {"http://[::ffff:0.0.0.0]", false}, {"http://[::1%25lo]", false},
		{"http://\uff11\uff12\uff17.0.0.1", false}, {"http://127\u30020\u30020\u30021", false}, {"http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/", false},
		{"http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3", false},
		{"http://1.2.3.4.5", false}, {"http://256.0.0.1", false}, {"http://1.2.3.999", false}, {"http://99999999999999999999", false},
		{"http://127.0.0.1\\@example.org", false}, {"http://%31%32%37.0.0.1", false}, {"http://local\thost", false}, {"mumble://[::1]:64738/", false},
	} {
		if got := harmlessLink(c.href); got != c.want {
			t.Errorf("%q: %v, want %v", c.href, got, c.want)
		}
	}
}

func TestFilterHTMLBounds(t *testing.T) {
	if out := filterHTML(strings.Repeat("x", maxHTML)); len(out) != maxHTML {
		t.Errorf("the longest text gives %d bytes", len(out))
	}
	if out := filterHTML(strings.Repeat("x", maxHTML+1)); len(out) > 100 {
		t.Errorf("one byte more gives %d bytes", len(out))
	}
	for _, s := range []string{`"`, `'`, `<`, `&`, `<img src=x>`, `<a href="http://e">`, `<b>`, `<svg>`, "\x00", `<font color='"'>`} {
		in := strings.Repeat(s, maxHTML/len(s))
		if out := filterHTML(in); len(out) > 6*maxHTML {
			t.Errorf("%q grows to %d bytes", s, len(out))
		}
	}
}

// FuzzFilterHTML reads what comes out as a client would, and accepts only what is
// on the list.
func FuzzFilterHTML(f *testing.F) {
	f.Add(`<p>a <b>b</b><a href="https://example.org">l</a><img src="` + data("png", smallPNG(f)) + `"/></p>`)
	f.Add(`<script>x</script><svg><script>y</script></svg><style>z</style>`)
	f.Add(`<img src="http://x"><a href="javascript:x">l</a><a href=http://0x7f.1>`)
	f.Add(`<xmp><b></xmp><noembed><img src=x></noembed><noframes>a</noframes>`)
	f.Add("<b\x00 onclick=x><a/href=//x><<b>&#60;script>")
	f.Fuzz(func(t *testing.T, in string) {
		out := filterHTML(in)
		if len(out) > 6*len(in)+100 {
			t.Fatalf("%d bytes grow to %d", len(in), len(out))
		}
		if again := filterHTML(out); len(out) <= maxHTML && again != out {
			t.Errorf("not stable:\n%q\n%q", out, again)
		}
		z := html.NewTokenizer(strings.NewReader(out))
		for {
			switch z.Next() {
			case html.ErrorToken:
				return
			case html.CommentToken, html.DoctypeToken:
				t.Errorf("%q comes through", z.Raw())
			case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
				tok := z.Token()
				allowed, ok := allowedTags[tok.Data]
				if !ok || slices.Contains(silentTags, tok.Data) {
					t.Errorf("tag %q comes through", tok.Data)
				}
				for _, a := range tok.Attr {
					if !slices.Contains(allowed, a.Key) {
						t.Errorf("attribute %q of %q comes through", a.Key, tok.Data)
					}
					switch a.Key {
					case "href":
						u, err := url.Parse(strings.TrimSpace(a.Val))
						if err != nil || !slices.Contains([]string{"http", "https", "mumble"}, u.Scheme) {
							t.Errorf("link %q comes through", a.Val)
						}
					case "src":
						if !strings.HasPrefix(a.Val, "data:image/") {
							t.Errorf("picture %.40q comes through", a.Val)
						}
					}
				}
			case html.TextToken:
			}
		}
	})
}

// What the stock client would choke on: measured with 1.3.4, a thousand nested
// tables, ten thousand bold letters and two thousand quotes each held it up for
// ten seconds and more.
func TestFilterHTMLDepth(t *testing.T) {
	for _, tag := range []string{"<table><tr><td>", "<b>", "<blockquote>", "<ul><li>", "<b></b>", "<br>", "<hr>"} {
		out := filterHTML(strings.Repeat(tag, 3000) + "end")
		if n := strings.Count(out, "<"); n > 2*maxTags {
			t.Errorf("%s: %d tags are left", tag, n)
		}
		if !strings.Contains(out, "end") {
			t.Errorf("%s: the words are gone", tag)
		}
		depth, most := 0, 0
		for _, part := range strings.Split(out, "<")[1:] {
			switch {
			case strings.HasPrefix(part, "/"):
				depth--
			case !strings.HasPrefix(part, "br") && !strings.HasPrefix(part, "hr"):
				depth++
			}
			most = max(most, depth)
		}
		if depth != 0 || most > maxDepth {
			t.Errorf("%s: %d deep, %d left open", tag, most, depth)
		}
	}
}

// A line stays a line, whatever is in it.
func TestFilterLine(t *testing.T) {
	for _, in := range []string{
		"a<br/>Sotto: all is well", "a<p>Sotto: b</p>", "a\nSotto: b", "a\u2028Sotto: b", "<table><tr><td>a</td></tr></table>Sotto: b",
		"a<div>Sotto: b</div>", "<pre>a\nSotto: b</pre>", "<ul><li>a<li>Sotto: b</ul>", "<blockquote>a</blockquote>Sotto: b", "a<hr>Sotto: b", "<h1>a</h1>b",
	} {
		out := filterLine(in)
		for _, bad := range []string{"<br", "<p", "<t", "<d", "<u", "<l", "<bl", "<h", "\n", "\u2028"} {
			if strings.Contains(out, bad) {
				t.Errorf("%q became %q", in, out)
			}
		}
	}
	if got := filterLine(`<b>bold</b> and <a href="https://example.org/">a link</a>`); got != `<b>bold</b> and <a href="https://example.org/">a link</a>` {
		t.Errorf("got %q", got)
	}
}
