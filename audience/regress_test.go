package audience_test

import (
	"strconv"
	"testing"
)

// regressions are traces that once failed, by what was wrong.
var regressions = []struct {
	seed uint64
	what string
}{
	{7, "a rejoin without anybody to ask made KeyPackages without end"},
	{14, "without echoes, a Commit that others had taken was ignored for our own"},
	{19, "without echoes, a Commit waited for evidence of members that never joined"},
	{21, "a Beacon of somebody heard in two places was taken for the wrong one"},
	{61, "a Welcome that was not wanted any more was taken"},
	{63, "the Hello of a session for one place overwrote that for another"},
	{66, "one branch counted as several, as its members remember different epochs; and who lost three Presences was never known"},
	{69, "without echoes, a Commit that removes all others waited for evidence"},
	{157, "the Presence of somebody who was known already got no answer"},
	{196, "the lighter branch took itself for the heavier"},
	{2258, "a presence in voice came before the server showed its speaker, and only once"},
	{10425, "somebody whose leaving was lost stayed a member for good"},
	{20389, "somebody listened to a channel linked to its own, and was there twice"},
}

func TestRegressions(t *testing.T) {
	for _, r := range regressions {
		t.Run(strconv.FormatUint(r.seed, 10), func(t *testing.T) {
			tr := newTrace(t, r.seed)
			tr.play(200)
			if tr.report(t); tr.failed() {
				t.Log("once: " + r.what)
			}
		})
	}
}
