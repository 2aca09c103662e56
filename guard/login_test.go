package guard

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// The password that guard was given goes with its name, where the client gives none.
func TestPasswordOfLink(t *testing.T) {
	g := &Guard{cfg: Config{Name: "alice", Password: "given"}}
	for _, c := range []struct{ name, password, want string }{
		{"alice", "", "given"}, {"alice", "typed", "typed"}, {"bob", "", ""}, {"SuperUser", "", ""},
	} {
		a := &mumblepb.Authenticate{Username: &c.name}
		if c.password != "" {
			a.Password = proto.String(c.password)
		}
		if got := g.authenticateUp(a).GetPassword(); got != c.want {
			t.Errorf("%s with %q sends %q, want %q", c.name, c.password, got, c.want)
		}
		if a.GetPassword() != c.password {
			t.Error("the client's message was changed")
		}
	}
}
