// Package vectors writes and reads the files of docs/spec/vectors, the test
// vectors of the protocol, for the tests of the packages that implement it.
//
// A file is one JSON object. Its member about says in words what the others are; a
// list has one element in a line. An element that is a case has why and valid: a
// receiver must take what is valid, and must refuse what is not. Byte strings are
// [Hex].
//
// Only tests import it.
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Case stands in everything that must be taken or refused.
type Case struct {
	Why   string `json:"why"`
	Valid bool   `json:"valid"`
}

// Good is a case that must be taken, Bad one that must be refused.
func Good(format string, args ...any) Case { return Case{fmt.Sprintf(format, args...), true} }

// Bad is a case that must be refused.
func Bad(format string, args ...any) Case { return Case{fmt.Sprintf(format, args...), false} }

// Hex is a byte string in hex digits. Pieces may stand apart by one blank, and a
// piece of two digits, a star and a number is that byte so many times: "01 a5*300 02"
// has 302 bytes.
type Hex []byte

// shortRun is how many equal bytes are written out.
const shortRun = 40

// MarshalText writes long runs of one byte short.
func (h Hex) MarshalText() ([]byte, error) {
	var pieces []string
	start := 0
	plain := func(end int) {
		if start < end {
			pieces = append(pieces, hex.EncodeToString(h[start:end]))
		}
	}
	for i := 0; i < len(h); {
		n := 1
		for i+n < len(h) && h[i+n] == h[i] {
			n++
		}
		if n > shortRun {
			plain(i)
			pieces = append(pieces, fmt.Sprintf("%02x*%d", h[i], n))
			start = i + n
		}
		i += n
	}
	plain(len(h))
	return []byte(strings.Join(pieces, " ")), nil
}

// maxRun bounds what one piece can become.
const maxRun = 1 << 20

// UnmarshalText reads what MarshalText writes.
func (h *Hex) UnmarshalText(text []byte) error {
	*h = nil
	if len(text) == 0 {
		return nil
	}
	for _, piece := range strings.Split(string(text), " ") {
		digits, times, repeated := strings.Cut(piece, "*")
		b, err := hex.DecodeString(digits)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return errors.New("vectors: a blank too many")
		}
		n := 1
		if repeated {
			if n, err = strconv.Atoi(times); err != nil || len(b) != 1 || n < 1 || n > maxRun {
				return errors.New("vectors: not a repeated byte: " + piece)
			}
		}
		*h = append(*h, bytes.Repeat(b, n)...)
	}
	return nil
}

// Bytes is a file with the members of the struct v.
func Bytes(v any) ([]byte, error) {
	var out bytes.Buffer
	value := reflect.ValueOf(v)
	line := func(v any) error {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(v)
		out.Write(bytes.TrimSpace(b.Bytes()))
		return err
	}
	out.WriteString("{")
	for i := range value.NumField() {
		if i > 0 {
			out.WriteByte(',')
		}
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		fmt.Fprintf(&out, "\n %q: ", name)
		f := value.Field(i)
		if f.Kind() != reflect.Slice || f.Type().Elem().Kind() == reflect.Uint8 {
			if err := line(f.Interface()); err != nil {
				return nil, err
			}
			continue
		}
		out.WriteByte('[')
		for n := range f.Len() {
			if n > 0 {
				out.WriteByte(',')
			}
			out.WriteString("\n  ")
			if err := line(f.Index(n).Interface()); err != nil {
				return nil, err
			}
		}
		out.WriteString("\n ]")
	}
	out.WriteString("\n}\n")
	return out.Bytes(), nil
}

// Write writes a file anew.
func Write(t testing.TB, file string, v any) {
	t.Helper()
	b, err := Bytes(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Read reads a file whose members are those of T.
func Read[T any](t testing.TB, file string) (v T) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// Golden compares a file with what a reference makes now, and returns what the file
// says. With update it is written first.
func Golden[T any](t testing.TB, update bool, file string, made T) T {
	t.Helper()
	if update {
		Write(t, file, made)
	}
	want, err := Bytes(made)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the reference makes; look at the difference, then run this test with -update", file)
	}
	return Read[T](t, file)
}
