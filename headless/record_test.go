package headless_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/ogg"
)

// recording is a Record under way.
type recording struct {
	*headless.Recorder
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	seen   []client.Event
}

func record(t *testing.T, c *client.Client, dir string) *recording {
	t.Helper()
	r, err := headless.NewRecorder(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	one := &recording{Recorder: r, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() {
		one.done <- headless.Record(ctx, c, r, func(ev client.Event) { one.seen = append(one.seen, ev) })
	}()
	synctest.Wait()
	return one
}

// stop ends the recording, which must not have ended by itself.
func (r *recording) stop() []headless.Track {
	r.t.Helper()
	synctest.Wait()
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("Record: %v", err)
	}
	if err := r.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	return r.Tracks()
}

// written is what a line file says of one packet, and what the Ogg file holds.
type written struct {
	Frame      uint64
	Time       time.Time
	Bytes      int
	Granule    int64
	Terminator bool
	Encrypted  bool
	Whisper    bool
	Late       bool
	data       []byte
}

// files reads the pair of files of one track and sees that they agree: each
// packet of the Ogg file has a line that is not late, in the same order.
func files(t *testing.T, file string) (ogg.Head, []written) {
	t.Helper()
	var all []written
	text, err := os.ReadFile(strings.TrimSuffix(file, ".opus") + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var w written
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, w)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o, err := ogg.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Late {
			continue
		}
		p, err := o.Next()
		if err != nil || p.Granule != all[i].Granule || len(p.Data) != all[i].Bytes {
			t.Fatalf("%s, packet %d: %d bytes at %d, %v; its line: %+v", file, i, len(p.Data), p.Granule, err, all[i])
		}
		all[i].data = bytes.Clone(p.Data)
	}
	if p, err := o.Next(); err != io.EOF {
		t.Fatalf("%s: after the last line %d bytes, %v", file, len(p.Data), err)
	}
	for _, f := range []string{file, strings.TrimSuffix(file, ".opus") + ".jsonl"} {
		if info, err := os.Stat(f); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", f, info.Mode(), err)
		}
	}
	return o.Head(), all
}

// TestGranule follows the frame numbers of one speaker through everything that
// a network and a sender can do to them.
func TestGranule(t *testing.T) {
	type step struct {
		wait    time.Duration // since the step before
		number  uint64
		opus    []byte
		end     bool
		granule int64 // in frames of 10 ms; -1: left out of the Ogg file
	}
	one, two, ten := speech(1, 'a'), speech(2, 'b'), []byte{0xF0, 1, 2, 3}
	for _, tt := range []struct {
		name       string
		steps      []step
		lost, late uint64
	}{
		{"in a row", []step{{0, 0, one, false, 2}, {20 * ms, 2, one, false, 4}, {20 * ms, 4, one, true, 6}}, 0, 0},
		{"begins anywhere", []step{{0, 1000, one, false, 2}, {20 * ms, 1002, one, false, 4}}, 0, 0},
		{"10, 20 and 40 ms", []step{{0, 0, ten, false, 1}, {10 * ms, 1, two, false, 5}, {40 * ms, 5, one, false, 7}}, 0, 0},
		{"a pause between spurts", []step{{0, 0, one, true, 2}, {time.Second, 102, one, false, 104}}, 0, 0},
		{"two packets lost", []step{{0, 0, one, false, 2}, {60 * ms, 6, one, false, 8}}, 2, 0},
		{"lost around the end of a spurt", []step{{0, 0, one, true, 2}, {60 * ms, 6, one, false, 8}}, 0, 0},
		{"one late", []step{{0, 0, one, false, 2}, {20 * ms, 4, one, false, 6}, {0, 2, one, false, -1}, {20 * ms, 6, one, false, 8}}, 1, 1},
		{"one twice", []step{{0, 0, one, false, 2}, {0, 0, one, false, -1}, {20 * ms, 2, one, false, 4}}, 0, 1},
		{"overlaps", []step{{0, 0, two, false, 4}, {20 * ms, 2, one, false, -1}, {20 * ms, 4, one, false, 6}}, 0, 1},
		{"counts anew after a second", []step{{0, 500, one, true, 2}, {time.Second, 0, one, false, 102}, {20 * ms, 2, one, false, 104}}, 0, 0},
		{"counts anew at once", []step{{0, 500, one, true, 2}, {20 * ms, 0, one, false, -1}, {time.Second, 2, one, false, 104}}, 0, 1},
		{"an impossible number", []step{{0, 0, one, false, 2}, {20 * ms, math.MaxUint64, one, false, -1}, {20 * ms, 4, one, false, 6}}, 1, 1},
		{"what is no Opus", []step{{0, 0, one, false, 2}, {20 * ms, 2, []byte{0xFB}, false, -2}, {20 * ms, 4, one, false, 6}}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var began time.Time
			var tracks []headless.Track
			play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
				r := record(t, c, dir)
				s.come(7, "alice")
				began = time.Now()
				for _, p := range tt.steps {
					time.Sleep(p.wait)
					s.say(7, p.number, p.opus, func(v *voice.Packet) { v.Terminator = p.end })
				}
				tracks = r.stop()
			})
			if len(tracks) != 1 {
				t.Fatalf("%d tracks", len(tracks))
			}
			_, got := files(t, tracks[0].File)
			var packets uint64
			at, i := began, 0
			for _, p := range tt.steps {
				at = at.Add(p.wait)
				if p.granule == -2 {
					continue // not even a line
				}
				if i >= len(got) {
					t.Fatalf("%d lines", len(got))
				}
				w := got[i]
				i++
				if w.Frame != p.number || !w.Time.Equal(at) || w.Bytes != len(p.opus) || w.Terminator != p.end || w.Encrypted || w.Whisper {
					t.Errorf("line %d: %+v, want %+v at %v", i, w, p, at)
				}
				if p.granule == -1 {
					if !w.Late || w.Granule != 0 {
						t.Errorf("line %d: %+v, want it late", i, w)
					}
					continue
				}
				packets++
				if w.Late || w.Granule != p.granule*480 || !bytes.Equal(w.data, p.opus) {
					t.Errorf("line %d: granule %d (%.1f frames), late %v; want %d frames", i, w.Granule, float64(w.Granule)/480, w.Late, p.granule)
				}
			}
			if i != len(got) {
				t.Errorf("%d lines, want %d", len(got), i)
			}
			want := headless.Track{Session: 7, Name: "alice", File: filepath.Join(dir, "alice-7.opus"), Packets: packets, Lost: tt.lost, Late: tt.late}
			if tracks[0] != want {
				t.Errorf("got  %+v\nwant %+v", tracks[0], want)
			}
		})
	}
}

// TestEndAlone: a packet of no audio ends the spurt; the pause behind it is no
// loss. Only the legacy form has such packets.
func TestEndAlone(t *testing.T) {
	dir := t.TempDir()
	var tracks []headless.Track
	play(t, client.Config{Announce: control.MakeVersion(1, 3, 4)}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		s.come(7, "alice")
		s.say(7, 0, nil, last) // before anything was heard
		s.say(7, 10, speech(1, 'a'))
		s.say(7, 12, nil, last)
		s.say(7, 100, speech(1, 'b'))
		tracks = r.stop()
	})
	if len(tracks) != 1 || tracks[0].Packets != 2 || tracks[0].Lost != 0 {
		t.Fatalf("%+v", tracks)
	}
	if _, got := files(t, tracks[0].File); len(got) != 2 || got[1].Granule != 92*480 {
		t.Errorf("%+v", got)
	}
}

func TestSpeakersApart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "deep")
	var tracks []headless.Track
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		s.come(7, "alice")
		s.come(8, "bob")
		for i := range uint64(50) {
			s.say(7, 2*i, speech(1, byte(i)))
			s.say(8, 100+2*i, append([]byte{0xFC}, byte(i), 1, 2), whisper) // stereo
			time.Sleep(20 * ms)
		}
		s.say(7, 100, speech(1, 'z'), last)
		tracks = r.stop()
		if len(r.seen) == 0 {
			t.Error("no event was shown")
		}
	})
	if len(tracks) != 2 || tracks[0].Session != 7 || tracks[0].Packets != 51 || tracks[1].Session != 8 || tracks[1].Packets != 50 {
		t.Fatalf("%+v", tracks)
	}
	for i, channels := range []uint8{1, 2} {
		head, lines := files(t, tracks[i].File)
		if head.Channels != channels {
			t.Errorf("%s has %d channels, want %d", tracks[i].File, head.Channels, channels)
		}
		for _, w := range lines {
			if w.Whisper != (i == 1) {
				t.Errorf("%s: %+v", tracks[i].File, w)
			}
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want mode 0700", info.Mode(), err)
	}
}

// TestSessionAgain: the server gives a session id again, to somebody else or to
// the same person, and each time it is another file.
func TestSessionAgain(t *testing.T) {
	dir := t.TempDir()
	var tracks []headless.Track
	play(t, client.Config{Reconnect: true}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		for i, name := range []string{"alice", "bob", "alice", "alice"} {
			s.come(7, name)
			for n := range uint64(i + 1) {
				s.say(7, 2*n, speech(1, byte(n)))
			}
			s.leave(7)
		}
		// After a lost connection every session is another one too.
		s.come(7, "alice")
		s.say(7, 0, speech(1, 'x'))
		s.cut()
		time.Sleep(5 * time.Second)
		s.come(7, "alice")
		s.say(7, 0, speech(1, 'y'))
		s.say(7, 2, speech(1, 'z'))
		tracks = r.stop()
		if s.logins != 2 {
			t.Errorf("%d logins", s.logins)
		}
	})
	var got []string
	for _, tr := range tracks {
		got = append(got, fmt.Sprintf("%s %d", filepath.Base(tr.File), tr.Packets))
		files(t, tr.File)
	}
	want := []string{"alice-7.opus 1", "bob-7.opus 2", "alice-7.2.opus 3", "alice-7.3.opus 4", "alice-7.4.opus 1", "alice-7.5.opus 2"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestNothingIsOverwritten: neither a recording, nor its lines alone, nor what
// a link points to.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	precious := []byte("precious")
	target := filepath.Join(dir, "target")
	for _, name := range []string{"alice-7.opus", "alice-7.2.jsonl", "target"} {
		if err := os.WriteFile(filepath.Join(dir, name), precious, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"alice-7.3.opus", "alice-7.4.jsonl"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	var tracks []headless.Track
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		s.come(7, "alice")
		s.say(7, 0, speech(1, 'a'))
		tracks = r.stop()
	})
	if len(tracks) != 1 || filepath.Base(tracks[0].File) != "alice-7.5.opus" {
		t.Errorf("%+v", tracks)
	}
	for _, name := range []string{"alice-7.opus", "alice-7.2.jsonl", "target"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, precious) {
			t.Errorf("%s now holds %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"alice-7.2.opus", "alice-7.4.opus"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left of an attempt: %v", name, err)
		}
	}
}

// TestHostileNames: whatever people call themselves, the files stay in the
// directory and keep their endings.
func TestHostileNames(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "rec")
	names := []string{
		"../../../evil", "/etc/passwd", `..\..\evil`, "..", ".", ".hidden", "", "nul\x00name", "new\nline",
		"\x1b[2J", "a/b", "C:evil", "\u202eopus.exe", "con", "\xff\xfe", strings.Repeat("x", 1<<20), strings.Repeat("\u00e9", 500),
	}
	var tracks []headless.Track
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		for i, name := range names {
			if utf8.ValidString(name) { // protobuf takes no other
				s.come(uint32(10+i), name)
				s.say(uint32(10+i), 0, speech(1, byte(i)))
			}
		}
		tracks = r.stop()
	})
	if len(tracks) != len(names)-1 {
		t.Errorf("%d tracks, want %d", len(tracks), len(names)-1)
	}
	expected := 0
	for _, tr := range tracks {
		files(t, tr.File)
		expected += 2
		if filepath.Dir(tr.File) != dir {
			t.Errorf("%s lies outside", tr.File)
		}
	}
	found := 0
	filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		if d.Type().IsRegular() {
			found++
			if filepath.Dir(p) != dir {
				t.Errorf("%s was made", p)
			}
		}
		return nil
	})
	if found != expected {
		t.Errorf("%d files, want %d", found, expected)
	}
}

func TestFileName(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"alice", "alice"},
		{"Alice_B-2.c", "Alice_B-2.c"},
		{"Ünal Ж 李", "Ünal_Ж_李"},
		{"", "user"},
		{".", "_"},
		{"..", "_."},
		{"../../x", "_._.._x"},
		{".bashrc", "_bashrc"},
		{"a/b\\c:d*e?f", "a_b_c_d_e_f"},
		{"nul\x00\n\x1b[2J", "nul____2J"},
		{"\u202eexe.opus", "_exe.opus"},
		{"\xff\xfe", "__"},
		{strings.Repeat("x", 1<<20), strings.Repeat("x", 64)},
		{strings.Repeat("é", 500), strings.Repeat("é", 32)},
		{"a" + strings.Repeat("é", 500), "a" + strings.Repeat("é", 31)},
	} {
		if got := headless.FileName(tt.in); got != tt.want {
			t.Errorf("%.40q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"", "alice", "../../x", ".a", "\x00", "\xff", "李", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := headless.FileName(name)
		if got == "" || got[0] == '.' || len(got) > 64 || !utf8.ValidString(got) || got != filepath.Base(got) ||
			strings.ContainsAny(got, "/\\:\x00\n\x1b") || headless.Printable(got) != got {
			t.Errorf("%q becomes %q", name, got)
		}
		if again := headless.FileName(got); again != got {
			t.Errorf("%q becomes %q and then %q", name, got, again)
		}
	})
}

// TestTooManySpeakers: a server can invent any number; the files stay bounded
// and those there go on.
func TestTooManySpeakers(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand files")
	}
	dir := t.TempDir()
	var tracks []headless.Track
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		for i := range uint32(600) {
			s.come(100+i, "x")
			s.say(100+i, 0, speech(1, 'a'))
		}
		s.say(100, 2, speech(1, 'b'))
		tracks = r.stop()
	})
	if len(tracks) != 512 || tracks[0].Packets != 2 {
		t.Errorf("%d tracks, the first with %d packets", len(tracks), tracks[0].Packets)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2*512 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

// TestConnectionEnds: what was recorded is complete, and the end is an error.
func TestConnectionEnds(t *testing.T) {
	dir := t.TempDir()
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		s.come(7, "alice")
		s.say(7, 0, speech(1, 'a'))
		s.cut()
		if err := <-r.done; err == nil {
			t.Error("Record ends without an error")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		tracks := r.Tracks()
		if len(tracks) != 1 || tracks[0].Packets != 1 {
			t.Fatalf("%+v", tracks)
		}
		files(t, tracks[0].File)
	})
}

// TestCrashLosesOneSecond: without Close the file holds all but the last second.
func TestCrashLosesOneSecond(t *testing.T) {
	dir := t.TempDir()
	play(t, client.Config{}, func(t *testing.T, s *stage, c *client.Client) {
		r := record(t, c, dir)
		s.come(7, "alice")
		for i := range uint64(10) {
			s.say(7, 2*i, speech(1, byte(i)))
			time.Sleep(20 * ms)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b, err := os.ReadFile(filepath.Join(dir, "alice-7.opus"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := ogg.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; ; n++ {
			if _, err := o.Next(); err != nil {
				break
			}
		}
		if n != 10 {
			t.Errorf("%d packets are in the file, want 10", n)
		}
		r.stop()
	})
}

func TestNewRecorderRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "nul\x00"} {
		if _, err := headless.NewRecorder(dir); err == nil {
			t.Errorf("%q is taken for a directory", dir)
		}
	}
}
