package mls

// PSKType says where a pre-shared key comes from (RFC 9420 §8.4).
type PSKType uint8

// The PSK types.
const (
	PSKExternal   PSKType = 1 // given by the application
	PSKResumption PSKType = 2 // of an earlier epoch of this or another group
)

// ResumptionPSKUsage says what a resumption PSK is for (RFC 9420 §8.4).
type ResumptionPSKUsage uint8

// The usages.
const (
	ResumptionApplication ResumptionPSKUsage = 1
	ResumptionReInit      ResumptionPSKUsage = 2
	ResumptionBranch      ResumptionPSKUsage = 3
)

// PreSharedKeyID names a PSK (RFC 9420 §8.4).
type PreSharedKeyID struct {
	Type    PSKType
	ID      []byte             // if Type is PSKExternal
	Usage   ResumptionPSKUsage // if Type is PSKResumption, as the two below
	GroupID []byte
	Epoch   uint64
	// Nonce is random, of KDF.Nh bytes and new for each use. [Group.Commit],
	// [Group.Propose] and [ProposeExternal] make one where it is nil.
	Nonce []byte
}

// withNonce gives a PreSharedKey proposal its nonce, if it has none yet.
func withNonce(s *suite, p Proposal) Proposal {
	if psk, ok := p.(PreSharedKey); ok && psk.PSK.Nonce == nil {
		psk.PSK.Nonce = random(s.nh)
		return psk
	}
	return p
}

func (id *PreSharedKeyID) append(b []byte) []byte {
	return appendOpaque(id.appendName(b), id.Nonce)
}

// appendName leaves out the nonce: two IDs with the same name are the same key.
func (id *PreSharedKeyID) appendName(b []byte) []byte {
	b = append(b, byte(id.Type))
	if id.Type == PSKResumption {
		b = appendOpaque(append(b, byte(id.Usage)), id.GroupID)
		return appendUint64(b, id.Epoch)
	}
	return appendOpaque(b, id.ID)
}

func decodePreSharedKeyID(r *reader) PreSharedKeyID {
	id := PreSharedKeyID{Type: PSKType(r.uint8())}
	switch id.Type {
	case PSKExternal:
		id.ID = r.opaque()
	case PSKResumption:
		id.Usage, id.GroupID, id.Epoch = ResumptionPSKUsage(r.uint8()), r.opaque(), r.uint64()
		if id.Usage < ResumptionApplication || id.Usage > ResumptionBranch {
			r.fail("8.4", "resumption PSK usage %d", id.Usage)
		}
	default:
		r.fail("8.4", "psktype %d", id.Type)
	}
	id.Nonce = r.opaque()
	return id
}

// pskSecret chains PSKs into psk_secret (§8.4, figure 24); without any it is
// zero. It does not wipe psks: they are the application's.
func (s *suite) pskSecret(ids []PreSharedKeyID, psks []secret) secret {
	chained := s.zero()
	for i := range ids {
		label := ids[i].append(nil)
		label = appendUint16(appendUint16(label, uint16(i)), uint16(len(ids)))
		extracted := s.extract(s.zero(), psks[i])
		input := s.expandWithLabel(extracted, "derived psk", label, s.nh)
		next := s.extract(input, chained)
		wipeAll(extracted, input, chained)
		chained = next
	}
	return chained
}
