package audience

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// ErrInvalid is every Commit or group that breaks a rule of Sotto protocol §2.5.
var ErrInvalid = errors.New("audience: invalid by the rules of Sotto")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// groupExtension reads the extensions of a GroupContext: required_capabilities as
// §2 has them, then sotto_group, and no others.
func groupExtension(list []mls.Extension) (envelope.SottoGroup, error) {
	want := required()
	if len(list) != 2 || list[0].Type != want.Type || !bytes.Equal(list[0].Data, want.Data) {
		return envelope.SottoGroup{}, invalid("not the required_capabilities and one extension more")
	}
	if list[1].Type != mls.ExtensionType(envelope.ExtensionGroup) {
		return envelope.SottoGroup{}, invalid("no sotto_group")
	}
	ext, err := envelope.ParseSottoGroup(list[1].Data)
	if err != nil {
		return envelope.SottoGroup{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return ext, nil
}

// checkTree holds all leaves of a tree against §2.5.
func (m *Machine) checkTree(members []mls.Member, gid envelope.GroupID, group envelope.SottoGroup) error {
	if len(members) > maxMembers {
		return invalid("%d members", len(members))
	}
	sessions := make(map[uint32]bool, len(members))
	for _, member := range members {
		l, _, err := m.readLeaf(member.Leaf)
		if err != nil {
			return fmt.Errorf("%w: leaf %d: %w", ErrInvalid, member.Index, err)
		}
		switch {
		case l.Audience != group.Audience:
			return invalid("leaf %d is for another kind of audience", member.Index)
		case !l.ForGroup.IsZero() && l.ForGroup != gid:
			return invalid("leaf %d is for another group", member.Index)
		case sessions[l.Session]:
			return invalid("two leaves of one session")
		}
		sessions[l.Session] = true
	}
	return nil
}

// checkCommit holds a staged Commit against §2.5. All members decide alike: it
// looks at nothing but the group and the Commit.
func (m *Machine) checkCommit(g *group, c *mls.StagedCommit) error {
	proposals := c.Proposals()
	if len(proposals) > maxProposals {
		return invalid("%d proposals", len(proposals))
	}
	if c.Sender().Type != mls.SenderMember {
		return invalid("not by a member")
	}
	var adds []mls.Add
	psks := 0
	var extensions []mls.Extension
	for _, p := range proposals {
		if p.ByRef {
			return invalid("a proposal by reference")
		}
		switch p := p.Proposal.(type) {
		case mls.Add:
			adds = append(adds, p)
		case mls.Remove:
		case mls.PreSharedKey:
			if p.PSK.Type != mls.PSKExternal {
				return invalid("a resumption PSK")
			}
			if g.ext.Flags&envelope.FlagPSKRequired == 0 || string(p.PSK.ID) != string(g.ext.PSKID[:]) {
				return invalid("another external PSK than the group's")
			}
			psks++
		case mls.GroupContextExtensions:
			extensions = p.Extensions
		default:
			return invalid("a proposal of type %d", p.Type())
		}
	}
	if psks > 1 || psks == 0 && len(adds) > 0 && g.ext.Flags&envelope.FlagPSKRequired != 0 {
		return invalid("%d PSKs, and %d Adds", psks, len(adds))
	}
	if g.kind == envelope.AudienceDirect && len(adds) > 0 && g.epoch() != 0 {
		return invalid("an Add to a direct group")
	}
	if extensions != nil {
		if err := checkPolicy(g.ext, extensions); err != nil {
			return err
		}
	}
	next, err := groupExtension(c.Extensions())
	if err != nil {
		return err
	}
	if g.ext.Flags&envelope.FlagLocked != 0 {
		if err := m.checkLocked(g, c); err != nil {
			return err
		}
	}
	return m.checkTree(c.Members(), g.id, next)
}

// checkPolicy: a GroupContextExtensions may set or clear "locked" and raise
// "admission", nothing else.
func checkPolicy(old envelope.SottoGroup, list []mls.Extension) error {
	next, err := groupExtension(list)
	if err != nil {
		return err
	}
	same := next
	same.Flags = same.Flags&^envelope.FlagLocked | old.Flags&envelope.FlagLocked
	same.Admission = old.Admission
	if string(same.Append(nil)) != string(old.Append(nil)) || next.Admission < old.Admission {
		return invalid("a change of what the group is")
	}
	return nil
}

// checkLocked: into a locked group only those come back whom the same Commit
// removes (§2.5).
func (m *Machine) checkLocked(g *group, c *mls.StagedCommit) error {
	gone := map[[32]byte]bool{}
	for _, i := range c.Removed() {
		if l := g.leaves[uint32(i)]; l != nil {
			gone[l.who.Identity] = true
		}
	}
	added := map[uint32]bool{}
	for _, i := range c.Added() {
		added[uint32(i)] = true
	}
	for _, member := range c.Members() {
		if !added[uint32(member.Index)] {
			continue
		}
		_, who, err := m.readLeaf(member.Leaf)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if !gone[who.Identity] {
			return invalid("an Add to a locked group")
		}
	}
	return nil
}
