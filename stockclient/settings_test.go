package stockclient

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// owner is whose certificate a .p12 without password holds.
func owner(t *testing.T, p12 []byte) string {
	t.Helper()
	_, cert, err := pkcs12.Decode(p12, "")
	if err != nil {
		t.Fatalf("the certificate of %d bytes: %v", len(p12), err)
	}
	return cert.Subject.CommonName
}

// TestWrittenByClients: what 1.3.4 and 1.5.735 wrote when they were ended, less the
// geometry of their windows.
func TestWrittenByClients(t *testing.T) {
	ini, err := ParseINI(golden(t, "mumble-1.3.4.conf"))
	if err != nil {
		t.Fatal(err)
	}
	json, err := ParseJSON(golden(t, "mumble-1.5.735.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := Proxy{ProxySOCKS5, "127.0.0.1", 9050}
	if ini.Version != "1.3.4" || ini.Proxy != want || !ini.Hidden || ini.Username != "alice" {
		t.Errorf("1.3.4: version %q, proxy %v, hidden %v, name %q", ini.Version, ini.Proxy, ini.Hidden, ini.Username)
	}
	if json.Version != "1.5 or later" || json.Proxy != want || json.Hidden || json.Username != "" {
		t.Errorf("1.5: version %q, proxy %v, hidden %v, name %q", json.Version, json.Proxy, json.Hidden, json.Username)
	}
	if got := want.URL(); got != "socks5://127.0.0.1:9050" {
		t.Errorf("the proxy as URL: %s", got)
	}
	if who := owner(t, ini.Certificate); who != "alice" {
		t.Errorf("1.3.4: certificate of %q", who)
	}
	if who := owner(t, json.Certificate); who != "alice" {
		t.Errorf("1.5: certificate of %q", who)
	}
	if !bytes.Equal(ini.Certificate, json.Certificate) {
		t.Log("the two clients encode the same certificate in different ways")
	}
}

// TestCodec: with a codec, as 1.4 sets one, bytes from 0x80 on stand there as UTF-8
// of the character of that number; both forms are the same certificate.
func TestCodec(t *testing.T) {
	want, err := ParseINI(golden(t, "mumble-1.3.4.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("[net]\ncertificate=\"@ByteArray(")
	for _, c := range want.Certificate {
		switch {
		case c == '"' || c == '\\':
			out.WriteString(`\` + string(rune(c)))
		case c < 0x20:
			out.WriteString(`\x` + string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]) + `""`)
		default:
			out.WriteRune(rune(c))
		}
	}
	out.WriteString(")\"\n")
	got, err := ParseINI([]byte(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Certificate, want.Certificate) {
		t.Errorf("%d bytes, want %d", len(got.Certificate), len(want.Certificate))
	}
}

func TestINIValues(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{`k=plain`, "plain"},
		{`k = spaces around `, "spaces around"},
		{`k="quoted; with, marks"`, "quoted; with, marks"},
		{`k=before ; a comment`, "before"},
		{`k=\x41\x42`, "AB"},
		{`k=\x4`, "\x04"},
		{`k=\0\101`, "\x00A"},
		{`k=\a\b\f\n\r\t\v\\\"`, "\a\b\f\n\r\t\v\\\""},
		{`k=\xe4`, "ä"},
		{"k=\xe4", "ä"},
		{"k=ä", "ä"},
		{"k=\"two\nlines\"", "two\nlines"},
		{"k=one\\\ntwo", "onetwo"},
		{"k=one\\\r\ntwo", "onetwo"},
		{`k=\xg`, "g"},
		{`k=\`, ""},
		{`k=\q`, ""},
		{`k=`, ""},
		{"; a comment = 1\nk=after", "after"},
		{"nothing\nk=after", "after"},
		{"[]\n[net\nk=1\n[General]\nk=2", "2"},
		{"k=1\nk=2", "2"},
		{"\xef\xbb\xbfk=bom", "bom"},
		{"k=cr\r\n", "cr"},
	} {
		got, ok := parseINI([]byte(tt.line))["k"]
		if !ok || got != tt.want {
			t.Errorf("%q: %q, %v, want %q", tt.line, got, ok, tt.want)
		}
	}
	for _, line := range []string{"k=a, b", "[x]\nk=1", "[General", "k", ""} {
		if got, ok := parseINI([]byte(line))["k"]; ok {
			t.Errorf("%q: %q, want none", line, got)
		}
	}
	if got := parseINI([]byte("[a]\nb\\c=1"))["a/b/c"]; got != "1" {
		t.Errorf("a key below a key: %q", got)
	}
}

func TestByteArray(t *testing.T) {
	for in, want := range map[string][]byte{
		"@ByteArray(a\x00ÿ)": {'a', 0, 0xff}, "@ByteArray()": {}, "@ByteArray(": nil, "@ByteArray(€)": nil, "x": nil, "@Invalid()": nil,
	} {
		if got := byteArray(in); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// TestProxies: whatever cannot be understood counts as a proxy.
func TestProxies(t *testing.T) {
	for _, tt := range []struct {
		ini, json string
		want      Proxy
		url       string
	}{
		{"", ``, Proxy{}, ""},
		{"proxytype=0\nproxyhost=h\nproxyport=1", `"proxy_type":"None","proxy_host":"h","proxy_port":1`, Proxy{}, ""},
		{"proxytype=1\nproxyhost=h\nproxyport=8080", `"proxy_type":"Http","proxy_host":"h","proxy_port":8080`, Proxy{ProxyHTTP, "h", 8080}, "http://h:8080"},
		{"proxytype=2\nproxyhost=::1\nproxyport=9050", `"proxy_type":"Socks5","proxy_host":"::1","proxy_port":9050`, Proxy{ProxySOCKS5, "::1", 9050}, "socks5://[::1]:9050"},
		{"proxytype=2", `"proxy_type":"Socks5"`, Proxy{Type: ProxySOCKS5}, ""},
		{"proxytype=2\nproxyhost=h\nproxyport=70000", `"proxy_type":"Socks5","proxy_host":"h","proxy_port":70000`, Proxy{ProxySOCKS5, "h", 0}, ""},
		{"proxytype=3\nproxyhost=h\nproxyport=1", `"proxy_type":"Tor","proxy_host":"h","proxy_port":1`, Proxy{ProxyOther, "h", 1}, ""},
		{"proxytype=x", `"proxy_type":7`, Proxy{Type: ProxyOther}, ""},
		{"proxytype=1, 2", `"proxy_type":null`, Proxy{}, ""}, // the client reads none either
	} {
		ini, err := ParseINI([]byte("[net]\n" + tt.ini))
		if err != nil || ini.Proxy != tt.want || ini.Proxy.Set() != (tt.want.Type != ProxyNone) {
			t.Errorf("%q: %v, %v, want %v", tt.ini, ini.Proxy, err, tt.want)
		}
		js, err := ParseJSON([]byte(`{"settings_version":1,"network":{` + tt.json + `}}`))
		if err != nil || js.Proxy != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.json, js.Proxy, err, tt.want)
		}
		if got := js.Proxy.URL(); got != tt.url {
			t.Errorf("%s: URL %q, want %q", tt.json, got, tt.url)
		}
	}
}

func TestNoSettings(t *testing.T) {
	for _, in := range []string{"", "{", "null", "[]", "{}", `"x"`, `{"Settings_Version":1}`, strings.Repeat("[", 20000)} {
		if s, err := ParseJSON([]byte(in)); err == nil {
			t.Errorf("%.20q is taken for %+v", in, s)
		}
	}
	long := bytes.Repeat([]byte("\n"), maxSettings+1)
	if _, err := ParseINI(long); err == nil {
		t.Error("an INI of more than 4 MiB is read")
	}
	if _, err := ParseJSON(append([]byte(`{"settings_version":1}`), long...)); err == nil {
		t.Error("JSON of more than 4 MiB is read")
	}
	odd := `{"settings_version":1,"network":[],"certificate":5,"last_connection":"x","Certificate":"` + "QUFB" + `"}`
	s, err := ParseJSON([]byte(odd))
	if err != nil || s.Certificate != nil || s.Proxy.Set() || s.Username != "" {
		t.Errorf("%+v, %v: fields of other types, or of another case, count", s, err)
	}
	name, err := json.Marshal(strings.Repeat("x", maxName+1))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := ParseJSON([]byte(`{"settings_version":1,"last_connection":{"username":` + string(name) + `}}`)); err != nil || s.Username != "" {
		t.Errorf("a name of %d bytes, %v", len(s.Username), err)
	}
}

func TestVersion(t *testing.T) {
	for in, want := range map[string]string{
		"1.3.4": "1.3.4", "1.3.4-4": "1.3.4", "1.4.287~snapshot": "1.4.287", "": "", "x1.3": "", "1": "", "1.2\x1b[2J": "1.2",
		strings.Repeat("1.", 200): "",
	} {
		if got := version(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzParse: no file makes us panic, or report more than it holds.
func FuzzParse(f *testing.F) {
	f.Add(golden(f, "mumble-1.3.4.conf"))
	f.Add(golden(f, "mumble-1.5.735.json"))
	f.Add([]byte("[net]\ncertificate=@ByteArray(\\x3\\0)\nproxytype=2\n"))
	f.Add([]byte("a=\\"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (Settings, error){ParseINI, ParseJSON} {
			s, err := parse(b)
			if err != nil {
				continue
			}
			if len(s.Certificate) > len(b) || len(s.Username) > maxName || len(s.Proxy.Host) > maxName {
				t.Errorf("%d bytes of certificate, name %q, host %q from %d bytes", len(s.Certificate), s.Username, s.Proxy.Host, len(b))
			}
			if !s.Proxy.Set() && s.Proxy != (Proxy{}) {
				t.Errorf("no proxy, and yet %v", s.Proxy)
			}
			s.Proxy.URL()
		}
	})
}
