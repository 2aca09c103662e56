package mls

import (
	"bytes"
	"testing"

	"github.com/sotto-voip/sotto/internal/vectors"
)

// The exporter values of docs/spec/vectors/keys.json are those of both suites.
func TestVectorsSottoExporter(t *testing.T) {
	type vector struct {
		vectors.Case
		Exporter vectors.Hex `json:"exporter_secret"`
		Label    string      `json:"label"`
		Context  vectors.Hex `json:"context"`
		Value    vectors.Hex `json:"value"`
	}
	f := vectors.Read[struct {
		About    []string `json:"about"`
		Exporter []vector `json:"exporter"`
		Steps    any      `json:"steps"`
		Keys     any      `json:"keys"`
	}](t, "../docs/spec/vectors/keys.json")
	for _, cs := range []CipherSuite{0xF47A, X25519AES128GCM} {
		s, err := cs.suite()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Exporter {
			if got := s.export(secret(c.Exporter), c.Label, c.Context, 32); bytes.Equal(got, c.Value) != c.Valid {
				t.Errorf("suite %#04x, %s: %x", uint16(cs), c.Why, []byte(got))
			}
		}
	}
	if len(f.Exporter) == 0 {
		t.Error("no exporter values")
	}
}
