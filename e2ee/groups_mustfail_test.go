package e2ee_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/envelope"
)

// Everything that is authenticated, changed one by one; then the frame itself opens.
func TestGroupsMustFail(t *testing.T) {
	for _, end := range []bool{false, true} {
		alice, bob := talk(t)
		f := e2ee.Frame{FrameNumber: 0x1234567, Terminator: end, Opus: []byte("opus")}
		body, err := alice.SealVoice(nil, dawn, limit, &f)
		if err != nil {
			t.Fatal(err)
		}
		open := func(session uint32, vk byte, rest []byte, number uint64, end bool) error {
			f := e2ee.Frame{FrameNumber: number, Terminator: end}
			_, err := bob.OpenVoice(nil, dawn, session, vk, rest, &f)
			if err != nil && (f.Opus != nil || f.HasPosition) {
				t.Error("a frame that does not open has content")
			}
			return err
		}
		for i := range body[1:] {
			for bit := range 8 {
				rest := bytes.Clone(body[1:])
				rest[i] ^= 1 << bit
				if err := open(1, body[0], rest, f.FrameNumber, end); err == nil {
					t.Errorf("byte %d bit %d changed: it opens", i, bit)
				}
			}
		}
		for bit := range 16 {
			if err := open(1, body[0], body[1:], f.FrameNumber^1<<bit, end); !errors.Is(err, e2ee.ErrAuth) {
				t.Errorf("bit %d of the frame number: %v", bit, err)
			}
		}
		for what, err := range map[string]error{
			"terminator":               open(1, body[0], body[1:], f.FrameNumber, !end),
			"another member (MS12)":    open(3, body[0], body[1:], f.FrameNumber, end),
			"typed vk":                 open(1, envelope.VoiceTyped, body[1:], f.FrameNumber, end),
			"somebody who is not here": open(9, body[0], body[1:], f.FrameNumber, end),
			"ourselves":                open(2, body[0], body[1:], f.FrameNumber, end),
			"cut":                      open(1, body[0], body[1:len(body)-1], f.FrameNumber, end),
			"empty":                    open(1, body[0], nil, f.FrameNumber, end),
			"longer than any":          open(1, body[0], make([]byte, 1025), f.FrameNumber, end),
		} {
			if err == nil || errors.Is(err, e2ee.ErrFuture) {
				t.Errorf("%s: %v", what, err)
			}
		}
		// The group, epoch and leaf are authenticated even where the key is the same.
		for what, change := range map[string]func(own uint32) *e2ee.Groups{
			"group": func(own uint32) *e2ee.Groups {
				e, b := speaker(t, own, 3-own), epochOf(dawn, groupA, 1, own, 1, 2, 3)
				b.Group[15] = 9 // the tag is the same
				e.BeginEpoch(dawn, b)
				return e
			},
			"epoch": func(own uint32) *e2ee.Groups {
				e, b := speaker(t, own, 3-own), epochOf(dawn, groupA, 1, own, 1, 2, 3)
				b.Epoch += 256
				e.BeginEpoch(dawn, b)
				return e
			},
			"leaf": func(own uint32) *e2ee.Groups {
				e, b := speaker(t, own, 3-own), epochOf(dawn, groupA, 1, own, 1, 2, 3)
				b.Leaves[0].Index = 5
				e.BeginEpoch(dawn, b)
				return e
			},
		} {
			g := e2ee.Frame{FrameNumber: f.FrameNumber, Terminator: end}
			if _, err := change(2).OpenVoice(nil, dawn, 1, body[0], body[1:], &g); !errors.Is(err, e2ee.ErrAuth) {
				t.Errorf("another %s: %v", what, err)
			}
		}
		if err := open(1, body[0], body[1:], f.FrameNumber&0xffff, end); err != nil {
			t.Errorf("what was sent, the high bits of the number lost: %v", err)
		}
	}
}
