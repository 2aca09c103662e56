package mls

import (
	"encoding/hex"
	"testing"
	"time"
)

var atTime = time.Unix(1750000000, 0)

func TestVectorsKeySchedule(t *testing.T) {
	type vector struct {
		Suite   CipherSuite `json:"cipher_suite"`
		GroupID hexBytes    `json:"group_id"`
		Init    hexBytes    `json:"initial_init_secret"`
		Epochs  []struct {
			TreeHash      hexBytes `json:"tree_hash"`
			Commit        hexBytes `json:"commit_secret"`
			PSK           hexBytes `json:"psk_secret"`
			Transcript    hexBytes `json:"confirmed_transcript_hash"`
			Context       hexBytes `json:"group_context"`
			Joiner        hexBytes `json:"joiner_secret"`
			Welcome       hexBytes `json:"welcome_secret"`
			Init          hexBytes `json:"init_secret"`
			SenderData    hexBytes `json:"sender_data_secret"`
			Encryption    hexBytes `json:"encryption_secret"`
			Exporter      hexBytes `json:"exporter_secret"`
			Authenticator hexBytes `json:"epoch_authenticator"`
			External      hexBytes `json:"external_secret"`
			Confirmation  hexBytes `json:"confirmation_key"`
			Membership    hexBytes `json:"membership_key"`
			Resumption    hexBytes `json:"resumption_psk"`
			ExternalPub   hexBytes `json:"external_pub"`
			Export        struct {
				Label   string
				Context hexBytes
				Length  int
				Secret  hexBytes
			} `json:"exporter"`
		}
	}
	eachVector(t, "key-schedule.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		init := secret(v.Init)
		for i, e := range v.Epochs {
			ctx := GroupContext{MLS10, v.Suite, v.GroupID, uint64(i), e.TreeHash, e.Transcript, nil}
			wantBytes(t, "group context", ctx.append(nil), e.Context)
			joiner := s.joinerSecret(init, secret(e.Commit), e.Context)
			wantBytes(t, "joiner", joiner, e.Joiner)
			psk := secret(e.PSK)
			if psk == nil {
				psk = s.zero()
			}
			member := s.memberSecret(joiner, psk)
			wantBytes(t, "welcome", s.welcomeSecret(member), e.Welcome)
			n := s.startEpoch(member, e.Context)
			wantBytes(t, "init", n.init, e.Init)
			wantBytes(t, "sender data", n.senderData, e.SenderData)
			wantBytes(t, "encryption", n.encryption, e.Encryption)
			wantBytes(t, "exporter", n.exporter, e.Exporter)
			wantBytes(t, "authenticator", n.authenticator, e.Authenticator)
			wantBytes(t, "external", n.external, e.External)
			wantBytes(t, "confirmation", n.confirmation, e.Confirmation)
			wantBytes(t, "membership", n.membership, e.Membership)
			wantBytes(t, "resumption", n.resumption, e.Resumption)
			_, public, err := s.externalKey(n.external)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "external_pub", public, e.ExternalPub)
			wantBytes(t, "exported", s.export(n.exporter, e.Export.Label, e.Export.Context, e.Export.Length), e.Export.Secret)
			init = n.init
		}
	})
}

func TestVectorsTranscriptHashes(t *testing.T) {
	type vector struct {
		Suite     CipherSuite `json:"cipher_suite"`
		Key       hexBytes    `json:"confirmation_key"`
		Content   hexBytes    `json:"authenticated_content"`
		Before    hexBytes    `json:"interim_transcript_hash_before"`
		Confirmed hexBytes    `json:"confirmed_transcript_hash_after"`
		Interim   hexBytes    `json:"interim_transcript_hash_after"`
	}
	eachVector(t, "transcript-hashes.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		a := must(parse(v.Content, decodeAuthenticatedContent))(t)
		wantBytes(t, "confirmed", s.confirmedTranscriptHash(v.Before, a), v.Confirmed)
		wantBytes(t, "interim", s.interimTranscriptHash(v.Confirmed, a.tag), v.Interim)
		if a.content.Commit == nil || !s.verifyMAC(secret(v.Key), v.Confirmed, a.tag) {
			t.Error("confirmation tag")
		}
		if s.verifyMAC(secret(v.Key), v.Confirmed, a.tag[:len(a.tag)-1]) || s.verifyMAC(secret(v.Key), v.Confirmed, nil) {
			t.Error("a shorter tag is accepted")
		}
	})
}

func TestVectorsPSKSecret(t *testing.T) {
	type vector struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID    hexBytes `json:"psk_id"`
			PSK   hexBytes
			Nonce hexBytes `json:"psk_nonce"`
		}
		Secret hexBytes `json:"psk_secret"`
	}
	eachVector(t, "psk_secret.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		var ids []PreSharedKeyID
		var psks []secret
		for _, p := range v.PSKs {
			ids = append(ids, PreSharedKeyID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce})
			psks = append(psks, secret(p.PSK))
		}
		wantBytes(t, "psk_secret", s.pskSecret(ids, psks), v.Secret)
	})
}

func TestVectorsSecretTree(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		SenderData struct {
			Secret     hexBytes `json:"sender_data_secret"`
			Ciphertext hexBytes
			Key, Nonce hexBytes
		} `json:"sender_data"`
		Encryption hexBytes `json:"encryption_secret"`
		Leaves     [][]struct {
			Generation       uint32
			HandshakeKey     hexBytes `json:"handshake_key"`
			HandshakeNonce   hexBytes `json:"handshake_nonce"`
			ApplicationKey   hexBytes `json:"application_key"`
			ApplicationNonce hexBytes `json:"application_nonce"`
		}
	}
	eachVector(t, "secret-tree.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		key, nonce := s.senderDataKey(secret(v.SenderData.Secret), v.SenderData.Ciphertext)
		wantBytes(t, "sender data key", key, v.SenderData.Key)
		wantBytes(t, "sender data nonce", nonce, v.SenderData.Nonce)
		tree := newSecretTree(s, len(v.Leaves), secret(v.Encryption))
		for i, leaf := range v.Leaves {
			for _, g := range leaf {
				for kind, want := range map[ratchetKind][2]hexBytes{
					ratchetHandshake: {g.HandshakeKey, g.HandshakeNonce}, ratchetApplication: {g.ApplicationKey, g.ApplicationNonce},
				} {
					f, err := tree.find(LeafIndex(i), kind, g.Generation, 1000, 8)
					if err != nil {
						t.Fatal(err)
					}
					wantBytes(t, "key", f.key, want[0])
					wantBytes(t, "nonce", f.nonce, want[1])
					f.consume()
					if _, err := tree.find(LeafIndex(i), kind, g.Generation, 1000, 8); err == nil {
						t.Error("a used key is found again")
					}
				}
			}
		}
	})
}

func TestVectorsMessages(t *testing.T) {
	type vector map[string]hexBytes
	eachVector(t, "messages.json", nil, func(t *testing.T, _ *suite, v *vector) {
		for name, b := range *v {
			var got []byte
			var err error
			switch name {
			case "ratchet_tree":
				var tree *tree
				if tree, err = parseTree(suites[0], b); err == nil {
					got = tree.append(nil)
				}
			case "group_secrets":
				var g *groupSecrets
				if g, err = parse(b, decodeGroupSecrets); err == nil {
					got = g.append(nil)
				}
			case "commit":
				var c *Commit
				if c, err = parse(b, decodeCommit); err == nil {
					got = c.append(nil)
				}
			case "add_proposal", "update_proposal", "remove_proposal", "pre_shared_key_proposal", "re_init_proposal",
				"external_init_proposal", "group_context_extensions_proposal":
				types := map[string]ProposalType{"add_proposal": 1, "update_proposal": 2, "remove_proposal": 3, "pre_shared_key_proposal": 4,
					"re_init_proposal": 5, "external_init_proposal": 6, "group_context_extensions_proposal": 7}
				b = append(appendUint16(nil, types[name]), b...)
				var p Proposal
				if p, err = parse(b, decodeProposal); err == nil {
					got = appendProposal(nil, p)
				}
			default:
				var m *Message
				if m, err = ParseMessage(b); err == nil {
					got = m.Marshal()
				}
			}
			if err != nil || hex.EncodeToString(got) != hex.EncodeToString(b) {
				t.Errorf("%s: %v\n got %.80x\nwant %.80x", name, err, got, []byte(b))
			}
		}
	})
}

func TestVectorsMessageProtection(t *testing.T) {
	type vector struct {
		Suite           CipherSuite `json:"cipher_suite"`
		GroupID         hexBytes    `json:"group_id"`
		Epoch           uint64
		TreeHash        hexBytes `json:"tree_hash"`
		Transcript      hexBytes `json:"confirmed_transcript_hash"`
		Priv            hexBytes `json:"signature_priv"`
		Pub             hexBytes `json:"signature_pub"`
		Encryption      hexBytes `json:"encryption_secret"`
		SenderData      hexBytes `json:"sender_data_secret"`
		Membership      hexBytes `json:"membership_key"`
		Proposal        hexBytes
		ProposalPub     hexBytes `json:"proposal_pub"`
		ProposalPriv    hexBytes `json:"proposal_priv"`
		Commit          hexBytes
		CommitPub       hexBytes `json:"commit_pub"`
		CommitPriv      hexBytes `json:"commit_priv"`
		Application     hexBytes
		ApplicationPriv hexBytes `json:"application_priv"`
	}
	eachVector(t, "message-protection.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		ctx := GroupContext{MLS10, v.Suite, v.GroupID, v.Epoch, v.TreeHash, v.Transcript, nil}
		context := ctx.append(nil)
		k := must(ParseSignatureKey(v.Suite, v.Priv))(t)
		newTree := func() *secretTree { return newSecretTree(s, 2, append(secret(nil), v.Encryption...)) }
		open := func(m *PrivateMessage, tree *secretTree) *authenticatedContent {
			d := must(m.openSenderData(s, secret(v.SenderData)))(t)
			f := must(tree.find(d.leaf, m.ContentType.ratchet(), d.generation, 100, 0))(t)
			a := must(m.openContent(s, d, f))(t)
			f.consume()
			return a
		}
		check := func(a *authenticatedContent, raw []byte) {
			t.Helper()
			if err := s.verifyWithLabel(v.Pub, "FramedContentTBS", a.tbs(context), a.signature); err != nil {
				t.Error(err)
			}
			got := a.content.appendContent(nil)
			if a.content.ContentType == ContentApplication {
				got = a.content.Application
			}
			wantBytes(t, "content", got, raw)
		}
		for _, c := range []struct {
			kind           ContentType
			raw, pub, priv []byte
		}{
			{ContentProposal, v.Proposal, v.ProposalPub, v.ProposalPriv},
			{ContentCommit, v.Commit, v.CommitPub, v.CommitPriv},
			{ContentApplication, v.Application, nil, v.ApplicationPriv},
		} {
			a := &authenticatedContent{content: FramedContent{GroupID: v.GroupID, Epoch: v.Epoch, Sender: Sender{Type: SenderMember, Leaf: 1}, ContentType: c.kind}}
			switch c.kind {
			case ContentApplication:
				a.content.Application = c.raw
			case ContentProposal:
				a.content.Proposal = must(parse(c.raw, decodeProposal))(t)
			case ContentCommit:
				a.content.Commit = must(parse(c.raw, decodeCommit))(t)
				a.tag = make([]byte, s.nh)
			}
			if c.pub != nil {
				m := must(ParseMessage(c.pub))(t).Public
				check(must(m.unprotect(s, secret(v.Membership), context))(t), c.raw)
				a.wireFormat = WireFormatPublicMessage
				a.signature = must(s.signWithLabel(k, "FramedContentTBS", a.tbs(context)))(t)
				ours := must(protectPublic(s, a, secret(v.Membership), context))(t)
				check(must(ours.unprotect(s, secret(v.Membership), context))(t), c.raw)
			} else if _, err := protectPublic(s, a, secret(v.Membership), context); err == nil {
				t.Error("application data in a PublicMessage")
			}
			check(open(must(ParseMessage(c.priv))(t).Private, newTree()), c.raw)
			a.wireFormat = WireFormatPrivateMessage
			a.signature = must(s.signWithLabel(k, "FramedContentTBS", a.tbs(context)))(t)
			ours := must(protectPrivate(s, a, secret(v.SenderData), newTree(), 17))(t)
			check(open(ours, newTree()), c.raw)
		}
	})
}

func TestVectorsWelcome(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		InitPriv   hexBytes    `json:"init_priv"`
		Signer     hexBytes    `json:"signer_pub"`
		KeyPackage hexBytes    `json:"key_package"`
		Welcome    hexBytes
	}
	eachVector(t, "welcome.json", func(v *vector) CipherSuite { return v.Suite }, func(t *testing.T, s *suite, v *vector) {
		kp := must(ParseMessage(v.KeyPackage))(t).KeyPackage
		w := must(ParseMessage(v.Welcome))(t).Welcome
		e := w.entry(kp.ref(s))
		if e == nil {
			t.Fatal("no entry for the KeyPackage")
		}
		plain := must(s.decryptWithLabel(secret(v.InitPriv), "Welcome", w.EncryptedGroupInfo, e.Secrets))(t)
		gs := must(parse(plain, decodeGroupSecrets))(t)
		member := s.memberSecret(gs.joiner, s.zero())
		key, nonce := s.welcomeKey(s.welcomeSecret(member))
		gi := must(parse(must(s.aeadOpen(key, nonce, nil, w.EncryptedGroupInfo))(t), decodeGroupInfo))(t)
		if err := gi.verify(s, v.Signer); err != nil {
			t.Error(err)
		}
		n := s.startEpoch(member, gi.GroupContext.append(nil))
		if !s.verifyMAC(n.confirmation, gi.GroupContext.ConfirmedTranscriptHash, gi.ConfirmationTag) {
			t.Error("confirmation tag")
		}
	})
}
