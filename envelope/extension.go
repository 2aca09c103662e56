package envelope

import "encoding/binary"

// The MLS extensions of Sotto, from the range for private use (Sotto protocol
// §2.3, §2.4).
const (
	ExtensionLeaf  uint16 = 0xF510
	ExtensionGroup uint16 = 0xF511
	maxExtra              = 256 // bytes of extra in either
)

// Role says what a leaf does in its audience.
type Role uint8

// The roles of version 1; others are refused.
const (
	RoleSpeaker  Role = 0
	RoleListener Role = 1 // a channel listener: sends no voice here
)

// SottoLeaf is the data of the extension 0xF510 in a leaf or KeyPackage: which
// connection it stands for.
//
//	opaque server[32]; uint32 session; uint8 role; uint8 audience_kind;
//	uint32 channel; opaque for_group<V>; opaque extra<V>
type SottoLeaf struct {
	Server   [32]byte // SHA-256 of the DER server certificate this client sees
	Session  uint32   // not 0
	Role     Role
	Audience AudienceKind
	Channel  uint32  // that the member sits in
	ForGroup GroupID // the only group this KeyPackage may join; zero for any
	Extra    []byte  // at most 256 bytes, ignored in version 1
}

// Append appends the extension's data.
func (l SottoLeaf) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, l.Server[:]...), l.Session)
	dst = append(dst, byte(l.Role), byte(l.Audience))
	dst = binary.BigEndian.AppendUint32(dst, l.Channel)
	return appendVector(l.ForGroup.append(dst), l.Extra)
}

// ParseSottoLeaf reads the extension's data, all of it. Extra aliases b.
func ParseSottoLeaf(b []byte) (SottoLeaf, error) {
	r := reader{b: b}
	var l SottoLeaf
	r.fixed(l.Server[:])
	l.Session, l.Role = r.uint32(), Role(r.uint8())
	r.need(r.err != nil || l.Session != 0 && l.Role <= RoleListener)
	l.Audience, l.Channel = r.audienceKind(), r.uint32()
	l.ForGroup = r.maybeGroup()
	l.Extra = r.vector("extra", maxExtra)
	if err := r.end(); err != nil {
		return SottoLeaf{}, err
	}
	return l, nil
}

// Admission says whom a committer may add.
type Admission uint8

// The admissions of version 1; others are refused.
const (
	AdmitPresent Admission = 0 // whoever the server shows there
	AdmitKnown   Admission = 1 // a contact, or who has an invite
	AdmitAsked   Admission = 2 // whom a member let in by a click
)

// GroupFlags are bits of a SottoGroup; others than these are refused.
type GroupFlags uint8

// The flags of version 1.
const (
	FlagPSKRequired GroupFlags = 1 // an Add needs the external PSK
	FlagLocked      GroupFlags = 2 // nobody new
)

// SottoGroup is the data of the extension 0xF511 in a GroupContext.
//
//	uint16 protocol = 1; uint8 audience_kind; uint8 mode = 0; uint32 anchor;
//	opaque server[32]; uint8 admission; uint8 flags; opaque psk_id<V>; opaque extra<V>
//
// Protocol and mode have one value in version 1; any other is refused.
type SottoGroup struct {
	Audience  AudienceKind
	Anchor    uint32   // a channel; NoChannel for a direct group and only then
	Server    [32]byte // the founder's view
	Admission Admission
	Flags     GroupFlags
	PSKID     [16]byte // written only with FlagPSKRequired
	Extra     []byte   // at most 256 bytes, ignored in version 1
}

// Append appends the extension's data.
func (g SottoGroup) Append(dst []byte) []byte {
	dst = append(dst, 0, version1, byte(g.Audience), 0)
	dst = binary.BigEndian.AppendUint32(dst, g.Anchor)
	dst = append(append(dst, g.Server[:]...), byte(g.Admission), byte(g.Flags))
	if g.Flags&FlagPSKRequired != 0 {
		dst = appendVector(dst, g.PSKID[:])
	} else {
		dst = append(dst, 0)
	}
	return appendVector(dst, g.Extra)
}

// ParseSottoGroup reads the extension's data, all of it. Another protocol is
// ErrVersion. Extra aliases b.
func ParseSottoGroup(b []byte) (SottoGroup, error) {
	r := reader{b: b}
	if r.uint16() != version1 && r.err == nil {
		return SottoGroup{}, ErrVersion
	}
	g := SottoGroup{Audience: r.audienceKind()}
	mode := r.uint8()
	g.Anchor = r.uint32()
	r.need(r.err != nil || mode == 0 && (g.Audience == AudienceDirect) == (g.Anchor == NoChannel))
	r.fixed(g.Server[:])
	g.Admission, g.Flags = Admission(r.uint8()), GroupFlags(r.uint8())
	r.need(r.err != nil || g.Admission <= AdmitAsked && g.Flags <= FlagPSKRequired|FlagLocked)
	psk := r.optional(g.PSKID[:])
	r.need(r.err != nil || psk == (g.Flags&FlagPSKRequired != 0))
	g.Extra = r.vector("extra", maxExtra)
	if err := r.end(); err != nil {
		return SottoGroup{}, err
	}
	return g, nil
}
