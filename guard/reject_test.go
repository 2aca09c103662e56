package guard

import (
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// A refusal is repeated for a minute, and for the same attempt only.
func TestRefusal(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	arrived := func(cert, user, password string) *arrival {
		return &arrival{cert: []byte(cert), auth: &mumblepb.Authenticate{Username: proto.String(user), Password: proto.String(password)}}
	}
	shown := func(cert string) upstreamIdentity {
		return upstreamIdentity{cert: &tls.Certificate{Certificate: [][]byte{[]byte(cert)}}}
	}
	of := shown("guard").attempt(arrived("c", "alice", "pw"))
	r := refusal{of: of, reason: "no", until: now.Add(refusalLife)}
	if r.words(now, of) != "no" || r.words(now.Add(refusalLife-1), of) != "no" || r.words(now.Add(refusalLife), of) != "" {
		t.Error("a refusal does not last a minute")
	}
	for name, other := range map[string]attempt{
		"another certificate of the client": shown("guard").attempt(arrived("d", "alice", "pw")),
		"an imported certificate":           shown("imported").attempt(arrived("c", "alice", "pw")),
		"no certificate":                    upstreamIdentity{}.attempt(arrived("c", "alice", "pw")),
		"another name":                      shown("guard").attempt(arrived("c", "alicep", "w")),
		"another password":                  shown("guard").attempt(arrived("c", "alice", "")),
	} {
		if r.words(now, other) != "" {
			t.Errorf("%s is refused without asking the server", name)
		}
	}
	if (&refusal{}).words(now, attempt{}) != "" {
		t.Error("the zero refusal refuses")
	}
}
