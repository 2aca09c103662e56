package envelope

import (
	"encoding/binary"
	"slices"
)

// Lengths of opaque MLS structures in bodies, in bytes.
const (
	// MaxKeyPackage is the longest KeyPackage taken. A hybrid one has about 3 kB,
	// and 1.5 kB more with the longest statement and leaf extension.
	MaxKeyPackage = 16 << 10
	// MaxWelcome is the longest Welcome (Sotto protocol §12), and the longest
	// body of any object.
	MaxWelcome = 512 << 10
	// MaxCommit is the longest Commit (Sotto protocol §12).
	MaxCommit = 256 << 10
)

// version1 is the lowest max_version there can be.
const version1 = 1

// Wish says what a client that announces itself wants (Sotto protocol §1.1).
type Wish uint8

// The wishes of version 1; others are refused.
const (
	WishClear   Wish = 0 // stays clear
	WishIfAll   Wish = 1 // joins if all have Sotto
	WishProtect Wish = 2 // joins anyway
)

// Presence says that a session runs Sotto. It is not authenticated.
//
//	uint8 max_version; CipherSuite suites<V>; uint8 wish; opaque nonce[16]
type Presence struct {
	MaxVersion uint8    // 1 or more
	Suites     []uint16 // 1 to 32
	Wish       Wish
	Nonce      [16]byte
}

// Append appends the body of kind KindPresence. Like all Append of the bodies
// it writes what it is given; a value that the protocol forbids is refused by
// the parser.
func (p Presence) Append(dst []byte) []byte {
	dst = append(dst, p.MaxVersion)
	dst = appendSuites(dst, p.Suites)
	dst = append(dst, byte(p.Wish))
	return append(dst, p.Nonce[:]...)
}

// ParsePresence reads a body, all of it. Nothing aliases b.
func ParsePresence(b []byte) (Presence, error) {
	r := reader{b: b}
	p := Presence{MaxVersion: r.uint8()}
	r.need(r.err != nil || p.MaxVersion >= version1)
	p.Suites = r.suites()
	p.Wish = Wish(r.uint8())
	r.need(r.err != nil || p.Wish <= WishProtect)
	r.fixed(p.Nonce[:])
	if err := r.end(); err != nil {
		return Presence{}, err
	}
	return p, nil
}

// HelloRegime is the carrier's regime as a Hello states it: what the sender
// found its server to do. The protocol page gives the letters; these are the
// numbers.
type HelloRegime uint8

// The regimes; others are refused.
const (
	HelloRegimeE HelloRegime = 1
	HelloRegimeT HelloRegime = 2
	HelloRegimeN HelloRegime = 3
)

// HelloReason says why a Hello was sent (Sotto protocol §4).
type HelloReason uint8

// The reasons of version 1; others are refused.
const (
	HelloJoin          HelloReason = 0
	HelloCannotProcess HelloReason = 1 // a Commit or Welcome could not be processed
	HelloFork          HelloReason = 2
	HelloMerge         HelloReason = 3
)

// Hello asks the members of an audience to be added (Sotto protocol §4).
//
//	uint8 max_version; uint8 regime; CipherSuite suites<V>; uint8 reason;
//	opaque known_group<V>; uint64 epoch; opaque key_package<V>;
//	opaque invite_id<V>; opaque invite_proof<V>; opaque nonce[16]; opaque signature<V>
//
// The KeyPackage stands behind its length, unlike on the protocol page's first
// draft, so that this package need not know MLS to find its end. Whether it
// holds an MLSMessage or a bare KeyPackage is the engine's to say.
type Hello struct {
	MaxVersion uint8 // 1 or more
	Regime     HelloRegime
	Suites     []uint16 // 1 to 32
	Reason     HelloReason
	KnownGroup GroupID // zero for none
	Epoch      uint64  // last epoch in KnownGroup, else 0
	KeyPackage []byte  // 1 to MaxKeyPackage bytes
	// InviteID and InviteProof are both set or both zero (§9.4); an all-zero id
	// counts as none, a proof without an id is not written.
	InviteID    [8]byte
	InviteProof [32]byte
	Nonce       [16]byte
	// Signature is made with the leaf's key under the label "Hello" over
	// SignedContent.
	Signature [SignatureLen]byte
}

func (h Hello) appendHead(dst []byte) []byte {
	dst = append(dst, h.MaxVersion, byte(h.Regime))
	dst = appendSuites(dst, h.Suites)
	dst = append(dst, byte(h.Reason))
	dst = h.KnownGroup.append(dst)
	dst = binary.BigEndian.AppendUint64(dst, h.Epoch)
	return appendVector(dst, h.KeyPackage)
}

// HasInvite reports whether the Hello carries the proof of an invite.
func (h Hello) HasInvite() bool { return h.InviteID != [8]byte{} }

// InviteContent returns what stands behind the label in the MAC of an invite
// proof: the Hello up to and without invite_id, then the nonce (§9.4).
func (h Hello) InviteContent() []byte {
	return append(h.appendHead(nil), h.Nonce[:]...)
}

func (h Hello) appendSigned(dst []byte) []byte {
	dst = h.appendHead(dst)
	if h.HasInvite() {
		dst = appendVector(dst, h.InviteID[:])
		dst = appendVector(dst, h.InviteProof[:])
	} else {
		dst = append(dst, 0, 0)
	}
	return append(dst, h.Nonce[:]...)
}

// SignedContent returns the bytes that the signature covers: all before it. It
// is the same on both sides, because a body has one spelling only.
func (h Hello) SignedContent() []byte { return h.appendSigned(nil) }

// Append appends the body of kind KindHello.
func (h Hello) Append(dst []byte) []byte {
	return appendVector(h.appendSigned(dst), h.Signature[:])
}

// ParseHello reads a body, all of it, and does not verify it. KeyPackage
// aliases b.
func ParseHello(b []byte) (Hello, error) {
	r := reader{b: b}
	h := Hello{MaxVersion: r.uint8(), Regime: HelloRegime(r.uint8())}
	r.need(r.err != nil || h.MaxVersion >= version1 && h.Regime >= HelloRegimeE && h.Regime <= HelloRegimeN)
	h.Suites = r.suites()
	h.Reason = HelloReason(r.uint8())
	r.need(r.err != nil || h.Reason <= HelloMerge)
	h.KnownGroup = r.maybeGroup()
	h.Epoch = r.uint64()
	r.need(r.err != nil || !h.KnownGroup.IsZero() || h.Epoch == 0)
	h.KeyPackage = r.keyPackage()
	id := r.optional(h.InviteID[:])
	proof := r.optional(h.InviteProof[:])
	r.need(r.err != nil || id == proof && id == h.HasInvite())
	r.fixed(h.Nonce[:])
	r.exactly(h.Signature[:])
	if err := r.end(); err != nil {
		return Hello{}, err
	}
	return h, nil
}

func (r *reader) keyPackage() []byte {
	b := r.vector("KeyPackage", MaxKeyPackage)
	r.need(r.err != nil || len(b) > 0)
	return b
}

// KeyPackageRequest asks one session for a KeyPackage for a direct audience
// (Sotto protocol §2.6, §4).
//
//	uint8 audience_kind; opaque group_id<V>; CipherSuite suite; opaque nonce[16]
type KeyPackageRequest struct {
	Audience AudienceKind
	Group    GroupID // that the KeyPackage will be bound to; zero for any
	Suite    uint16
	Nonce    [16]byte
}

// Append appends the body of kind KindKeyPackageRequest.
func (k KeyPackageRequest) Append(dst []byte) []byte {
	dst = k.Group.append(append(dst, byte(k.Audience)))
	dst = binary.BigEndian.AppendUint16(dst, k.Suite)
	return append(dst, k.Nonce[:]...)
}

// ParseKeyPackageRequest reads a body, all of it. Nothing aliases b.
func ParseKeyPackageRequest(b []byte) (KeyPackageRequest, error) {
	r := reader{b: b}
	k := KeyPackageRequest{Audience: r.audienceKind(), Group: r.maybeGroup(), Suite: r.uint16()}
	r.fixed(k.Nonce[:])
	if err := r.end(); err != nil {
		return KeyPackageRequest{}, err
	}
	return k, nil
}

// KeyPackageReply answers a KeyPackageRequest.
//
//	opaque request[32]; opaque key_package<V>
//
// As in a [Hello], the KeyPackage stands behind its length.
type KeyPackageReply struct {
	Request    Ref    // of the request
	KeyPackage []byte // 1 to MaxKeyPackage bytes
}

// Append appends the body of kind KindKeyPackageReply.
func (k KeyPackageReply) Append(dst []byte) []byte {
	dst = slices.Grow(dst, len(k.Request)+4+len(k.KeyPackage))
	return appendVector(append(dst, k.Request[:]...), k.KeyPackage)
}

// ParseKeyPackageReply reads a body, all of it. KeyPackage aliases b.
func ParseKeyPackageReply(b []byte) (KeyPackageReply, error) {
	r := reader{b: b}
	var k KeyPackageReply
	r.fixed(k.Request[:])
	k.KeyPackage = r.keyPackage()
	if err := r.end(); err != nil {
		return KeyPackageReply{}, err
	}
	return k, nil
}
