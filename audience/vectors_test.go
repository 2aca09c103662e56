package audience_test

import (
	"flag"
	"testing"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/internal/vectors"
)

var update = flag.Bool("update", false, "write the files of docs/spec/vectors anew that this package makes")

// The sizes of docs/spec/vectors/appdata.json are those that texts are padded to.
func TestVectorsPadding(t *testing.T) {
	type size struct {
		vectors.Case
		Commit  bool `json:"commit"`
		Content int  `json:"content"`
		Padding int  `json:"padding"`
	}
	f := vectors.Read[struct {
		About    []string `json:"about"`
		Start    int64    `json:"start_ms"`
		Received any      `json:"received"`
		Padding  []size   `json:"padding"`
	}](t, "../docs/spec/vectors/appdata.json")
	for _, c := range f.Padding {
		if got := audience.Padding(c.Commit, c.Content); (got == c.Padding) != c.Valid {
			t.Errorf("%s: %d", c.Why, got)
		}
	}
	if len(f.Padding) == 0 {
		t.Error("no sizes")
	}
}
