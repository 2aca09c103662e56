package mls

// ProposalOrRef is an entry of a Commit: a proposal, or the ProposalRef of one
// that was sent before (RFC 9420 §12.4).
type ProposalOrRef struct {
	Proposal  Proposal // nil if by reference
	Reference []byte
}

// Commit begins a new epoch (RFC 9420 §12.4).
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath // nil if there is none
}

const (
	proposalByValue     = 1
	proposalByReference = 2
)

func (c *Commit) append(b []byte) []byte {
	b = appendVector(b, func(b []byte) []byte {
		for _, p := range c.Proposals {
			if p.Proposal != nil {
				b = appendProposal(append(b, proposalByValue), p.Proposal)
			} else {
				b = appendOpaque(append(b, proposalByReference), p.Reference)
			}
		}
		return b
	})
	b = appendOptional(b, c.Path != nil)
	if c.Path != nil {
		b = c.Path.append(b)
	}
	return b
}

func decodeCommit(r *reader) *Commit {
	c := &Commit{}
	in := r.vector()
	for in.more() {
		in.room(len(c.Proposals), maxListed)
		switch t := in.uint8(); t {
		case proposalByValue:
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: decodeProposal(in)})
		case proposalByReference:
			c.Proposals = append(c.Proposals, ProposalOrRef{Reference: in.key("ProposalRef")})
		default:
			in.fail("12.4", "ProposalOrRefType %d", t)
		}
	}
	r.join(in)
	if r.optional() {
		c.Path = decodeUpdatePath(r)
	}
	return c
}
