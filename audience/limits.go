package audience

import "time"

// MaxDirectPeople is how many people a direct group can be opened for, besides
// oneself (Sotto protocol §3).
const MaxDirectPeople = 32

// Bounds of Sotto protocol §12 that belong here. Those of bytes on the way are
// the carrier's.
const (
	maxMembers       = 128
	maxGroups        = 40
	maxDirect        = 32
	maxCommit        = 256 << 10
	maxProposals     = 64
	maxOrdered       = 6916 // bytes of an object that still goes as fragments (§1.2)
	maxVerifications = 50   // of Hellos and KeyPackages of strangers, per second
	maxAnswers       = 10   // Welcomes and solicited KeyPackages looked at, per second
	maxJoiners       = 32   // per Welcome
	maxHistory       = 8    // epochs of digests and Commits kept
	maxHistoryBytes  = 256 << 10
	maxWaiting       = 8 // Commits that wait for their epoch or body
	maxForeign       = 16
	maxBodies        = 4
	maxBodyBytes     = 512 << 10
	maxStatements    = 1024

	helloEvery     = time.Second
	helloBurst     = 3
	wantEvery      = time.Second
	replyEvery     = 10 * time.Second
	strangersReply = 5 * time.Second // to all of them together
	membersReply   = 3 * time.Second
	repliesBurst   = 24
	maxReplies     = 8
	toldEvery      = time.Second
	maxOffers      = 4 // KeyPackages out for one place
	commitsPerSec  = 4
)

// Times of the protocol.
const (
	presenceMax     = 300 * time.Millisecond // answers to a newcomer spread over it (§4)
	presenceTextMin = time.Second            // where they are texts
	presenceTextMax = 2 * time.Second
	newsWait        = 10 * time.Second        // then what waits keeps its place
	presenceRepeat  = 30 * time.Second        // to who has shown no sign of Sotto
	answerGap       = 1500 * time.Millisecond // until a presence of somebody known is answered again
	answerRepeat    = 10 * time.Second
	presenceSoonMin = 200 * time.Millisecond // in voice, after somebody unknown came (§1.4)
	presenceSoonMax = time.Second
	presenceEvery   = 5 * time.Second        // in voice (§1.4)
	gather          = 200 * time.Millisecond // before a Hello goes to who was seen, in E
	gatherText      = 700 * time.Millisecond // and where it is a text
	foundAfter      = time.Second            // after the own Hello got its point in the order (§4)
	foundStep       = 2 * time.Second
	foundAnyway     = 10 * time.Second
	helloPatience   = 3 * time.Second
	helloPatience2  = 60 * time.Second
	batchAdds       = 300 * time.Millisecond // §6.1
	commitEvery     = time.Second
	commitAgain     = 5 * time.Second // after one of ours did not get through
	reevaluate      = 200 * time.Millisecond
	burstUpdateMin  = 5 * time.Second
	burstUpdateMax  = 10 * time.Second
	ownUpdateMin    = 15 * time.Minute
	updateGap       = time.Minute
	rankPause       = 400 * time.Millisecond
	rankPauseN      = 3 * time.Second
	refSkip         = 3 * time.Second
	wantPace        = time.Second
	wantStep        = 400 * time.Millisecond
	againText       = 30 * time.Second // until a Want for what was sent before is answered where objects are texts
	againTextKiB    = 6 * time.Second  // and for each KiB of the Commit
	beaconEvery     = 10 * time.Second
	beaconEveryN    = 30 * time.Second
	beaconSoon      = 300 * time.Millisecond
	beaconDirect    = 60 * time.Second
	directActive    = 2 * time.Minute
	directIdle      = 10 * time.Minute
	directSpare     = 30 * time.Second // then it gives way if there is no room
	apartLife       = 5 * time.Minute  // then who has no group asks again
	directAsk       = 2 * time.Second  // after the last request has left
	directMost      = 20 * time.Second // after the first
	weightWindow    = 25 * time.Second
	weightWindowN   = 75 * time.Second
	silentNever     = 30 * time.Second // until a leaf that never gave a sign of life is removed
	silentLong      = 3 * time.Minute  // and one that gave some
	confirmWindow   = 60 * time.Second
	behindPatience  = 3 * time.Second
	newcomersLaterT = 4 * time.Second // with Adds
	newcomersLaterN = 3 * rankPauseN
	newcomerWait    = 2 * time.Second  // before a first Commit, unless somebody shows that we are where others are
	beaconLag       = 5 * time.Second  // a Beacon of before we joined may be under way so long
	strangersEvery  = 30 * time.Second // a stranger says that it is ahead of us
	overdueAfter    = 10 * time.Second
	moveWindow      = 10 * time.Minute
	maxMoves        = 3
	offerLife       = 10 * time.Minute
	switchLater     = 300 * time.Millisecond
	pastLife        = 5 * time.Second
	pastLifeRemove  = 2 * time.Second
	lifeBefore      = 24 * time.Hour
	lifeAfter       = 25 * time.Hour
	evidenceWait    = 3 * time.Second // regime N: until the same Commit is sent again
	evidenceTries   = 3
	expectLife      = 10 * time.Second
	welcomeGrace    = 6 * time.Second // a joiner's Welcome may be under way so long
)

// bucket allows burst at once and one more each rate.
type bucket struct {
	rate  time.Duration
	burst int
	at    time.Time // when it is full
}

func (b *bucket) take(now time.Time) bool {
	full := latest(b.at, now)
	if full.Sub(now) > time.Duration(b.burst-1)*b.rate {
		return false
	}
	b.at = full.Add(b.rate)
	return true
}
