package mls

import (
	"errors"
	"fmt"
)

// The kinds of error. Each error of this package that names a broken rule is a
// [*RuleError] that matches exactly one of them with [errors.Is].
var (
	ErrMalformed       = errors.New("malformed")                   // bytes that do not decode, §2.1
	ErrUnsupported     = errors.New("unsupported")                 // a suite, version, proposal or credential that peers may name and nobody here knows, §13
	ErrInvalidKey      = errors.New("invalid key")                 // a key that its suite does not accept, §5.1.1
	ErrSignature       = errors.New("invalid signature")           // §5.1.2
	ErrDecrypt         = errors.New("decryption failed")           // AEAD or HPKE, §5.1.3, §6.3
	ErrAuthentication  = errors.New("credential not accepted")     // Authenticate refused, §5.3.1
	ErrMembershipTag   = errors.New("invalid membership tag")      // §6.2
	ErrConfirmationTag = errors.New("invalid confirmation tag")    // §6.1
	ErrSender          = errors.New("invalid sender")              // §6.1
	ErrWrongGroup      = errors.New("message for another group")   // §6
	ErrWrongEpoch      = errors.New("message for another epoch")   // §14
	ErrGeneration      = errors.New("key used up or out of reach") // §9.2, §15.3
	ErrOwnMessage      = errors.New("message of our own")          // a member does not read what it sent
	ErrLeafNode        = errors.New("invalid LeafNode")            // §7.3
	ErrKeyPackage      = errors.New("invalid KeyPackage")          // §10.1
	ErrTree            = errors.New("invalid ratchet tree")        // §7.9.2, §12.4.3.1
	ErrUpdatePath      = errors.New("invalid UpdatePath")          // §7.5, §12.4.2
	ErrProposal        = errors.New("invalid proposal")            // §12.1
	ErrProposalList    = errors.New("invalid proposal list")       // §12.2
	ErrCommit          = errors.New("invalid Commit")              // §12.4
	ErrWelcome         = errors.New("invalid Welcome")             // §12.4.3.1
	ErrGroupInfo       = errors.New("invalid GroupInfo")           // §12.4.3
	ErrPSK             = errors.New("pre-shared key")              // §8.4
	ErrInactive        = errors.New("group is not active")         // removed or reinitialized, §12.4.2
	ErrStale           = errors.New("staged for another state")    // the group moved on since, §14
	ErrUsage           = errors.New("invalid argument")            // the caller's mistake, nothing of a peer
)

// RuleError says which rule was broken. It matches its Kind, and the cause if
// there is one, with [errors.Is].
type RuleError struct {
	Kind    error  // one of the Err… values of this package
	Section string // of RFC 9420, e.g. "12.2"
	Reason  string // one plain sentence part, lower case
	Cause   error  // nil, or what a callback or primitive returned
}

// Error reads "mls: invalid LeafNode: signature_key is used by leaf 3 (RFC 9420 §7.3)".
func (e *RuleError) Error() string {
	s := "mls: " + e.Kind.Error() + ": " + e.Reason
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s + " (RFC 9420 §" + e.Section + ")"
}

// Unwrap returns the kind and the cause.
func (e *RuleError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

func broken(kind error, section, format string, args ...any) error {
	return &RuleError{Kind: kind, Section: section, Reason: fmt.Sprintf(format, args...)}
}

func brokenBy(kind error, section string, cause error, format string, args ...any) error {
	return &RuleError{Kind: kind, Section: section, Reason: fmt.Sprintf(format, args...), Cause: cause}
}
