package e2ee_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/internal/vectors"
	"github.com/sotto-voip/sotto/sframe"
)

const (
	keysVectors  = "../docs/spec/vectors/keys.json"
	mediaVectors = "../docs/spec/vectors/media.json"
)

// mediaFile is docs/spec/vectors/media.json: Sotto protocol §13, 10 and 11.
type mediaFile struct {
	About         []string    `json:"about"`
	PluginContext vectors.Hex `json:"plugin_context"`
	Sessions      []uint32    `json:"sessions"`
	Received      []mediaRun  `json:"received"`
	Sent          []sentRun   `json:"sent"`
}

type mediaRun struct {
	About string      `json:"about"`
	Steps []mediaStep `json:"steps"`
}

// mediaStep is one of begin, lose and frame, ms after the step before.
type mediaStep struct {
	MS    int64       `json:"ms,omitempty"`
	Begin *epochBegin `json:"begin,omitempty"`
	Lose  vectors.Hex `json:"lose,omitempty"`
	Frame *frameIn    `json:"frame,omitempty"`
}

type epochBegin struct {
	Group   vectors.Hex  `json:"group"`
	Direct  bool         `json:"direct,omitempty"`
	Epoch   uint64       `json:"epoch"`
	Own     uint32       `json:"own"`
	Leaves  []leafVector `json:"leaves"`
	Removed []uint32     `json:"removed,omitempty"`
	Context vectors.Hex  `json:"context_key"`
}

type leafVector struct {
	Leaf     uint32      `json:"leaf"`
	Session  uint32      `json:"session"`
	Listener bool        `json:"listener,omitempty"`
	BaseKey  vectors.Hex `json:"base_key"`
}

type frameIn struct {
	vectors.Case
	Session     uint32      `json:"session"`
	VK          byte        `json:"vk"`
	Rest        vectors.Hex `json:"rest"`
	FrameNumber uint64      `json:"frame_number"`
	Terminator  bool        `json:"terminator,omitempty"`
	Future      bool        `json:"future,omitempty"` // not valid, but to be kept for 600 ms
	Group       vectors.Hex `json:"group,omitempty"`
	Opus        vectors.Hex `json:"opus,omitempty"`
	Position    []float32   `json:"position,omitempty"`
}

// sentRun is what a sender makes of frames.
type sentRun struct {
	About  string     `json:"about"`
	Begin  epochBegin `json:"begin"`
	Frames []frameOut `json:"frames"`
}

type frameOut struct {
	vectors.Case
	MS          int64       `json:"ms"`
	Limit       int         `json:"limit"`
	Opus        vectors.Hex `json:"opus"`
	Position    []float32   `json:"position,omitempty"`
	FrameNumber uint64      `json:"frame_number"`
	Terminator  bool        `json:"terminator,omitempty"`
	Body        vectors.Hex `json:"body,omitempty"`
}

func (b epochBegin) event(now time.Time) audience.EpochBegan {
	out := audience.EpochBegan{Group: envelope.GroupID(b.Group), Audience: envelope.AudienceChannel, Epoch: b.Epoch, Own: b.Own, Removed: b.Removed, Context: [32]byte(b.Context), Switch: now}
	if b.Direct {
		out.Audience = envelope.AudienceDirect
	}
	for _, l := range b.Leaves {
		leaf := audience.Leaf{Index: l.Leaf, Session: l.Session, BaseKey: [32]byte(l.BaseKey)}
		if l.Listener {
			leaf.Role = envelope.RoleListener
		}
		out.Leaves = append(out.Leaves, leaf)
	}
	return out
}

// vectorEngine is an engine that these sessions are shown to.
func vectorEngine(t *testing.T, now time.Time, context []byte, sessions ...uint32) *e2ee.Groups {
	t.Helper()
	g, err := e2ee.NewGroups(e2ee.GroupsConfig{Policy: e2ee.PolicyPrefer, Server: testServer, Device: identity.New().NewDevice(0)})
	if err != nil {
		t.Fatal(err)
	}
	g.SpeakOnly(7, sessions...)
	g.Handle(now, e2ee.PluginContext{Context: context})
	return g
}

var mediaStart = time.Unix(1_800_000_000, 0)

func TestVectorsMedia(t *testing.T) {
	f := vectors.Golden(t, *update, mediaVectors, makeMedia())
	good, bad := 0, 0
	for _, run := range f.Received {
		now := mediaStart
		g := vectorEngine(t, now, f.PluginContext, f.Sessions...)
		for _, s := range run.Steps {
			now = now.Add(time.Duration(s.MS) * time.Millisecond)
			g.Handle(now, nil)
			switch {
			case s.Begin != nil:
				g.BeginEpoch(now, s.Begin.event(now))
			case s.Lose != nil:
				g.LoseGroup(now, envelope.GroupID(s.Lose))
			default:
				receiveVector(t, g, now, run.About, s.Frame)
				if s.Frame.Valid {
					good++
				} else {
					bad++
				}
			}
		}
	}
	for _, run := range f.Sent {
		now := mediaStart
		g := vectorEngine(t, now, f.PluginContext, f.Sessions...)
		b := run.Begin.event(now)
		g.BeginEpoch(now, b)
		for _, s := range run.Frames {
			now = now.Add(time.Duration(s.MS) * time.Millisecond)
			frame := e2ee.Frame{FrameNumber: s.FrameNumber, Terminator: s.Terminator, Opus: s.Opus}
			if s.Position != nil {
				frame.HasPosition, frame.Position = true, [3]float32(s.Position)
			}
			body, err := g.SealIn(nil, now, s.Limit, &frame, b.Group)
			if (err == nil) != s.Valid || err == nil && !bytes.Equal(body, s.Body) {
				t.Errorf("%s, %s: %x, %v; want %x", run.About, s.Why, body, err, []byte(s.Body))
			}
		}
	}
	t.Logf("%d frames that open, %d that do not", good, bad)
}

func receiveVector(t *testing.T, g *e2ee.Groups, now time.Time, about string, s *frameIn) {
	t.Helper()
	frame := e2ee.Frame{FrameNumber: s.FrameNumber, Terminator: s.Terminator}
	o, err := g.OpenVoice(nil, now, s.Session, s.VK, s.Rest, &frame)
	switch {
	case (err == nil) != s.Valid || errors.Is(err, e2ee.ErrFuture) != s.Future:
		t.Errorf("%s, %s: %v", about, s.Why, err)
	case s.Valid && (!bytes.Equal(frame.Opus, s.Opus) || !bytes.Equal(o.Group[:], s.Group)):
		t.Errorf("%s, %s: %q of %x", about, s.Why, frame.Opus, o.Group)
	case frame.HasPosition != (s.Position != nil) || s.Position != nil && frame.Position != [3]float32(s.Position):
		t.Errorf("%s, %s: position %v, %v", about, s.Why, frame.HasPosition, frame.Position)
	}
}

// keysFile is docs/spec/vectors/keys.json: Sotto protocol §13, 9.
type keysFile struct {
	About    []string         `json:"about"`
	Exporter []exporterVector `json:"exporter"`
	Steps    []stepsVector    `json:"steps"`
	Keys     []sframeVector   `json:"keys"`
}

type exporterVector struct {
	vectors.Case
	Exporter vectors.Hex `json:"exporter_secret"`
	Label    string      `json:"label"`
	Context  vectors.Hex `json:"context"`
	Value    vectors.Hex `json:"value"`
}

type stepsVector struct {
	Leaf     uint32        `json:"leaf"`
	BaseKeys []vectors.Hex `json:"base_keys"`
}

type sframeVector struct {
	vectors.Case
	Base  vectors.Hex `json:"base_key"`
	Group vectors.Hex `json:"group"`
	Epoch uint64      `json:"epoch"`
	Step  uint64      `json:"step"`
	Long  bool        `json:"long"`
	KID   vectors.Hex `json:"kid"`
	CTR   uint64      `json:"ctr"`
	Meta  vectors.Hex `json:"metadata"`
	Plain vectors.Hex `json:"plaintext"`
	Frame vectors.Hex `json:"sframe"`
}

func TestVectorsKeys(t *testing.T) {
	f := vectors.Golden(t, *update, keysVectors, makeKeys())
	const suite = sframe.AES_128_GCM_SHA256_128
	for _, s := range f.Steps {
		// That the exporter values are those of MLS is held there.
		first := slices.ContainsFunc(f.Exporter, func(c exporterVector) bool {
			return c.Valid && c.Label == "sotto/1 media" && bytes.Equal(c.Context, u32(s.Leaf)) && bytes.Equal(c.Value, s.BaseKeys[0])
		})
		if !first || len(s.BaseKeys) != 21 {
			t.Errorf("leaf %d: %d steps, from no exporter value", s.Leaf, len(s.BaseKeys))
		}
		for i := 1; i < len(s.BaseKeys); i++ {
			got, err := sframe.Ratchet(suite, s.BaseKeys[i-1], 32)
			if err != nil || !bytes.Equal(got, s.BaseKeys[i]) {
				t.Errorf("leaf %d, step %d: %x, %v", s.Leaf, i, got, err)
			}
		}
	}
	for _, c := range f.Keys {
		var kid uint64
		for _, b := range c.KID {
			kid = kid<<8 | uint64(b)
		}
		key, err := sframe.NewKey(suite, kid, c.Base)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := key.Open(nil, c.Frame, c.Meta)
		if (err == nil) != c.Valid || c.Valid && !bytes.Equal(plain, c.Plain) {
			t.Errorf("%s: %x, %v", c.Why, plain, err)
		}
		if c.Valid && !bytes.Equal(key.Seal(nil, c.CTR, c.Meta, c.Plain), c.Frame) {
			t.Errorf("%s: sealed to other bytes", c.Why)
		}
	}
}
