package mls

// epochSecrets are the secrets of one epoch that outlive its beginning (RFC 9420
// §8, table 4). The epoch secret itself, the joiner and welcome secrets and the
// confirmation key are gone once these exist.
type epochSecrets struct {
	senderData    secret
	exporter      secret
	external      secret
	membership    secret
	resumption    secret
	authenticator secret
	init          secret
}

func (e *epochSecrets) all() []*secret {
	return []*secret{&e.senderData, &e.exporter, &e.external, &e.membership, &e.resumption, &e.authenticator, &e.init}
}

func (e *epochSecrets) wipe() {
	for _, s := range e.all() {
		s.wipe()
		*s = nil
	}
}

// newEpoch is what the beginning of an epoch gives: the lasting secrets, and
// those that are used up at once.
type newEpoch struct {
	epochSecrets
	encryption   secret // root of the secret tree
	confirmation secret
}

// joinerSecret is the first half of figure 22. It wipes nothing.
func (s *suite) joinerSecret(init, commit secret, context []byte) secret {
	x := s.extract(init, commit)
	joiner := s.expandWithLabel(x, "joiner", context, s.nh)
	x.wipe()
	return joiner
}

// memberSecret is the secret from which welcome_secret and epoch_secret come.
func (s *suite) memberSecret(joiner, psk secret) secret { return s.extract(joiner, psk) }

// welcomeSecret derives the secret that hides a GroupInfo in a Welcome.
func (s *suite) welcomeSecret(member secret) secret { return s.deriveSecret(member, "welcome") }

// welcomeKey returns the key and nonce of §12.4.3.1, and wipes welcome.
func (s *suite) welcomeKey(welcome secret) (key, nonce secret) {
	key = s.expandWithLabel(welcome, "key", nil, s.nk)
	nonce = s.expandWithLabel(welcome, "nonce", nil, nn)
	welcome.wipe()
	return key, nonce
}

// startEpoch is the rest of figure 22. It wipes member.
func (s *suite) startEpoch(member secret, context []byte) *newEpoch {
	epoch := s.expandWithLabel(member, "epoch", context, s.nh)
	member.wipe()
	e := s.fromEpochSecret(epoch)
	return e
}

// fromEpochSecret derives table 4 and the next init secret, and wipes epoch.
func (s *suite) fromEpochSecret(epoch secret) *newEpoch {
	e := &newEpoch{
		epochSecrets: epochSecrets{
			senderData:    s.deriveSecret(epoch, "sender data"),
			exporter:      s.deriveSecret(epoch, "exporter"),
			external:      s.deriveSecret(epoch, "external"),
			membership:    s.deriveSecret(epoch, "membership"),
			resumption:    s.deriveSecret(epoch, "resumption"),
			authenticator: s.deriveSecret(epoch, "authentication"),
			init:          s.deriveSecret(epoch, "init"),
		},
		encryption:   s.deriveSecret(epoch, "encryption"),
		confirmation: s.deriveSecret(epoch, "confirm"),
	}
	epoch.wipe()
	return e
}

// externalKey derives the key pair of §8.3 for external joins.
func (s *suite) externalKey(external secret) (private secret, public []byte, err error) {
	private, public, err = s.hpke.derive(external)
	if err != nil {
		return nil, nil, brokenBy(ErrInvalidKey, "8.3", err, "external key")
	}
	return private, public, nil
}

const externalInitLabel = "MLS 1.0 external init secret"

// export is MLS-Exporter of §8.5.
func (s *suite) export(exporter secret, label string, context []byte, n int) secret {
	derived := s.deriveSecret(exporter, label)
	out := s.expandWithLabel(derived, "exported", s.hash(context), n)
	derived.wipe()
	return out
}

// Transcript hashes, §8.2.

// confirmedTranscriptHash adds a Commit, without its confirmation tag.
func (s *suite) confirmedTranscriptHash(interim []byte, c *authenticatedContent) []byte {
	b := make([]byte, 0, len(c.content.body)+len(c.content.GroupID)+len(c.content.AuthenticatedData)+len(c.signature)+64)
	b = appendUint16(b, c.wireFormat)
	b = c.content.append(b)
	return s.hash(interim, appendOpaque(b, c.signature))
}

// interimTranscriptHash adds the confirmation tag.
func (s *suite) interimTranscriptHash(confirmed, tag []byte) []byte {
	return s.hash(confirmed, appendOpaque(nil, tag))
}
