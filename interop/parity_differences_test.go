package interop_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// These are all that guard changes for others, for the server and for its own client
// in the script of TestParity, by the words of docs/compat.md. The test takes them back
// and wants the rest to be the same; one that never shows is no difference any more.
const (
	diffRelease  = "the release ends in \"via Sotto\""
	diffWelcome  = "begins with our line; the server's own is marked"
	diffLimits   = "Bandwidth and lengths of texts"
	diffLines    = "Lines and refusals that begin with \"Sotto:\""
	diffBrake    = "Suppressed microphone"
	diffReasons  = "Words that the server chose: kicks, refusals"
	diffMarked   = "Texts that came in clear"
	diffObjects  = "Others receive plugin data named `sotto/1`"
	diffShout    = "arrives as a whisper"
	diffPosition = "Game context and identity"
)

// allDifferences are those.
var allDifferences = []string{
	diffRelease, diffWelcome, diffLimits, diffLines, diffBrake, diffReasons, diffMarked, diffObjects, diffShout, diffPosition,
}

// differ returns the message as it would be without guard, nil for one that would
// not be there.
func (a *actor) differ(m proto.Message) proto.Message {
	m = proto.Clone(m)
	hit := func(name string) { a.x.hits[name]++ }
	prefers := a.x.way.prefers(a.name)
	switch m := m.(type) {
	case *mumblepb.Version:
		if release, ok := strings.CutSuffix(m.GetRelease(), " via Sotto"); ok && a.guard != nil {
			m.Release = &release
			hit(diffRelease)
		}
	case *mumblepb.ServerSync:
		if text, ok := strings.CutPrefix(m.GetWelcomeText(), "Connected through Sotto on this computer.<br/>"); ok && a.guard != nil {
			text = strings.TrimPrefix(text, "[server] ")
			m.WelcomeText = &text
			hit(diffWelcome)
		}
		if prefers {
			m.MaxBandwidth = proto.Uint32(m.GetMaxBandwidth() + 8*50*56)
			hit(diffLimits)
		}
	case *mumblepb.ServerConfig:
		if prefers && m.GetMessageLength() >= 90000 && m.GetImageMessageLength() >= 90000 {
			m.MessageLength, m.ImageMessageLength = proto.Uint32(0), proto.Uint32(0)
			hit(diffLimits)
		}
	case *mumblepb.TextMessage:
		if a.guard != nil && m.Actor == nil && strings.HasPrefix(m.GetMessage(), "Sotto: ") {
			hit(diffLines)
			return nil
		}
		if text, ok := strings.CutPrefix(m.GetMessage(), "<b>[not encrypted]</b> "); ok && prefers && a.guard.state() != "Clear" {
			m.Message = &text
			hit(diffMarked)
		}
	case *mumblepb.PermissionDenied:
		if a.guard != nil && strings.HasPrefix(m.GetReason(), "Sotto: ") {
			hit(diffLines)
			return nil
		}
		if reason, ok := strings.CutPrefix(m.GetReason(), "[server] "); ok && prefers {
			m.Reason = &reason
			hit(diffReasons)
		}
	case *mumblepb.UserRemove:
		if reason, ok := strings.CutPrefix(m.GetReason(), "[server] "); ok && prefers {
			m.Reason = &reason
			hit(diffReasons)
		}
	case *mumblepb.UserState:
		// Of two words about it, the server's and guard's, the client sees the last.
		// What came of it is compared at the end of each step.
		if m.Suppress != nil && m.GetSession() == a.raw.Session && (a.name == "alice" || a.name == "SuperUser") {
			if prefers && m.GetSuppress() {
				hit(diffBrake)
			}
			m.Suppress = nil
			if proto.Equal(m, &mumblepb.UserState{Session: m.Session, Actor: m.Actor}) {
				return nil
			}
		}
	case *mumblepb.PluginDataTransmission:
		if m.GetDataID() == "sotto/1" && a.x.way != direct {
			hit(diffObjects)
			return nil
		}
	}
	return m
}

// differVoice is differ for voice.
func (a *actor) differVoice(step string, v *voice.Packet) *voice.Packet {
	p := *v
	from := a.people.name(v.Session)
	if a.x.way.prefers(from) && strings.HasPrefix(step, "shout") && p.Context == voice.ContextWhisper {
		p.Context = voice.ContextShout
		a.x.hits[diffShout]++
	}
	// Guard sends no position in clear unless policy is off, and no context of a game.
	if !p.HasPosition && p.FrameNumber%4 == 0 && (step == "talk in a game" || a.x.way.prefers(from)) {
		a.x.hits[diffPosition]++
	}
	p.HasPosition, p.Position = false, [3]float32{}
	return &p
}

// suppressed is whether the server lets the person speak, as far as the person can
// see.
func (a *actor) suppressed() bool { return a.raw.Users()[a.raw.Session].GetSuppress() }

// checkDifferences wants each difference to have shown, and to be written down.
func checkDifferences(t *testing.T, kind peers.ServerKind, runs map[way]*mix) {
	t.Helper()
	doc, err := os.ReadFile("../docs/compat.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range allDifferences {
		if name == diffObjects && kind == peers.Murmur134 {
			continue // which passes no plugin data on
		}
		n := 0
		for _, x := range runs {
			n += x.hits[name]
		}
		if n == 0 {
			t.Errorf("no run shows the difference: %s", name)
		}
		if !strings.Contains(string(doc), name) {
			t.Errorf("docs/compat.md does not list: %s", name)
		}
	}
	for w, fine := range map[way][]string{
		direct:     {},
		throughOff: {diffRelease, diffWelcome, diffLines, diffPosition},
	} {
		for name := range runs[w].hits {
			if !slices.Contains(fine, name) {
				t.Errorf("%s: there is %s", w, name)
			}
		}
	}
}
