package mls

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// secretsOf walks over everything that a value reaches and collects each byte
// slice of 16 bytes or more.
func secretsOf(v reflect.Value, seen map[uintptr]bool, out *[][]byte) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			secretsOf(v.Elem(), seen, out)
		}
	case reflect.Interface:
		if !v.IsNil() {
			secretsOf(v.Elem(), seen, out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			secretsOf(v.Field(i), seen, out)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			secretsOf(it.Value(), seen, out)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Len() >= 12 {
				*out = append(*out, v.Bytes())
			}
			return
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			secretsOf(v.Index(i), seen, out)
		}
	}
}

// holds reports whether a group holds needle, in memory or as it is stored.
func holds(t *testing.T, g *Group, needle []byte) bool {
	t.Helper()
	var all [][]byte
	secretsOf(reflect.ValueOf(g), map[uintptr]bool{}, &all)
	b, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, needle) || slices.ContainsFunc(all, func(b []byte) bool { return bytes.Contains(b, needle) })
}

// TestSecretsAreDeleted checks the deletion schedule of RFC 9420 §9.2 and the
// end of §7.5 on what a group holds.
func TestSecretsAreDeleted(t *testing.T) {
	for _, past := range []int{0, 1} {
		g := testGroup(t, X25519AES128GCM, 4)
		for _, m := range g {
			cfg := *m.cfg
			cfg.PastEpochs = past
			m.cfg = &cfg
		}
		alice, bob := g[0], g[1]
		keep := func(s secret) []byte { return bytes.Clone(s) }

		// A message key and what it was derived from.
		root := keep(alice.ratchets.nodes[root(4)])
		if len(root) == 0 || !holds(t, alice, root) {
			t.Fatal("the search finds nothing")
		}
		f, err := alice.ratchets.find(1, ratchetApplication, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		key, nonce, first := keep(f.key), keep(f.nonce), keep(f.both[ratchetApplication].secret)
		m, err := bob.Protect([]byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Read(m, atTime); err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string][]byte{"encryption_secret": root, "key": key, "nonce": nonce, "ratchet secret": first} {
			if holds(t, alice, s) {
				t.Errorf("%s is still there after a message was read", name)
			}
		}
		if holds(t, bob, key) || holds(t, bob, root) {
			t.Error("the sender still holds a used key")
		}

		// A skipped key is kept, and gone once used.
		late, _ := bob.Protect([]byte("late"), nil)
		f, err = alice.ratchets.find(1, ratchetApplication, 1, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		key = keep(f.key)
		m, _ = bob.Protect([]byte("early"), nil)
		if _, err := alice.Read(m, atTime); err != nil {
			t.Fatal(err)
		}
		if !holds(t, alice, key) {
			t.Error("a skipped key is gone")
		}
		if _, err := alice.Read(late, atTime); err != nil {
			t.Error(err)
		}
		if holds(t, alice, key) {
			t.Error("a skipped key is still there after use")
		}

		// The epoch.
		old := map[string][]byte{
			"init_secret": keep(alice.secrets.init), "exporter_secret": keep(alice.secrets.exporter), "external_secret": keep(alice.secrets.external),
			"membership_key": keep(alice.secrets.membership), "resumption_psk": keep(alice.secrets.resumption), "epoch_authenticator": keep(alice.secrets.authenticator),
		}
		if past == 0 {
			old["sender_data_secret"] = keep(alice.secrets.senderData)
			for x, s := range alice.ratchets.nodes {
				old["subtree"+string(rune('0'+x))] = keep(s)
			}
			for id, r := range alice.ratchets.ratchets {
				old["ratchet"+string(rune('0'+id.leaf))+string(rune('0'+id.kind))] = keep(r.secret)
			}
		}
		keys := maps.Clone(alice.keys)
		for x := range keys {
			keys[x] = keep(keys[x])
		}
		commitAll(t, g, 1, CommitOptions{}) // renews the root and node 1, keeps alice's leaf
		for name, s := range old {
			if holds(t, alice, s) {
				t.Errorf("%s is still there in the next epoch", name)
			}
		}
		if past > 0 {
			if p := alice.past[0]; len(p.ratchets.nodes[nodeIndex(2)]) > 0 {
				t.Error("the committer's subtree is still there")
			} else if _, err := p.ratchets.find(1, ratchetHandshake, 0, 10, 0); !errors.Is(err, ErrGeneration) {
				t.Errorf("the key of the Commit is still there: %v", err)
			}
		}
		for x, k := range keys {
			if gone := x != 0; holds(t, alice, k) == gone {
				t.Errorf("private key of node %d: deleted should be %v", x, gone)
			}
		}
		commitAll(t, g, 0, CommitOptions{})
		if holds(t, alice, keys[0]) {
			t.Error("the key of our own leaf is still there after our Commit")
		}

		// After our removal nothing is left.
		auth := alice.EpochAuthenticator()
		own := keep(alice.keys[0])
		commitAll(t, g, 2, CommitOptions{Proposals: []Proposal{Remove{0}}})
		if holds(t, alice, auth) || holds(t, alice, own) || alice.Active() {
			t.Error("something is left after our removal")
		}
	}
}

// TestStagedCommitsChangeNothing: until Merge, and after Discard, a group is as
// it was, except for the key that sending a PrivateMessage uses up.
func TestStagedCommitsChangeNothing(t *testing.T) {
	for _, format := range []WireFormat{WireFormatPublicMessage, WireFormatPrivateMessage} {
		g := testGroup(t, X25519AES128GCM, 3)
		cfg := *g[1].cfg
		cfg.Handshake = format
		for _, m := range g {
			m.cfg = &cfg
		}
		state := func(m *Group) []byte {
			b, err := m.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		before := [2][]byte{state(g[0]), state(g[1])}
		c, err := g[1].Commit(CommitOptions{Proposals: []Proposal{Remove{2}}}, atTime)
		if err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(before[1], state(g[1])); same != (format == WireFormatPublicMessage) {
			t.Errorf("state is the same after making a Commit: %v", same)
		}
		r, err := g[0].Read(c.Message(), atTime)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before[0], state(g[0])) {
			t.Error("reading a Commit changes the group")
		}
		r.(*StagedCommit).Discard()
		if !bytes.Equal(before[0], state(g[0])) {
			t.Error("discarding a Commit changes the group")
		}
		if err := g[0].Merge(r.(*StagedCommit)); err == nil {
			t.Error("a discarded Commit is merged")
		}
		if r, err = g[0].Read(c.Message(), atTime); err != nil {
			t.Fatal(err)
		}
		if err := g[1].Merge(r.(*StagedCommit)); err == nil {
			t.Error("a Commit is merged into another's group")
		}
		again, err := g[0].Read(c.Message(), atTime)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := again.(*StagedCommit).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := g[0].Merge(r.(*StagedCommit)); err != nil {
			t.Fatal(err)
		}
		if _, err := again.(*StagedCommit).Marshal(); err != nil {
			t.Error(err)
		}
		if _, err := r.(*StagedCommit).Marshal(); !errors.Is(err, ErrStale) {
			t.Errorf("a merged Commit is stored: %v", err)
		}
		if _, err := g[0].UnmarshalStagedCommit(stored); !errors.Is(err, ErrStale) {
			t.Errorf("a Commit of the last epoch is read: %v", err)
		}
		if err := g[0].Merge(again.(*StagedCommit)); err == nil {
			t.Error("a stale Commit is merged")
		}
		if err := g[1].Merge(c); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(g[0].EpochAuthenticator(), g[1].EpochAuthenticator()) {
			t.Error("epochs differ")
		}
	}
}
