package e2ee

import "strings"

// Question is what StateAsked asks the user.
type Question uint8

const (
	QuestionNone     Question = iota
	QuestionWait              // wait or leave
	QuestionClear             // wait, leave, or speak in clear
	QuestionRemove            // somebody removed may still hear: wait, leave or clear
	QuestionIdentity          // the identity of a known person changed: go on or leave
	QuestionWorse             // suite, regime or version are worse: go on or leave
)

var questionNames = [...]string{
	QuestionNone: "none", QuestionWait: "wait", QuestionClear: "clear",
	QuestionRemove: "remove", QuestionIdentity: "identity", QuestionWorse: "worse",
}

// String returns the word for q.
func (q Question) String() string {
	if int(q) < len(questionNames) {
		return questionNames[q]
	}
	return "unknown"
}

// Alarm says that only the user ends this question: neither keys that are ready
// nor people who come and go answer it.
func (q Question) Alarm() bool { return q == QuestionIdentity || q == QuestionWorse }

// Effect is a set of what a cell of the table asks of the gate's owner besides the
// change of state. A change of state is one line of its own, without an Effect.
type Effect uint16

const (
	EffectAsk        Effect = 1 << iota // ask the user Gate.Question
	EffectLine                          // say what happened; the state tells no more
	EffectHello                         // send Hello
	EffectJoin                          // say "n speak encrypted: join?"
	EffectMerge                         // start the merge of two groups (§4.6)
	EffectMayJoin                       // this peer may be admitted to the group
	EffectDeaf                          // say that the newcomer hears nothing
	EffectUnheard                       // say "nobody can hear you"
	EffectNotPrivate                    // the group is not Private: another certificate
	EffectConfirm                       // ask for the second act
	EffectLeave                         // the user leaves the channel
	EffectPolicy                        // say that the policy would have to change first
)

var effectNames = [...]string{
	"ask", "line", "hello", "join", "merge", "mayjoin", "deaf", "unheard",
	"notprivate", "confirm", "leave", "policy",
}

// Has says whether all of what are in e.
func (e Effect) Has(what Effect) bool { return e&what == what }

// Names returns the words for the effects in e, those of the test vectors.
func (e Effect) Names() []string {
	names := []string{}
	for i, name := range effectNames {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the words for e, joined by "+".
func (e Effect) String() string { return strings.Join(e.Names(), "+") }
