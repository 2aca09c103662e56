package mls

import (
	"crypto/rand"
	"fmt"
	"slices"
)

// ProtocolVersion is the version of MLS (RFC 9420 §6). Only MLS10 exists.
type ProtocolVersion uint16

// MLS10 is version 1.0.
const MLS10 ProtocolVersion = 1

// WireFormat says what an MLSMessage carries (RFC 9420 §17.2).
type WireFormat uint16

// The wire formats.
const (
	WireFormatPublicMessage  WireFormat = 1
	WireFormatPrivateMessage WireFormat = 2
	WireFormatWelcome        WireFormat = 3
	WireFormatGroupInfo      WireFormat = 4
	WireFormatKeyPackage     WireFormat = 5
)

// ContentType says what a FramedContent carries (RFC 9420 §6).
type ContentType uint8

// The content types.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// ExtensionType names an extension (RFC 9420 §17.3).
type ExtensionType uint16

// The extensions of RFC 9420. All of them are "default": every client supports
// them and they are not listed in capabilities (§7.2).
const (
	ExtensionApplicationID        ExtensionType = 1 // LeafNode
	ExtensionRatchetTree          ExtensionType = 2 // GroupInfo
	ExtensionRequiredCapabilities ExtensionType = 3 // GroupContext
	ExtensionExternalPub          ExtensionType = 4 // GroupInfo
	ExtensionExternalSenders      ExtensionType = 5 // GroupContext
)

func (t ExtensionType) isDefault() bool { return t >= 1 && t <= 5 }

// ProposalType names a proposal (RFC 9420 §17.4).
type ProposalType uint16

// The proposals of RFC 9420, all of them "default" (§7.2).
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPreSharedKey           ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

func (t ProposalType) isDefault() bool { return t >= 1 && t <= 7 }

// String returns the name of the registry, or "proposal 0x1234".
func (t ProposalType) String() string {
	names := [...]string{"add", "update", "remove", "psk", "reinit", "external_init", "group_context_extensions"}
	if t.isDefault() {
		return names[t-1]
	}
	return fmt.Sprintf("proposal %#04x", uint16(t))
}

// CredentialType names a kind of credential (RFC 9420 §17.5).
type CredentialType uint16

// The credential types.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// SenderType says who sent a message (RFC 9420 §6).
type SenderType uint8

// The sender types.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// LeafNodeSource says how a LeafNode came into the tree (RFC 9420 §7.2).
type LeafNodeSource uint8

// The sources.
const (
	LeafNodeSourceKeyPackage LeafNodeSource = 1
	LeafNodeSourceUpdate     LeafNodeSource = 2
	LeafNodeSourceCommit     LeafNodeSource = 3
)

// grease returns one of the 15 values that RFC 9420 §13.5 reserves.
func grease() uint16 {
	var b [1]byte
	rand.Read(b[:])
	return 0x0a0a + 0x1010*uint16(b[0]%15)
}

// WithGREASE returns c with one random reserved value added to each list in
// which RFC 9420 §13.5 wants some, so that peers which choke on unknown values
// are found early. It adds 8 bytes.
func (c Capabilities) WithGREASE() Capabilities {
	c.CipherSuites = append(slices.Clone(c.CipherSuites), CipherSuite(grease()))
	c.Extensions = append(slices.Clone(c.Extensions), ExtensionType(grease()))
	c.Proposals = append(slices.Clone(c.Proposals), ProposalType(grease()))
	c.Credentials = append(slices.Clone(c.Credentials), CredentialType(grease()))
	return c
}
