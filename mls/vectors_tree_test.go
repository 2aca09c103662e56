package mls

import (
	"bytes"
	"slices"
	"testing"
)

// trusting accepts everybody; the vectors know no Authentication Service.
var trusting = &Config{
	Authenticate: func(Identity) error { return nil },
	MaxLifetime:  -1, PastEpochs: 4, ResumptionEpochs: 1000,
}

func TestVectorsTreeOperations(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Before     hexBytes    `json:"tree_before"`
		Proposal   hexBytes
		Sender     LeafIndex `json:"proposal_sender"`
		HashBefore hexBytes  `json:"tree_hash_before"`
		After      hexBytes  `json:"tree_after"`
		HashAfter  hexBytes  `json:"tree_hash_after"`
	}
	eachVector(t, "tree-operations.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		tree := must(parseTree(s, v.Before))(t)
		wantBytes(t, "hash before", tree.hash(), v.HashBefore)
		keep := tree.clone()
		switch p := must(parse(v.Proposal, decodeProposal))(t).(type) {
		case Add:
			tree.add(p.KeyPackage.LeafNode)
		case Update:
			tree.update(v.Sender, p.LeafNode)
		case Remove:
			tree.remove(p.Removed)
		default:
			t.Fatalf("proposal %T", p)
		}
		wantBytes(t, "tree after", tree.append(nil), v.After)
		wantBytes(t, "hash after", tree.hash(), v.HashAfter)
		wantBytes(t, "clone", keep.append(nil), v.Before)
	})
}

func TestVectorsTreeValidation(t *testing.T) {
	type vector struct {
		Suite       CipherSuite `json:"cipher_suite"`
		Tree        hexBytes
		GroupID     hexBytes `json:"group_id"`
		Resolutions [][]nodeIndex
		Hashes      []hexBytes `json:"tree_hashes"`
	}
	eachVector(t, "tree-validation.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		tree := must(parseTree(s, v.Tree))(t)
		wantBytes(t, "encoding", tree.append(nil), v.Tree)
		for x := range nodeIndex(2*len(tree.leaves) - 1) {
			if got := tree.resolution(nil, x, nil); !slices.Equal(got, v.Resolutions[x]) {
				t.Errorf("resolution of %d: %v, want %v", x, got, v.Resolutions[x])
			}
			wantBytes(t, "tree hash", tree.nodeHash(x), v.Hashes[x])
		}
		rules := must(newLeafRules(s, trusting, v.GroupID, nil))(t)
		if err := tree.checkAll(rules); err != nil {
			t.Error(err)
		}
		// Each parent node counts: with another parent_hash the tree is refused.
		for k, p := range tree.parents {
			if p != nil {
				bad := tree.clone()
				q := *p
				q.EncryptionKey = must2(s.hpke.generate())
				bad.setParent(nodeIndex(2*k+1), &q)
				bad.changed(nodeIndex(2*k + 1))
				if bad.checkStructure() == nil {
					t.Errorf("a tree with a foreign key at node %d is accepted", 2*k+1)
				}
			}
		}
	})
}

func must2(_ secret, public []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return public
}

func TestVectorsTreeKEM(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		GroupID    hexBytes    `json:"group_id"`
		Epoch      uint64
		Transcript hexBytes `json:"confirmed_transcript_hash"`
		Tree       hexBytes `json:"ratchet_tree"`
		Private    []struct {
			Index       LeafIndex
			Encryption  hexBytes `json:"encryption_priv"`
			Signature   hexBytes `json:"signature_priv"`
			PathSecrets []struct {
				Node   nodeIndex
				Secret hexBytes `json:"path_secret"`
			} `json:"path_secrets"`
		} `json:"leaves_private"`
		Paths []struct {
			Sender       LeafIndex
			Path         hexBytes   `json:"update_path"`
			PathSecrets  []hexBytes `json:"path_secrets"`
			CommitSecret hexBytes   `json:"commit_secret"`
			HashAfter    hexBytes   `json:"tree_hash_after"`
		} `json:"update_paths"`
	}
	eachVector(t, "treekem.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		before := must(parseTree(s, v.Tree))(t)
		private := map[LeafIndex]privateKeys{}
		signers := map[LeafIndex]*SignaturePrivateKey{}
		for _, p := range v.Private {
			keys := privateKeys{p.Index.node(): secret(p.Encryption)}
			for _, n := range p.PathSecrets {
				keys[n.Node] = must(s.node(secret(n.Secret)))(t).private
			}
			for x, k := range keys {
				wantBytes(t, "public key", must(s.hpke.public(k))(t), before.encryptionKey(x))
			}
			private[p.Index] = keys
			signers[p.Index] = must(ParseSignatureKey(v.Suite, p.Signature))(t)
		}
		ctx := GroupContext{MLS10, v.Suite, v.GroupID, v.Epoch, nil, v.Transcript, nil}
		for _, u := range v.Paths {
			path := must(parse(u.Path, decodeUpdatePath))(t)
			merged := before.clone()
			fdp, copath, err := merged.merge(u.Sender, path)
			if err != nil {
				t.Fatal(err)
			}
			ctx.TreeHash = merged.hash()
			wantBytes(t, "tree hash after", ctx.TreeHash, u.HashAfter)
			for j, keys := range private {
				if j == u.Sender {
					continue
				}
				got, err := merged.open(path, fdp, copath, j, keys.clone(), nil, ctx.append(nil))
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, "commit secret", got, u.CommitSecret)
				k := slices.IndexFunc(copath, func(x nodeIndex) bool { return x.covers(j.node()) })
				wantBytes(t, "path secret's key", must(s.node(secret(u.PathSecrets[j])))(t).public, path.Nodes[k].EncryptionKey)
			}

			ours := before.clone()
			n, err := ours.renew(u.Sender, ours.leaf(u.Sender), signers[u.Sender], v.GroupID)
			if err != nil {
				t.Fatal(err)
			}
			ctx.TreeHash = ours.hash()
			sealed := must(n.seal(ours, nil, ctx.append(nil)))(t)
			theirs := before.clone()
			fdp, copath, err = theirs.merge(u.Sender, sealed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(theirs.hash(), ours.hash()) {
				t.Error("sender and receiver have different trees")
			}
			for j, keys := range private {
				if j != u.Sender {
					got, err := theirs.open(sealed, fdp, copath, j, keys.clone(), nil, ctx.append(nil))
					if err != nil {
						t.Fatal(err)
					}
					wantBytes(t, "own commit secret", got, n.commitSecret)
				}
			}
		}
	})
}
