package mls_test

import (
	"fmt"
	"log"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// ExampleStagedCommit looks at a Commit of somebody else before it takes effect
// (RFC 9420 §12.4.2): B's application allows nobody without a name, so it discards
// the first Commit of A, and merges the second.
func ExampleStagedCommit() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	lifetime := mls.LifetimeAround(now, time.Hour, 24*time.Hour)
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	keyPackage := func(name string) (*mls.OwnKeyPackage, *mls.Config) {
		profile, config := client(name)
		own, err := mls.NewKeyPackage(mls.X25519AES128GCM, profile, lifetime)
		check(err)
		return own, config
	}

	// A and B are in a group.
	profileA, configA := client("A")
	a, err := mls.NewGroup(configA, mls.GroupOptions{CipherSuite: mls.X25519AES128GCM, Profile: profileA, Lifetime: lifetime}, now)
	check(err)
	packageB, configB := keyPackage("B")
	commit, err := a.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Add{KeyPackage: packageB.KeyPackage}}}, now)
	check(err)
	check(a.Merge(commit))
	b, err := mls.Join(configB, commit.Welcomes()[0], packageB, mls.JoinOptions{}, now)
	check(err)

	for _, name := range []string{"", "C"} {
		own, _ := keyPackage(name)
		commit, err := a.Commit(mls.CommitOptions{
			Proposals: []mls.Proposal{mls.Add{KeyPackage: own.KeyPackage}},
			Path:      mls.PathIfRequired, // an Add does not need one
		}, now)
		check(err)
		received, err := b.Read(commit.Message(), now)
		check(err)
		staged := received.(*mls.StagedCommit)

		// Nothing has changed yet. These are the members as they would be.
		allowed := true
		for _, m := range staged.Members() {
			allowed = allowed && len(m.Leaf.Credential.Identity) > 0
		}
		fmt.Printf("leaf %d commits %d proposal, adds leaf %d, allowed: %v\n", staged.Committer(), len(staged.Proposals()), staged.Added()[0], allowed)
		if !allowed {
			staged.Discard()
			commit.Discard() // A learns that nobody takes it
			continue
		}
		check(b.Merge(staged))
		check(a.Merge(commit))
	}
	fmt.Println("epoch", b.Epoch(), "with", len(b.Members()), "members")

	// Output:
	// leaf 0 commits 1 proposal, adds leaf 2, allowed: false
	// leaf 0 commits 1 proposal, adds leaf 2, allowed: true
	// epoch 2 with 3 members
}
