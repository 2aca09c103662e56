// Package mls is Messaging Layer Security, RFC 9420: keys for groups of two to
// thousands, who may come and go, with forward secrecy and recovery after a
// compromise, over a server that need not be trusted with anything but delivery.
//
// It is pure: no socket, file, clock, lock or goroutine. Time is a parameter,
// messages come in and go out as values, and a [Group] is stored by its owner
// with [Group.Marshal] after each method that changes it.
//
// # The way of a group
//
//	founder                           joiner
//	-------                           ------
//	NewGroup                          NewKeyPackage  --- KeyPackage --->
//	KeyPackage.Verify
//	Group.Commit(Add) --- Commit ---> others: Group.Read, Group.Merge
//	Group.Merge       --- Welcome --> Join
//	Group.Protect     --- message --> Group.Read
//
// A Commit, our own or another's, is a [StagedCommit] first. Nothing changes
// until it is merged: look at what it does, apply rules of the application, ask
// a person, then call [Group.Merge] or [StagedCommit.Discard]. Our own Commit is
// merged when the application knows that it is the one all take (§14).
//
// What a Parse function returns is unverified. Verified are: a [VerifiedKeyPackage],
// what [Group.Read] returns, and a Group that [Join] or [JoinExternal] returns.
//
// # On the wire
//
//	MLSMessage      version(2) wire_format(2) and one of:
//	PublicMessage   group_id<V> epoch(8) sender authenticated_data<V> content_type(1)
//	                content signature<V> [confirmation_tag<V>] [membership_tag<V>]
//	PrivateMessage  group_id<V> epoch(8) content_type(1) authenticated_data<V>
//	                encrypted_sender_data<V> ciphertext<V>
//	Welcome         cipher_suite(2) secrets<V> encrypted_group_info<V>
//	GroupInfo       GroupContext extensions<V> confirmation_tag<V> signer(4) signature<V>
//	KeyPackage      version(2) cipher_suite(2) init_key<V> LeafNode extensions<V> signature<V>
//
// x<V> has its length in front, in one, two or four bytes (§2.1.2). Decoders take
// only the one encoding of a value, and allocate at most ten times their input
// and 128 KiB; blank leaves of a ratchet tree cost more and are bounded apart
// ([Config.MaxLeaves]).
//
// # Chapters of RFC 9420, and the files that hold them
//
//	§2.1          codec.go                     presentation language
//	§5.1, §17.1   suite.go crypto.go hpke.go signature_key.go low_order.go
//	§5.2          crypto.go (refHash)
//	§5.3          credential.go x509.go config.go (Authenticate)
//	§6, §6.1, §6.2  framing.go message.go      signatures, PublicMessage
//	§6.3          private_message.go
//	§7.1, §7.7    tree.go tree_codec.go        ratchet tree
//	§7.2          leaf_node.go
//	§7.3          leaf_validate.go key_set.go
//	§7.4 to §7.6  treekem.go private_keys.go update_path.go
//	§7.8, §7.9    tree_hash.go
//	§8            key_schedule.go
//	§8.1          group_context.go
//	§8.4          psk.go proposal_apply.go (lookup)
//	§9            secret_tree.go deletion.go
//	§10           key_package.go own_key_package.go
//	§11           group.go group_view.go
//	§11.1, §13.4  extension.go
//	§11.2, §11.3  reinit.go
//	§12.1         proposal.go propose.go pending.go
//	§12.1.8       external.go read.go (senderKey)
//	§12.2         proposal_list.go
//	§12.3         proposal_apply.go
//	§12.4         commit.go
//	§12.4.1       commit_create.go staged_commit.go
//	§12.4.2       read.go commit_process.go
//	§12.4.3       welcome.go group_info.go
//	§12.4.3.1     join.go tree_validate.go
//	§12.4.3.2     external.go
//	§13.5, §17    registry.go
//	§15           application.go
//	Appendix C    tree_math.go
//
// group_state.go, group_restore.go and staged_state.go have the stored form, which
// is this package's own; errors.go the
// errors, each of which names the section that was broken; insecure_suite.go a suite
// for tests of other packages, that does not protect anything.
//
// # What it does not do
//
// It does not deliver messages, choose between Commits of one epoch, check
// certificate chains or decide who may do what; the application does, with
// [Config] and with what a StagedCommit shows. It has no suites with Curve448 and
// no proposal types beyond RFC 9420. Secrets are overwritten when §9.2 wants them
// deleted, as far as a garbage collected language allows: copies that the runtime
// or crypto packages made are out of reach.
package mls
