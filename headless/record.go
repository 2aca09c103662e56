package headless

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/mumble/mirror"
	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

const (
	// maxTracks bounds the speakers of one recording; a server can invent any number.
	maxTracks = 512
	// maxSameName bounds the search for a name that is free.
	maxSameName = 10000
	// samplesPerFrame is what one Mumble frame number stands for: 10 ms at 48 kHz.
	samplesPerFrame = 480
	// restartAfter: a frame number that jumps back after such a pause is a
	// sender that has started to count anew, not a late packet.
	restartAfter = 500 * time.Millisecond
	// maxAhead is how far, in frame numbers, a sender may be ahead of the clock.
	maxAhead = 6000 // a minute
	maxOdd   = 5    // numbers ahead of the clock in a row until they are believed
	// flushEvery bounds what a crash loses.
	flushEvery = time.Second
)

// Recorder writes DIR/NAME-SESSION.opus for each speaker, one packet per page,
// and beside it NAME-SESSION.jsonl, one line per packet. Not safe for
// concurrent use.
type Recorder struct {
	dir    string
	tracks map[uint32]*track
	done   []Track
}

// track is one speaker's pair of files.
type track struct {
	Track
	audio  *os.File
	lines  *os.File
	buffer *bufio.Writer
	ogg    *ogg.Writer
	base   uint64 // frame number that stands at granule offset
	offset int64  // 48 kHz samples
	last   uint64
	end    int64
	at     time.Time
	begun  bool
	odd    int  // numbers ahead of the clock in a row
	ended  bool // the last packet was the last of its spurt
}

// Track says what was recorded of one speaker.
type Track struct {
	Session uint32
	Name    string
	File    string
	Packets uint64
	Lost    uint64 // packets missing inside spurts, by frame numbers
	Late    uint64 // packets that are only in the line file, because they came after a later one or do not fit in
}

// line is one line of the .jsonl file.
type line struct {
	Frame      uint64    `json:"frame"` // Mumble frame number, 10 ms each
	Time       time.Time `json:"time"`  // of arrival
	Bytes      int       `json:"bytes"`
	Granule    int64     `json:"granule"` // of the end, 48 kHz
	Terminator bool      `json:"terminator,omitempty"`
	Encrypted  bool      `json:"encrypted"`
	Whisper    bool      `json:"whisper,omitempty"`
	Late       bool      `json:"late,omitempty"`
}

// NewRecorder makes the directory if need be.
func NewRecorder(dir string) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Recorder{dir: dir, tracks: map[uint32]*track{}}, nil
}

// Record writes what conn hears until the context ends or the connection does;
// the latter is an error. Each event is also handed to see.
func Record(ctx context.Context, conn *client.Client, r *Recorder, see func(client.Event)) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := r.flush(); err != nil {
				return err
			}
		case ev, ok := <-conn.Events():
			if !ok {
				return client.ErrClosed
			}
			see(ev)
			if err := r.handle(ev); err != nil {
				return err
			}
		}
	}
}

func (r *Recorder) handle(ev client.Event) error {
	switch ev := ev.(type) {
	case client.Voice:
		return r.voice(ev)
	case client.MirrorEvent:
		// A session id is given again; the next one to have it is another person.
		if gone, ok := ev.Event.(mirror.UserRemoved); ok {
			return r.finish(gone.User.Session)
		}
	case client.Disconnected:
		if ev.Retry == 0 {
			return ev.Err
		}
		return r.finishAll()
	}
	return nil
}

func (r *Recorder) voice(ev client.Voice) error {
	if len(ev.Opus) == 0 {
		if t, ok := r.tracks[ev.From]; ok && ev.Terminator {
			t.ended = true // what follows is a pause and no loss
		}
		return nil
	}
	d, err := opus.Duration(ev.Opus)
	if err != nil {
		return nil // in clear recordings anything can arrive
	}
	t, ok := r.tracks[ev.From]
	if !ok {
		if len(r.tracks)+len(r.done) >= maxTracks {
			return nil
		}
		if t, err = r.open(ev); err != nil {
			return err
		}
		r.tracks[ev.From] = t
	}
	return t.write(ev, d)
}

// open makes the files of one speaker. It never writes over anything.
func (r *Recorder) open(ev client.Voice) (*track, error) {
	audio, lines, err := r.create(fmt.Sprintf("%s-%d", FileName(ev.Name), ev.From))
	if err != nil {
		return nil, err
	}
	buffer := bufio.NewWriter(audio)
	channels := uint8(1)
	if opus.TOC(ev.Opus[0]).Stereo() {
		channels = 2
	}
	w, err := ogg.NewWriter(buffer, ev.From, ogg.Head{Channels: channels, InputSampleRate: 48000}, ogg.Tags{Vendor: "Sotto"})
	if err != nil {
		audio.Close()
		lines.Close()
		return nil, err
	}
	return &track{
		Track: Track{Session: ev.From, Name: ev.Name, File: audio.Name()},
		audio: audio, lines: lines, buffer: buffer, ogg: w,
	}, nil
}

// create makes the pair of files NAME.opus and NAME.jsonl, or NAME.2 and so on
// if one of the two is there.
func (r *Recorder) create(name string) (audio, lines *os.File, err error) {
	const flags = os.O_CREATE | os.O_EXCL | os.O_WRONLY
	for n := 1; ; n++ {
		path := filepath.Join(r.dir, name)
		if n > 1 {
			path = fmt.Sprintf("%s.%d", path, n)
		}
		audio, err = os.OpenFile(path+".opus", flags, 0o600)
		if err == nil {
			lines, err = os.OpenFile(path+".jsonl", flags, 0o600)
			if err == nil {
				return audio, lines, nil
			}
			audio.Close()
			os.Remove(audio.Name())
		}
		if !errors.Is(err, os.ErrExist) || n >= maxSameName {
			return nil, nil, err
		}
	}
}

// ahead reports whether a number is further ahead than any clock allows.
func (t *track) ahead(ev client.Voice) bool {
	passed := uint64(max(0, ev.At.Sub(t.at)) / (10 * time.Millisecond))
	return ev.FrameNumber > t.last && ev.FrameNumber-t.last > passed+maxAhead
}

// write appends one packet. The granule position follows the frame numbers, so
// that pauses and losses keep their length.
func (t *track) write(ev client.Voice, d time.Duration) error {
	frames := uint64(d / (10 * time.Millisecond))
	samples := int64(d / time.Microsecond * 48 / 1000)
	l := line{
		Frame: ev.FrameNumber, Time: ev.At.UTC(), Bytes: len(ev.Opus),
		Terminator: ev.Terminator, Encrypted: ev.Encrypted, Whisper: ev.Whisper,
	}
	lost := uint64(0)
	switch {
	case !t.begun:
		t.base, t.begun = ev.FrameNumber, true
	case t.ahead(ev) && t.odd < maxOdd:
		// Only the low 16 bits of a number are authenticated, so this is most
		// likely the server's; a sender that counts so goes on doing it.
		t.odd++
		t.Late++
		l.Late = true
	case ev.FrameNumber < t.last && ev.At.Sub(t.at) >= restartAfter, t.ahead(ev):
		// Counting anew: the pause keeps the length it had on the clock.
		pause := max(0, ev.At.Sub(t.at)-d)
		t.base, t.offset = ev.FrameNumber, t.end+int64(pause/(10*time.Millisecond))*samplesPerFrame
	case ev.FrameNumber < t.last:
		t.Late++
		l.Late = true
	case ev.FrameNumber > t.last && !t.ended && frames > 0:
		lost = (ev.FrameNumber - t.last) / frames
	}
	if !l.Late {
		l.Granule = t.offset + int64(ev.FrameNumber-t.base)*samplesPerFrame + samples
		if l.Granule <= t.end {
			l.Late, l.Granule = true, 0 // overlaps what is written: a sender that lies about its numbers
			t.Late++
		}
	}
	if !l.Late {
		err := t.ogg.WritePacket(ev.Opus, l.Granule)
		switch {
		case errors.Is(err, ogg.ErrTooLong), errors.Is(err, ogg.ErrGranule):
			// Of this packet and not of the file: the others go on.
			l.Late, l.Granule = true, 0
			t.Late++
		case err != nil:
			return err
		default:
			t.end, t.last, t.at, t.ended = l.Granule, ev.FrameNumber+frames, ev.At, ev.Terminator
			t.odd = 0
			t.Packets++
			t.Lost += lost // only now: a number that is refused above says nothing
		}
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = t.lines.Write(append(b, '\n'))
	return err
}

func (r *Recorder) flush() error {
	for _, t := range r.tracks {
		if err := t.buffer.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recorder) finish(session uint32) error {
	t, ok := r.tracks[session]
	if !ok {
		return nil
	}
	delete(r.tracks, session)
	if len(r.done) < maxTracks {
		r.done = append(r.done, t.Track)
	}
	return errors.Join(t.ogg.Close(), t.buffer.Flush(), t.audio.Close(), t.lines.Close())
}

func (r *Recorder) finishAll() error {
	var errs []error
	for _, session := range slices.Sorted(maps.Keys(r.tracks)) {
		errs = append(errs, r.finish(session))
	}
	return errors.Join(errs...)
}

// Tracks says what was recorded, after Close, in the order in which the
// speakers ended; of very many the first ones.
func (r *Recorder) Tracks() []Track { return slices.Clone(r.done) }

// Close finishes all files.
func (r *Recorder) Close() error { return r.finishAll() }

// FileName turns a user's name into a safe part of a file name: letters,
// digits, dot, dash and underscore of any script, at most 64 bytes, no leading
// dot or dash, never empty.
func FileName(name string) string {
	var b strings.Builder
	for _, c := range name {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(".-_", c) {
			c = '_'
		}
		if b.Len() == 0 && (c == '.' || c == '-') {
			c = '_'
		}
		if b.Len()+utf8.RuneLen(c) > 64 {
			break
		}
		b.WriteRune(c)
	}
	if b.Len() == 0 {
		return "user"
	}
	return b.String()
}
