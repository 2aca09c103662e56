package headless_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

// oggFile makes a file of packets, mono unless head says otherwise. Packets of
// other families are written unchecked.
func oggFile(t testing.TB, head ogg.Head, packets ...[]byte) []byte {
	t.Helper()
	if head.Channels == 0 {
		head.Channels = 1
	}
	var b bytes.Buffer
	w, err := ogg.NewWriter(&b, 1, head, ogg.Tags{Vendor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	for _, p := range packets {
		d, _ := opus.Duration(p)
		at += ogg.Samples(d)
		if err := w.WritePacket(p, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unchecked is a head with which the writer takes any packet.
var unchecked = ogg.Head{Channels: 1, MappingFamily: 255, Mapping: []byte{1, 0, 0}}

func clip(t testing.TB, packets ...[]byte) *headless.Clip {
	t.Helper()
	c, err := headless.ReadClip(bytes.NewReader(oggFile(t, ogg.Head{}, packets...)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadClip(t *testing.T) {
	for _, tt := range []struct {
		name string
		file []byte
		err  error
		want time.Duration
	}{
		{"mono", oggFile(t, ogg.Head{}, speech(1, 'a'), speech(2, 'b'), speech(3, 'c')), nil, 120 * ms},
		{"stereo", oggFile(t, ogg.Head{Channels: 2}, []byte{0xFC, 1}), nil, 20 * ms},
		{"one stream of another family", oggFile(t, unchecked, speech(1, 'a')), nil, 20 * ms},
		{"surround", oggFile(t, ogg.Head{Channels: 6, MappingFamily: 1, Mapping: []byte{4, 2, 0, 4, 1, 2, 3, 5}}, speech(1, 'a')), headless.ErrChannels, 0},
		{"empty", nil, io.EOF, 0},
		{"something else", []byte("RIFF....WAVEfmt "), nil, -1},
		{"no audio", oggFile(t, ogg.Head{}), headless.ErrEmpty, 0},
		{"80 ms", oggFile(t, ogg.Head{}, speech(1, 'a'), speech(4, 'b')), opus.ErrOverlong, 0},
		{"2.5 ms", oggFile(t, ogg.Head{}, []byte{0xE0, 1}), opus.ErrUneven, 0},
		{"too large", oggFile(t, ogg.Head{}, append([]byte{0xF8}, make([]byte, 1200)...)), opus.ErrTooLong, 0},
		{"malformed", oggFile(t, unchecked, speech(1, 'a'), []byte{0xF9, 1}), opus.ErrOddFrames, 0},
		{"an empty packet", oggFile(t, unchecked, []byte{}), opus.ErrEmpty, 0},
	} {
		c, err := headless.ReadClip(bytes.NewReader(tt.file))
		switch {
		case tt.want < 0:
			if err == nil {
				t.Errorf("%s: is taken", tt.name)
			}
		case !errors.Is(err, tt.err):
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		case err == nil && c.Duration() != tt.want:
			t.Errorf("%s: %v, want %v", tt.name, c.Duration(), tt.want)
		}
	}
}

// TestReadClipCut: a file cut anywhere is an error or a shorter clip, and a
// damaged one is an error.
func TestReadClipCut(t *testing.T) {
	whole := oggFile(t, ogg.Head{}, speech(1, 'a'), speech(1, 'b'), speech(1, 'c'))
	var read, refused int
	for n := range whole {
		if c, err := headless.ReadClip(bytes.NewReader(whole[:n])); err == nil {
			read++
			if d := c.Duration(); d < 20*ms || d > 60*ms {
				t.Errorf("%d of %d bytes: %v", n, len(whole), d)
			}
		} else {
			refused++
		}
		broken := bytes.Clone(whole)
		broken[n] ^= 0x10
		if _, err := headless.ReadClip(bytes.NewReader(broken)); err == nil {
			t.Errorf("byte %d of %d changed: no error", n, len(whole))
		}
	}
	// Whole after each of three packets; the page that ends the stream is not needed.
	if read != 3 || refused != len(whole)-3 {
		t.Errorf("%d cuts read, %d refused", read, refused)
	}
}

// endless is a file that does not end.
type endless struct {
	head []byte
	page func() []byte
	rest []byte
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		if e.rest, e.head = e.head, nil; len(e.rest) == 0 {
			e.rest = e.page()
		}
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// TestReadClipBounded: a file without end is refused and does not fill memory.
func TestReadClipBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 64 MiB")
	}
	var b bytes.Buffer
	w, err := ogg.NewWriter(&b, 1, ogg.Head{Channels: 1}, ogg.Tags{})
	if err != nil {
		t.Fatal(err)
	}
	e := &endless{head: bytes.Clone(b.Bytes())}
	packet, at := append([]byte{0xF8}, make([]byte, 970)...), int64(0)
	e.page = func() []byte {
		b.Reset()
		at += 960
		if err := w.WritePacket(packet, at); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	_, err = headless.ReadClip(e)
	most := int64(64<<20)/971 + 2
	if err == nil || at/960 > most {
		t.Errorf("%v after %d packets, want an error after %d", err, at/960, most)
	}
	t.Log(err)
}

func FuzzReadClip(f *testing.F) {
	f.Add(oggFile(f, ogg.Head{}, speech(1, 'a'), speech(2, 'b')))
	f.Add(oggFile(f, ogg.Head{Channels: 2, PreSkip: 312}, []byte{0xFC, 1}))
	f.Add(oggFile(f, unchecked, []byte{}, speech(1, 'a')))
	f.Add([]byte("OggS"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := headless.ReadClip(bytes.NewReader(b))
		if err != nil {
			if c != nil {
				t.Error("a clip and an error")
			}
			return
		}
		if c.Duration() < 10*ms || c.Bandwidth(0) <= 0 || c.Bandwidth(56) <= c.Bandwidth(0) {
			t.Errorf("%v, %d bit/s, %d bit/s encrypted", c.Duration(), c.Bandwidth(0), c.Bandwidth(56))
		}
	})
}

// TestBandwidth holds the sliding window against its definition: the densest
// 360 packets in a row, each with 32 bytes and what is added.
func TestBandwidth(t *testing.T) {
	sized := func(n int) []byte { return append([]byte{0xF8}, make([]byte, n-1)...) }
	var even, burst, mixed [][]byte
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		even = append(even, sized(100))
		n := 40
		if i >= 500 && i < 800 {
			n = 400
		}
		burst = append(burst, sized(n))
		mixed = append(mixed, append(speech(1+r.IntN(3), 0)[:0:0], speech(1+r.IntN(3), byte(i))...))
	}
	for _, tt := range []struct {
		name    string
		packets [][]byte
		extra   int
		want    int // 0: only by the definition
	}{
		{"one", [][]byte{sized(100)}, 0, (100 + 32) * 8 * 50},
		{"even", even, 0, (100 + 32) * 8 * 50},
		{"even, encrypted", even, 56, (100 + 32 + 56) * 8 * 50},
		{"a burst in the middle", burst, 0, (300*432 + 60*72) * 8 * 50 / 360},
		{"10 ms", slices.Repeat([][]byte{{0xF0, 1, 2}}, 720), 0, 35 * 8 * 100},
		{"mixed durations", mixed, 56, 0},
		{"just the window", even[:360], 0, (100 + 32) * 8 * 50},
	} {
		want := 0
		for from := range tt.packets {
			to := min(from+360, len(tt.packets))
			if to-from < 360 && from > 0 {
				break
			}
			bytes, length := 0, time.Duration(0)
			for _, p := range tt.packets[from:to] {
				d, err := opus.Duration(p)
				if err != nil {
					t.Fatal(err)
				}
				bytes, length = bytes+len(p)+32+tt.extra, length+d
			}
			want = max(want, int(float64(bytes)*8/length.Seconds()))
		}
		got := clip(t, tt.packets...).Bandwidth(tt.extra)
		if got < want-1 || got > want+1 || tt.want != 0 && got != tt.want {
			t.Errorf("%s: %d bit/s, want %d (%d)", tt.name, got, want, tt.want)
		}
	}
}

// readEvents keeps the events of a client flowing until it is closed.
func readEvents(c *client.Client) {
	go func() {
		for range c.Events() {
		}
	}()
}

// TestPlay: every packet leaves as it is, when it is due, with the number that
// the durations before it give, and the last one says so.
func TestPlay(t *testing.T) {
	packets := [][]byte{speech(1, 'a'), speech(2, 'b'), {0xF0, 1, 2}, speech(3, 'd')}
	play(t, client.Config{NoUDP: true}, func(t *testing.T, s *stage, c *client.Client) {
		readEvents(c)
		began := time.Now()
		done, err := headless.Play(t.Context(), c, clip(t, packets...), 2, time.Second)
		synctest.Wait()
		if err != nil || done != (headless.Played{Sent: 8}) {
			t.Fatalf("%+v, %v", done, err)
		}
		if len(s.heard) != 8 {
			t.Fatalf("%d packets came", len(s.heard))
		}
		number := uint64(0)
		for i, p := range s.heard {
			want := packets[i%4]
			due := began.Add(time.Duration(number) * 10 * ms)
			if !bytes.Equal(p.opus, want) || p.number != number || p.terminator != (i == 7) || !p.at.Equal(due) {
				t.Errorf("packet %d: %+v, want number %d at %v", i, p, number, due)
			}
			d, _ := opus.Duration(want)
			number += uint64(d / (10 * ms))
		}
	})
}

// TestPlayOverReconnect: nothing is played into a lost connection; afterwards it
// goes on with the packet that was due.
func TestPlayOverReconnect(t *testing.T) {
	var packets [][]byte
	for i := range 100 {
		packets = append(packets, speech(1, byte(i)))
	}
	play(t, client.Config{NoUDP: true, Reconnect: true}, func(t *testing.T, s *stage, c *client.Client) {
		readEvents(c)
		result := make(chan string, 1)
		go func() {
			done, err := headless.Play(t.Context(), c, clip(t, packets...), 1, time.Minute)
			result <- fmt.Sprint(done.Sent, done.Held, err)
		}()
		time.Sleep(1001 * ms)
		s.cut()
		if got := <-result; got != "100 1 <nil>" {
			t.Errorf("sent, held, error: %s", got)
		}
		synctest.Wait()
		if len(s.heard) != 100 {
			t.Fatalf("%d packets came", len(s.heard))
		}
		for i, p := range s.heard {
			if !bytes.Equal(p.opus, packets[i]) {
				t.Fatalf("packet %d is %x", i, p.opus)
			}
			if i > 0 && p.number <= s.heard[i-1].number {
				t.Errorf("number %d follows %d", p.number, s.heard[i-1].number)
			}
		}
	})
}

func TestPlayEnds(t *testing.T) {
	long := clip(t, slices.Repeat([][]byte{speech(1, 'a')}, 1000)...)
	t.Run("muted", func(t *testing.T) {
		play(t, client.Config{NoUDP: true}, func(t *testing.T, s *stage, c *client.Client) {
			readEvents(c)
			s.send(&mumblepb.UserState{Session: proto.Uint32(self), Suppress: proto.Bool(true)})
			began := time.Now()
			done, err := headless.Play(t.Context(), c, long, 1, 3*time.Second)
			if !errors.Is(err, headless.ErrNotReady) || done.Sent != 0 || time.Since(began) > 4*time.Second {
				t.Errorf("%+v, %v after %v", done, err, time.Since(began))
			}
			if synctest.Wait(); len(s.heard) != 0 {
				t.Errorf("%d packets came", len(s.heard))
			}
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		play(t, client.Config{NoUDP: true}, func(t *testing.T, s *stage, c *client.Client) {
			readEvents(c)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second-ms)
			defer cancel()
			done, err := headless.Play(ctx, c, long, 1, 3*time.Second)
			if !errors.Is(err, context.DeadlineExceeded) || done.Sent != 50 {
				t.Errorf("%+v, %v", done, err)
			}
		})
	})
	t.Run("interrupted while it waits", func(t *testing.T) {
		play(t, client.Config{NoUDP: true}, func(t *testing.T, s *stage, c *client.Client) {
			readEvents(c)
			s.send(&mumblepb.UserState{Session: proto.Uint32(self), Mute: proto.Bool(true)})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := headless.Play(ctx, c, long, 1, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("connection lost", func(t *testing.T) {
		play(t, client.Config{NoUDP: true}, func(t *testing.T, s *stage, c *client.Client) {
			readEvents(c)
			result := make(chan error, 1)
			go func() {
				_, err := headless.Play(t.Context(), c, long, 1, time.Minute)
				result <- err
			}()
			time.Sleep(time.Second)
			s.cut()
			if err := <-result; !errors.Is(err, client.ErrClosed) {
				t.Errorf("%v", err)
			}
		})
	})
}
