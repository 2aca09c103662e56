package mls_test

import (
	"errors"
	"testing"

	"github.com/sotto-voip/sotto/mls"
)

// TestRequiredExtensions is a group as Sotto makes them (Sotto protocol §2): an
// extension in each leaf and one in the group, both required, Commits by value.
func TestRequiredExtensions(t *testing.T) {
	const inLeaf, inGroup mls.ExtensionType = 0xF510, 0xF511
	for _, cs := range []mls.CipherSuite{mls.MLKEM768X25519AES128GCM, mls.X25519AES128GCM} {
		t.Run(cs.String(), func(t *testing.T) {
			profile := func(name string) mls.Profile {
				p := newProfile(t, cs, name)
				p.Capabilities = mls.Capabilities{
					Versions: []mls.ProtocolVersion{mls.MLS10}, CipherSuites: []mls.CipherSuite{mls.MLKEM768X25519AES128GCM, mls.X25519AES128GCM},
					Extensions: []mls.ExtensionType{inLeaf, inGroup}, Credentials: []mls.CredentialType{mls.CredentialBasic},
				}.WithGREASE()
				p.Extensions = []mls.Extension{{Type: inLeaf, Data: []byte(name)}}
				return p
			}
			ext := func(state byte) []mls.Extension {
				return []mls.Extension{
					mls.RequiredCapabilities{Extensions: []mls.ExtensionType{inLeaf, inGroup}, Credentials: []mls.CredentialType{mls.CredentialBasic}}.Extension(),
					{Type: inGroup, Data: []byte{state}},
				}
			}
			cfg := testConfig()
			founder, err := mls.NewGroup(cfg, mls.GroupOptions{CipherSuite: cs, ID: make([]byte, 16), Profile: profile("a"), Lifetime: lifetime(), Extensions: ext(0)}, now)
			if err != nil {
				t.Fatal(err)
			}
			w := &world{TB: t, cs: cs, cfg: cfg, members: []*mls.Group{founder}, reload: true}
			for _, name := range []string{"b", "c"} {
				kp, err := mls.NewKeyPackage(cs, profile(name), lifetime())
				if err != nil {
					t.Fatal(err)
				}
				w.commit(0, mls.CommitOptions{Path: mls.PathIfRequired}, kp)
			}
			w.talk()
			c := w.commit(2, mls.CommitOptions{Proposals: []mls.Proposal{mls.GroupContextExtensions{Extensions: ext(1)}}})
			if e := c.Extensions(); len(e) != 2 || e[1].Data[0] != 1 || !c.HasPath() || c.Proposals()[0].ByRef {
				t.Errorf("extensions %v", e)
			}
			w.commit(1, mls.CommitOptions{Proposals: []mls.Proposal{
				mls.Remove{Removed: w.members[2].OwnIndex()},
				mls.PreSharedKey{PSK: mls.PreSharedKeyID{Type: mls.PSKExternal, ID: make([]byte, 16), Nonce: make([]byte, 32)}},
			}})
			w.talk()
			for _, m := range w.members[0].Members() {
				if len(m.Leaf.Extensions) != 1 || m.Leaf.Extensions[0].Type != inLeaf {
					t.Errorf("leaf %d has %v", m.Index, m.Leaf.Extensions)
				}
			}
			// Whoever cannot do what is required stays outside.
			stranger := newKeyPackage(t, cs, "stranger")
			if _, err := w.members[0].Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: stranger.KeyPackage}}}, now); !errors.Is(err, mls.ErrLeafNode) {
				t.Errorf("a stranger: %v", err)
			}
		})
	}
}
