package mls_test

import (
	"bytes"
	"fmt"
	"log"
	"time"

	"github.com/sotto-voip/sotto/mls"
)

// client is what a person brings: a name, a signature key, a way to judge others.
func client(name string) (mls.Profile, *mls.Config) {
	key, err := mls.GenerateSignatureKey(mls.X25519AES128GCM)
	if err != nil {
		log.Fatal(err)
	}
	profile := mls.Profile{
		Credential:   mls.BasicCredential([]byte(name)),
		Capabilities: mls.DefaultCapabilities().WithGREASE(),
		SignatureKey: key,
	}
	// A real Authentication Service looks up whether the key belongs to the name.
	return profile, &mls.Config{Authenticate: func(id mls.Identity) error { return nil }}
}

// Example follows the protocol execution of RFC 9420 §3.2: A makes a group, adds
// B, B updates, and A removes B.
func Example() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	lifetime := mls.LifetimeAround(now, time.Hour, 24*time.Hour)
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}

	// B publishes a KeyPackage.
	profileB, configB := client("B")
	packageB, err := mls.NewKeyPackage(mls.X25519AES128GCM, profileB, lifetime)
	check(err)

	// A makes a group and adds B.
	profileA, configA := client("A")
	a, err := mls.NewGroup(configA, mls.GroupOptions{CipherSuite: mls.X25519AES128GCM, Profile: profileA, Lifetime: lifetime}, now)
	check(err)
	verified, err := packageB.KeyPackage.Verify(configA, now)
	check(err)
	commit, err := a.Commit(mls.CommitOptions{Proposals: []mls.Proposal{verified.Add()}}, now)
	check(err)
	welcome := commit.Welcomes()[0]
	check(a.Merge(commit)) // the Delivery Service took it

	// B joins with the Welcome, and deletes its one-time keys.
	b, err := mls.Join(configB, welcome, packageB, mls.JoinOptions{}, now)
	check(err)
	packageB.Wipe()
	fmt.Println("epoch", b.Epoch(), "same view:", bytes.Equal(a.EpochAuthenticator(), b.EpochAuthenticator()))

	// They talk.
	message, err := a.Protect([]byte("hello"), nil)
	check(err)
	received, err := b.Read(message, now)
	check(err)
	fmt.Printf("B reads %q\n", received.(*mls.ApplicationMessage).Data)

	// B proposes new keys for itself, A commits them.
	update, err := b.ProposeUpdate(nil, nil, now)
	check(err)
	_, err = a.Read(update, now)
	check(err)
	commit, err = a.Commit(mls.CommitOptions{}, now)
	check(err)
	staged, err := b.Read(commit.Message(), now)
	check(err)
	check(a.Merge(commit))
	check(b.Merge(staged.(*mls.StagedCommit)))
	fmt.Println("epoch", b.Epoch(), "same view:", bytes.Equal(a.EpochAuthenticator(), b.EpochAuthenticator()))

	// A removes B.
	commit, err = a.Commit(mls.CommitOptions{Proposals: []mls.Proposal{mls.Remove{Removed: b.OwnIndex()}}}, now)
	check(err)
	staged, err = b.Read(commit.Message(), now)
	check(err)
	fmt.Println("removes us:", staged.(*mls.StagedCommit).RemovesUs())
	check(b.Merge(staged.(*mls.StagedCommit)))
	fmt.Println("B active:", b.Active())

	// Output:
	// epoch 1 same view: true
	// B reads "hello"
	// epoch 2 same view: true
	// removes us: true
	// B active: false
}

// ExampleJoinExternal is RFC 9420 §3.3: Z joins with a GroupInfo, without anybody
// having to come online for it.
func ExampleJoinExternal() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	profileA, configA := client("A")
	a, err := mls.NewGroup(configA, mls.GroupOptions{
		CipherSuite: mls.X25519AES128GCM, Profile: profileA, Lifetime: mls.LifetimeAround(now, 0, time.Hour),
	}, now)
	if err != nil {
		log.Fatal(err)
	}
	info, err := a.ExternalGroupInfo(mls.TreeInWelcome)
	if err != nil {
		log.Fatal(err)
	}

	profileZ, configZ := client("Z")
	z, commit, err := mls.JoinExternal(configZ, info, mls.ExternalOptions{Profile: profileZ}, now)
	if err != nil {
		log.Fatal(err)
	}
	staged, err := a.Read(commit, now)
	if err != nil {
		log.Fatal(err)
	}
	c := staged.(*mls.StagedCommit)
	joins := a.Member(c.Committer()) == nil
	if err := a.Merge(c); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s joins: %v, same view: %v\n", z.Member(c.Committer()).Credential.Identity, joins, bytes.Equal(a.EpochAuthenticator(), z.EpochAuthenticator()))
	// Output: Z joins: true, same view: true
}

// ExampleGroup_Export derives a key for something else, the same for all members
// and new in each epoch.
func ExampleGroup_Export() {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	profile, config := client("A")
	g, err := mls.NewGroup(config, mls.GroupOptions{
		CipherSuite: mls.X25519AES128GCM, Profile: profile, Lifetime: mls.LifetimeAround(now, 0, time.Hour),
	}, now)
	if err != nil {
		log.Fatal(err)
	}
	key, err := g.Export("example file key", []byte("file 1"), 32)
	fmt.Println(len(key), err)
	// Output: 32 <nil>
}
