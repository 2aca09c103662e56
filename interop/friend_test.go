package interop_test

import (
	"testing"

	"github.com/sotto-voip/sotto/interop/peers"
)

// TestFriendMark: somebody comes with the name and the Mumble certificate of a person
// whom alice knows, and with another key. Until she has said to go on, her client is not
// shown the certificate, by which it would know a friend.
func TestFriendMark(t *testing.T) {
	t.Parallel()
	server := peers.Start(t, peers.Murmur15, peers.ServerOptions{})
	hers := startGuard(t, "alice's guard", server.Addr(), automatic)
	alice := peers.DialRaw(t, hers.addr(), "alice", peers.RawOptions{Version: peers.Version134})
	cert := peers.NewCertificate(t, "bob")
	hash := func() string { return alice.Users()[alice.WaitUser(patience, "bob")].GetHash() }
	comes := func() (*peers.Raw, *guarded) {
		state := shortDir(t)
		importCertificate(t, state, cert) // and so another key of Sotto's each time
		g := startGuard(t, "bob's guard", server.Addr(), automatic, "--state", state)
		return peers.DialRaw(t, g.addr(), "bob", peers.RawOptions{Version: peers.Version134, Certificate: cert}), g
	}
	bob, his := comes()
	protected(hers, his)
	known := hash()
	if known == "" {
		t.Fatal("bob has no hash")
	}
	bob.Close()
	hers.wait("gate", func(e event) bool { return e.State == "Alone" })
	mark := hers.mark()
	comes()
	hers.waitFrom(mark, "question", func(e event) bool { return e.Code == "identity" })
	waitFor(t, "the hash is taken away", func() bool { return hash() == "" })
	alice.Text(0, "/sotto protect")
	waitFor(t, "the hash comes back", func() bool { return hash() == known })
}
