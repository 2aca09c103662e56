// Package headless is what the commands without a window do on a client
// connection: play sends an Ogg Opus file as it is, record writes one file for
// each speaker, chat carries lines. No codec is involved anywhere.
package headless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

// maxClip bounds the packets of a file that play keeps in memory.
const maxClip = 64 << 20

// Errors of ReadClip, besides those of packages ogg and opus.
var (
	// ErrEmpty means that a file holds nothing to play.
	ErrEmpty = errors.New("headless: the file holds no audio")
	// ErrChannels means that the packets hold several Opus streams, as surround
	// sound does; a Mumble client would decode them to noise.
	ErrChannels = errors.New("headless: neither mono nor stereo")
)

// Clip is an Ogg Opus file, ready to be sent.
type Clip struct {
	packets   [][]byte
	durations []time.Duration
}

// ReadClip reads a whole Ogg Opus file. Each packet must be one that Mumble
// can carry: 10, 20, 40 or 60 ms, mono or stereo.
func ReadClip(r io.Reader) (*Clip, error) {
	o, err := ogg.NewReader(r)
	if err != nil {
		return nil, err
	}
	if h := o.Head(); h.MappingFamily != 0 && h.Mapping[0] != 1 {
		return nil, ErrChannels
	}
	var c Clip
	total := 0
	for {
		p, err := o.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := opus.Check(p.Data, 0); err != nil {
			return nil, fmt.Errorf("packet %d: %w", len(c.packets), err)
		}
		d, err := opus.Duration(p.Data)
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", len(c.packets), err)
		}
		if total += len(p.Data); total > maxClip {
			return nil, fmt.Errorf("the file has more than %d bytes of audio", maxClip)
		}
		c.packets = append(c.packets, slices.Clone(p.Data)) // the reader uses its room again
		c.durations = append(c.durations, d)
	}
	if len(c.packets) == 0 {
		return nil, ErrEmpty
	}
	return &c, nil
}

// Duration is the length of the clip.
func (c *Clip) Duration() time.Duration {
	var d time.Duration
	for _, one := range c.durations {
		d += one
	}
	return d
}

// Bandwidth is what a server will count for the clip at its densest, in bit/s,
// when each packet grows by extra bytes. Murmur adds 32 bytes of headers to
// each packet and looks at the last 360 (src/murmur/ServerUser.cpp,
// BandwidthRecord); beyond its limit it drops without a word.
func (c *Clip) Bandwidth(extra int) int {
	const window, headers = 360, 32
	most, bytes, length := 0, 0, time.Duration(0)
	for i, p := range c.packets {
		bytes += len(p) + headers + extra
		length += c.durations[i]
		if i >= window {
			bytes -= len(c.packets[i-window]) + headers + extra
			length -= c.durations[i-window]
		}
		if i >= window-1 || i == len(c.packets)-1 {
			most = max(most, int(int64(bytes)*8*int64(time.Second)/int64(length)))
		}
	}
	return most
}

// Played says what became of the packets.
type Played struct{ Sent, Held uint64 }

// Play waits until speech can leave, for readyWait at the most, and then sends
// the clip loops times in its own time. When the gate closes in between it
// waits again and goes on where it was. Events of conn must be read meanwhile.
func Play(ctx context.Context, conn *client.Client, clip *Clip, loops int, readyWait time.Duration) (Played, error) {
	var done Played
	if err := ready(ctx, conn, readyWait); err != nil {
		return done, err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now() // when the next packet is due
	number := uint64(0)
	for n := range loops {
		for i := 0; i < len(clip.packets); {
			timer.Reset(time.Until(next))
			select {
			case <-ctx.Done():
				return done, ctx.Err()
			case <-timer.C:
			}
			last := n == loops-1 && i == len(clip.packets)-1
			err := conn.SendVoice(client.Frame{FrameNumber: number, Opus: clip.packets[i], Terminator: last})
			step := clip.durations[i]
			number += uint64(step / (10 * time.Millisecond))
			next = next.Add(step)
			switch {
			case errors.Is(err, client.ErrHeld):
				done.Held++
				if err := ready(ctx, conn, readyWait); err != nil {
					return done, err
				}
				next = time.Now()
			case err != nil:
				return done, err
			default:
				done.Sent++
				i++
			}
		}
	}
	return done, nil
}

// ErrNotReady means that nobody to talk to was found in time.
var ErrNotReady = errors.New("headless: the microphone is held")

func ready(ctx context.Context, conn *client.Client, wait time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := conn.WaitReady(bounded)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ErrNotReady
	}
	return err
}
