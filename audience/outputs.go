package audience

import (
	"time"

	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/mls"
)

// Output is something to do or to know. The types below are all there are.
type Output interface{ output() }

// Priority orders what waits in the carrier (Sotto protocol §1.2). The values are
// those of package carrier.
type Priority uint8

// The priorities, the first goes first.
const (
	PriorityRemove Priority = iota
	PriorityWelcome
	PriorityAdd
	PriorityHello
	PriorityText
	PriorityBeacon
	PriorityUpdate
)

// Send asks the carrier to bring an object to these sessions and to answer with
// Delivered or Failed. Bulk says that it has no need of a point in the order.
type Send struct {
	Token    uint64
	To       []uint32 // ascending, never empty, without our own
	Object   envelope.Object
	Priority Priority
	Bulk     bool
}

// Cancel says that a Send is not wanted any more.
type Cancel struct{ Token uint64 }

// SendPresence asks for a presence in voice: three packets to the own channel.
type SendPresence struct{}

// Expect says that From may now send one long object of this kind, which the
// carrier would refuse from a stranger (Sotto protocol §12), for ten seconds.
type Expect struct {
	From uint32
	Kind envelope.Kind
}

// RunsSotto says, once for each session, that it shows signs of running Sotto.
// That is not authenticated.
type RunsSotto struct{ Session uint32 }

// Leaf is one member of a group as its tree has it.
type Leaf struct {
	Index   uint32
	Session uint32 // that its statement is for
	Role    envelope.Role
	Who     Who
	Server  [32]byte // certificate that it sees
	BaseKey [32]byte // of its voice in this epoch, step 0 (§7.1)
}

// EpochBegan says that we are in a group at this epoch, with the keys of its
// voice. They cannot be had a second time.
type EpochBegan struct {
	Group    envelope.GroupID
	Audience envelope.AudienceKind
	Anchor   uint32
	Place    int // index of the place in World, -1 for a direct group
	Epoch    uint64
	Suite    mls.CipherSuite
	Own      uint32   // our leaf
	Joined   bool     // our first epoch here
	Leaves   []Leaf   // ascending, with our own
	Context  [32]byte // key of position tags (§7.3)
	Code     [32]byte // key of group codes (§9.1)
	Removed  []uint32 // leaves of the former epoch that are gone
	// Switch is when our voice goes over to this epoch: at once after a Remove, or
	// after 300 ms (§7.4).
	Switch    time.Time
	Committer uint32 // session of who made it; our own too, 0 when we joined
	PSK       bool   // a typed secret is part of it
	Locked    bool
	Claimed   []uint32 // as in Health
}

// Lost says that we are no longer in a group, and its keys must be erased.
type Lost struct {
	Group  envelope.GroupID
	Place  int // -1 for a direct group
	Reason LostReason
	By     uint32 // session that removed us
}

// LostReason says why a group was lost.
type LostReason uint8

// The reasons.
const (
	LostLeft    LostReason = iota // our own act, or the place changed
	LostRemoved                   // By removed us
	LostMoved                     // replaced by the group that we moved to
	LostBroken                    // it cannot go on here
	LostIdle                      // a direct group that nobody used
)

// Application is application data of a member, authenticated by its signature.
type Application struct {
	Group   envelope.GroupID
	Place   int
	Epoch   uint64
	Leaf    uint32
	Session uint32
	Who     Who
	Data    envelope.AppData
}

// DirectReady answers OpenDirect: the group is there, and its EpochBegan came
// before.
type DirectReady struct {
	Token uint64
	Group envelope.GroupID
}

// DirectFailed answers OpenDirect: these sessions gave no KeyPackage in time. Unasked:
// not all of them were asked, so that nothing is known of them.
type DirectFailed struct {
	Token   uint64
	Missing []uint32
	Unasked bool
}

// Health is what is known of a group besides its members. It comes when it
// changes.
type Health struct {
	Group       envelope.GroupID
	Place       int
	Fork        bool     // members are shown another history
	Unconfirmed []uint32 // sessions without a recent proof of our epoch
	Overdue     []uint32 // gone on the server, and still able to hear for over 10 s
	Leaving     []uint32 // the same, not yet overdue
	OtherServer []uint32 // see another server certificate
	Claimed     []uint32 // have shown nothing themselves: their leaves are the word of who added them
	Groups      int      // groups seen in this audience, ours too
}

// GroupSeen says that a Beacon shows a group of a place that we are not in.
type GroupSeen struct {
	Place int
	Group envelope.GroupID
	Suite uint16
}

// Codes of Notice.
const (
	NoticeFork      = "fork"       // people are shown different histories
	NoticeHealed    = "healed"     // and now the same again
	NoticeRemovedBy = "removed"    // a present member was removed by another
	NoticeRemovedUs = "removed-us" // we were, though the server shows us here
	NoticeBadCommit = "bad-commit" // a member made an invalid Commit
	NoticeBlamed    = "blamed"     // two members report it
	NoticeNoCommit  = "no-commit"  // our Commits do not get through
	NoticeNoRefresh = "no-refresh" // our own keys cannot be renewed
	NoticeTwoGroups = "two-groups" // the audience stays split
	NoticeSecret    = "secret"     // a typed secret keeps us out of a group here
	NoticeLocked    = "locked"     // the group was locked or opened
	NoticeNotAdded  = "not-added"  // somebody wants in and may not
)

// Notice is something that a person should know. Who words it knows the names.
type Notice struct {
	Code    string
	Place   int
	Session uint32 // whom it is about; 0: nobody
	By      uint32 // who did it; 0: nobody
	Locked  bool   // of NoticeLocked; of NoticeNotAdded: because the group is locked
}

func (Send) output()         {}
func (Cancel) output()       {}
func (SendPresence) output() {}
func (Expect) output()       {}
func (RunsSotto) output()    {}
func (EpochBegan) output()   {}
func (Lost) output()         {}
func (Application) output()  {}
func (DirectReady) output()  {}
func (DirectFailed) output() {}
func (Health) output()       {}
func (GroupSeen) output()    {}
func (Notice) output()       {}
