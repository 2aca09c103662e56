package guard_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// lasting makes a certificate of the server for an address, until some time from now.
func lasting(t *testing.T, ip net.IP, d time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{ip},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(d),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// MS21: the stock client sees guard's certificate and not the server's, so guard says
// at first contact which one it remembers and what speaks against it, in the client's
// window and to programs; and not again. What is remembered decides from then on,
// also after it has expired.
func TestFirstContact(t *testing.T) {
	here := net.IPv4(127, 0, 0, 1)
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		wants []string
		not   []string
	}{
		{"in time", lasting(t, here, time.Hour), []string{"nobody whom this computer trusts"}, []string{"expired", "another name"}},
		{"expired", lasting(t, here, -24*time.Hour), []string{"it expired on ", "nobody whom this computer trusts"}, []string{"another name"}},
		{"for another name", lasting(t, net.IPv4(192, 0, 2, 1), time.Hour), []string{"it is for another name"}, []string{"expired"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, options{policy: e2ee.PolicyOff, cert: &c.cert})
			mine := selfSigned(t, "alice")
			print := keystore.Fingerprint(sha256.Sum256(c.cert.Certificate[0]))
			call := s.logIn(v15, v15, &mine)
			e := s.wantKind("server_pinned")
			line := ""
			for line == "" {
				m, _ := until[*mumblepb.TextMessage](call.client)
				if strings.Contains(m.GetMessage(), "First contact") {
					line = m.GetMessage()
				}
			}
			t.Log(line)
			if e.Fingerprint != print || !strings.Contains(line, print) || !strings.HasPrefix(line, "Sotto: ") {
				t.Errorf("%+v, %q", e, line)
			}
			for _, words := range c.wants {
				if !strings.Contains(e.Reason, words) || !strings.Contains(line, words) {
					t.Errorf("no %q in %q and %q", words, e.Reason, line)
				}
			}
			for _, words := range c.not {
				if strings.Contains(e.Reason, words) || strings.Contains(line, words) {
					t.Errorf("%q in %q", words, line)
				}
			}
			// Again: it is known now, whatever speaks against it.
			again := s.connect(&mine)
			again.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
			server := s.upstream()
			server.send(version(v15))
			until[*mumblepb.Authenticate](server)
			server.send(&mumblepb.ChannelState{ChannelId: proto.Uint32(0), Name: proto.String("Root")}, user(alice, 0, "alice"), &mumblepb.ServerSync{Session: proto.Uint32(alice)})
			until[*mumblepb.ServerSync](again)
			for _, f := range fenced(server, again, func() { server.send(user(bobby, 0, "bob")) }) {
				if strings.Contains(string(f.Body), "First contact") {
					t.Error("it is said again")
				}
			}
			// Another certificate, though nothing speaks against it, is refused.
			s.mu.Lock()
			s.cert = lasting(t, here, time.Hour)
			s.mu.Unlock()
			third := s.connect(&mine)
			third.send(version(v15), &mumblepb.Authenticate{Username: proto.String("alice")})
			if r, _ := until[*mumblepb.Reject](third); !strings.Contains(r.GetReason(), "another certificate") {
				t.Errorf("refused with %v", r)
			}
		})
	}
}
