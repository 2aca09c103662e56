package mls

// PrivateMessage is a signed and encrypted message of a member (RFC 9420 §6.3).
type PrivateMessage struct {
	GroupID             []byte
	Epoch               uint64
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

func (m *PrivateMessage) append(b []byte) []byte {
	b = appendOpaque(m.appendSenderDataAAD(b), m.AuthenticatedData)
	return appendOpaque(appendOpaque(b, m.EncryptedSenderData), m.Ciphertext)
}

// appendSenderDataAAD is SenderDataAAD, which is also how the message begins.
func (m *PrivateMessage) appendSenderDataAAD(b []byte) []byte {
	b = appendUint64(appendOpaque(b, m.GroupID), m.Epoch)
	return append(b, byte(m.ContentType))
}

// contentAAD is PrivateContentAAD.
func (m *PrivateMessage) contentAAD() []byte {
	return appendOpaque(m.appendSenderDataAAD(nil), m.AuthenticatedData)
}

func decodePrivateMessage(r *reader) *PrivateMessage {
	m := &PrivateMessage{
		GroupID: r.opaque(), Epoch: r.uint64(), ContentType: ContentType(r.uint8()),
		AuthenticatedData: r.opaque(), EncryptedSenderData: r.opaque(), Ciphertext: r.opaque(),
	}
	if m.ContentType < ContentApplication || m.ContentType > ContentCommit {
		r.fail("6", "content_type %d", m.ContentType)
	}
	return m
}

func (t ContentType) ratchet() ratchetKind {
	if t == ContentApplication {
		return ratchetApplication
	}
	return ratchetHandshake
}

// senderData is SenderData of §6.3.2.
type senderData struct {
	leaf       LeafIndex
	generation uint32
	reuseGuard [4]byte
}

func (d *senderData) append(b []byte) []byte {
	return append(appendUint32(appendUint32(b, d.leaf), d.generation), d.reuseGuard[:]...)
}

func decodeSenderData(r *reader) senderData {
	d := senderData{leaf: LeafIndex(r.uint32()), generation: r.uint32()}
	copy(d.reuseGuard[:], r.take(4))
	return d
}

// guard XORs the reuse guard into the first bytes of the nonce (§6.3.1).
func (d *senderData) guard(nonce secret) {
	for i, g := range d.reuseGuard {
		nonce[i] ^= g
	}
}

// senderDataKey derives key and nonce from a sample of the ciphertext.
func (s *suite) senderDataKey(from secret, ciphertext []byte) (key, nonce secret) {
	sample := ciphertext[:min(len(ciphertext), s.nh)]
	return s.expandWithLabel(from, "key", sample, s.nk), s.expandWithLabel(from, "nonce", sample, nn)
}

// protectPrivate encrypts a with the next key of the sender's ratchet and
// padding zero bytes. The key is consumed.
func protectPrivate(s *suite, a *authenticatedContent, senderDataSecret secret, t *secretTree, padding int) (*PrivateMessage, error) {
	m := &PrivateMessage{
		GroupID: a.content.GroupID, Epoch: a.content.Epoch, ContentType: a.content.ContentType,
		AuthenticatedData: a.content.AuthenticatedData,
	}
	d := senderData{leaf: a.content.Sender.Leaf}
	copy(d.reuseGuard[:], random(4))
	kind := m.ContentType.ratchet()
	d.generation = t.sendGeneration(d.leaf, kind)
	f, err := t.find(d.leaf, kind, d.generation, 0, 0)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 0, len(a.content.body)+len(a.content.Application)+len(a.signature)+len(a.tag)+padding+64)
	plain = a.appendAuth(a.content.appendContent(plain))
	plain = append(plain, make([]byte, padding)...)
	d.guard(f.nonce)
	m.Ciphertext = s.aeadSeal(f.key, f.nonce, m.contentAAD(), plain)
	f.consume()
	key, nonce := s.senderDataKey(senderDataSecret, m.Ciphertext)
	m.EncryptedSenderData = s.aeadSeal(key, nonce, m.appendSenderDataAAD(nil), d.append(nil))
	return m, nil
}

// openSenderData tells who sent m.
func (m *PrivateMessage) openSenderData(s *suite, senderDataSecret secret) (senderData, error) {
	key, nonce := s.senderDataKey(senderDataSecret, m.Ciphertext)
	plain, err := s.aeadOpen(key, nonce, m.appendSenderDataAAD(nil), m.EncryptedSenderData)
	if err != nil {
		return senderData{}, brokenBy(ErrDecrypt, "6.3.2", err, "sender data")
	}
	return parseOwned(plain, decodeSenderData)
}

// openContent decrypts and decodes m. The signature is not verified yet; the
// caller consumes the key when it is.
func (m *PrivateMessage) openContent(s *suite, d senderData, f *found) (*authenticatedContent, error) {
	d.guard(f.nonce)
	plain, err := s.aeadOpen(f.key, f.nonce, m.contentAAD(), m.Ciphertext)
	if err != nil {
		return nil, brokenBy(ErrDecrypt, "6.3.1", err, "content of generation %d of leaf %d", d.generation, d.leaf)
	}
	a := &authenticatedContent{wireFormat: WireFormatPrivateMessage, content: FramedContent{
		GroupID: m.GroupID, Epoch: m.Epoch, Sender: Sender{Type: SenderMember, Leaf: d.leaf},
		AuthenticatedData: m.AuthenticatedData, ContentType: m.ContentType,
	}}
	r := &reader{b: plain}
	a.content.decodeContent(r)
	a.content.body = plain[:len(plain)-len(r.b)]
	a.decodeAuth(r)
	// "A receiver MUST verify that there are no non-zero bytes in the padding
	// field" (§6.3.1).
	var padding byte
	for _, b := range r.b {
		padding |= b
	}
	if padding != 0 {
		r.fail("6.3.1", "padding that is not zero")
	}
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}
