package vectors

import (
	"bytes"
	"path/filepath"
	"testing"
)

// What is written is read again, whatever runs are in it.
func TestHex(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		text string
	}{
		{nil, ""},
		{[]byte{1, 2, 0xFF}, "0102ff"},
		{bytes.Repeat([]byte{0}, 40), "00000000000000000000000000000000000000000000000000000000000000000000000000000000"},
		{bytes.Repeat([]byte{0}, 41), "00*41"},
		{append(append([]byte{1}, bytes.Repeat([]byte{0xA5}, 300)...), 2), "01 a5*300 02"},
		{append(bytes.Repeat([]byte{1}, 50), bytes.Repeat([]byte{2}, 50)...), "01*50 02*50"},
	} {
		text, err := Hex(c.b).MarshalText()
		if err != nil || string(text) != c.text {
			t.Errorf("%x is written %s, %v", c.b, text, err)
		}
		var back Hex
		if err := back.UnmarshalText([]byte(c.text)); err != nil || !bytes.Equal(back, c.b) {
			t.Errorf("%s is read %x, %v", c.text, []byte(back), err)
		}
	}
	for _, bad := range []string{"0", "xx", "01  02", " 01", "01 ", "0102*3", "*3", "01*", "01*0", "01*-1", "01*1048577"} {
		var h Hex
		if err := h.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is read as %x", bad, []byte(h))
		}
	}
}

func TestFile(t *testing.T) {
	type part struct {
		Case
		Body Hex `json:"body"`
	}
	type file struct {
		About []string `json:"about"`
		Key   Hex      `json:"key"`
		N     int      `json:"n"`
		Parts []part   `json:"parts"`
	}
	f := file{[]string{"a <b> & c"}, Hex{1}, 7, []part{{Good("one"), Hex{2}}, {Bad("%s", "two"), nil}}}
	const want = `{
 "about": [
  "a <b> & c"
 ],
 "key": "01",
 "n": 7,
 "parts": [
  {"why":"one","valid":true,"body":"02"},
  {"why":"two","valid":false,"body":""}
 ]
}
`
	if b, err := Bytes(f); err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	name := filepath.Join(t.TempDir(), "a", "b.json")
	got := Golden(t, true, name, f)
	if len(got.Parts) != 2 || got.Parts[0].Why != "one" || got.Parts[1].Valid || got.N != 7 {
		t.Errorf("%+v", got)
	}
}
