package mls

import "bytes"

// Extension is one entry of an extensions list (RFC 9420 §13.4).
type Extension struct {
	Type ExtensionType
	Data []byte
}

// findExtension returns the data of the extension of type t.
func findExtension(list []Extension, t ExtensionType) ([]byte, bool) {
	for _, e := range list {
		if e.Type == t {
			return e.Data, true
		}
	}
	return nil, false
}

func appendExtensions(b []byte, list []Extension) []byte {
	return appendVector(b, func(b []byte) []byte {
		for _, e := range list {
			b = appendOpaque(appendUint16(b, e.Type), e.Data)
		}
		return b
	})
}

// decodeExtensions enforces §13.4: "Any field containing a list of extensions
// MUST NOT have more than one extension of any given type."
func decodeExtensions(r *reader) []Extension {
	in := r.vector()
	var list []Extension
	seen := map[ExtensionType]bool{}
	for in.more() {
		e := Extension{ExtensionType(in.uint16()), in.opaque()}
		if in.err != nil {
			break
		}
		if seen[e.Type] {
			in.fail("13.4", "extension %#04x stands twice", uint16(e.Type))
			break
		}
		in.room(len(list), maxFew)
		seen[e.Type] = true
		list = append(list, e)
	}
	r.join(in)
	return list
}

func checkExtensions(list []Extension) error {
	if len(list) > maxFew {
		return broken(ErrUsage, "13.4", "%d extensions", len(list))
	}
	seen := map[ExtensionType]bool{}
	for _, e := range list {
		if seen[e.Type] {
			return broken(ErrUsage, "13.4", "extension %#04x stands twice", uint16(e.Type))
		}
		if len(e.Data) > maxVector/4 {
			return broken(ErrUsage, "2.1.2", "extension %#04x of %d bytes", uint16(e.Type), len(e.Data))
		}
		seen[e.Type] = true
	}
	return nil
}

func sameExtensions(a, b []Extension) bool {
	return bytes.Equal(appendExtensions(nil, a), appendExtensions(nil, b))
}

// RequiredCapabilities is the extension that says what each member must support
// (RFC 9420 §11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Extension encodes rc for a GroupContext. Each list may have 1024 entries.
func (rc RequiredCapabilities) Extension() Extension {
	b := appendUint16s(nil, rc.Extensions)
	b = appendUint16s(b, rc.Proposals)
	b = appendUint16s(b, rc.Credentials)
	return Extension{ExtensionRequiredCapabilities, b}
}

func decodeRequiredCapabilities(r *reader) RequiredCapabilities {
	return RequiredCapabilities{decodeUint16s[ExtensionType](r), decodeUint16s[ProposalType](r), decodeUint16s[CredentialType](r)}
}

// ExternalSender may propose to a group without being in it (RFC 9420 §12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

// ExternalSenders encodes the GroupContext extension external_senders (RFC 9420
// §12.1.8.1), of at most 1024 entries.
func ExternalSenders(senders ...ExternalSender) Extension {
	return Extension{ExtensionExternalSenders, appendVector(nil, func(b []byte) []byte {
		for _, s := range senders {
			b = s.Credential.append(appendOpaque(b, s.SignatureKey))
		}
		return b
	})}
}

func decodeExternalSenders(r *reader) []ExternalSender {
	in := r.vector()
	var list []ExternalSender
	for in.more() {
		in.room(len(list), maxListed)
		list = append(list, ExternalSender{in.opaque(), decodeCredential(in)})
	}
	r.join(in)
	return list
}

func externalSenders(list []Extension) ([]ExternalSender, error) {
	data, ok := findExtension(list, ExtensionExternalSenders)
	if !ok {
		return nil, nil
	}
	return parseOwned(data, decodeExternalSenders)
}

func requiredCapabilities(list []Extension) (RequiredCapabilities, error) {
	data, ok := findExtension(list, ExtensionRequiredCapabilities)
	if !ok {
		return RequiredCapabilities{}, nil
	}
	return parseOwned(data, decodeRequiredCapabilities)
}
