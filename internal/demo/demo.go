// Package demo shows Sotto's promise on one machine: a real, unmodified Mumble
// server, Alice and Bob behind a guard each, and Eve in the same channel
// without the secret. Everything runs as separate processes of the program
// itself, on loopback, in a directory that is removed afterwards.
//
// It needs murmurd, espeak-ng, sox, opusenc and opusdec; scripts/demo installs
// them.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Sentence is what Alice says.
const Sentence = "Meet me at the old lighthouse at nine. Nobody but you can hear this, not even the server."

// ErrBroken means that the demo ran and the promise was not kept.
var ErrBroken = errors.New("demo: the promise was not kept")

// Run runs the demo with the sotto program at path sotto and prints to out.
func Run(ctx context.Context, sotto string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "sotto-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the server runs as its own user
		return err
	}
	s := &stage{ctx: ctx, dir: dir, sotto: sotto, out: out}
	defer s.stopAll()
	return s.play()
}

func (s *stage) play() error {
	spoken, err := s.speak(Sentence)
	if err != nil {
		return err
	}
	server, err := s.startServer()
	if err != nil {
		return err
	}
	secret := filepath.Join(s.dir, "secret")
	if err := s.makeSecret(secret); err != nil {
		return err
	}
	alice, err := s.startGuard("alice", server, secret)
	if err != nil {
		return err
	}
	bob, err := s.startGuard("bob", server, secret)
	if err != nil {
		return err
	}
	bobHears, err := s.startRecord("bob", fmt.Sprintf("mumble://bob@127.0.0.1:%d/", bob))
	if err != nil {
		return err
	}
	eveHears, err := s.startRecord("eve", "mumble://eve@"+server+"/")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Alice says:  %q\n", Sentence)
	if err := s.run(s.sotto, "--state", filepath.Join(s.dir, "alice-player"), "play", "--plain",
		fmt.Sprintf("mumble://alice@127.0.0.1:%d/", alice), spoken); err != nil {
		return err
	}
	// The last packets are on their way through four processes.
	if err := wait(s.ctx, time.Second); err != nil {
		return err
	}
	if err := s.stop(bobHears); err != nil {
		return err
	}
	if err := s.stop(eveHears); err != nil {
		return err
	}
	return s.compare(spoken)
}

// compare prints side by side what Alice sent, what the server relayed and what
// Bob got, and how loud it is for Eve.
func (s *stage) compare(spoken string) error {
	said, err := packetsOf(spoken)
	if err != nil {
		return err
	}
	got, err := s.recorded("bob", "alice")
	if err != nil {
		return err
	}
	relayed, err := s.recorded("eve", "alice")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n%-8s  %-29s  %-29s  %-29s\n", "packet", "Alice sent", "the server relayed", "Bob got")
	for i := range min(5, len(said), len(got), len(relayed)) {
		// Announcements hold no speech; the talk is the end of what Eve recorded.
		r := relayed[max(0, len(relayed)-len(said))+i]
		fmt.Fprintf(s.out, "%-8d  %-29s  %-29s  %-29s\n", i+1, hex(said[i]), hex(r), hex(got[i]))
	}
	exact := len(said) == len(got)
	for i := 0; exact && i < len(said); i++ {
		exact = bytes.Equal(said[i], got[i])
	}
	loud, err := s.loudness(spoken)
	if err != nil {
		return err
	}
	files, err := s.files("eve", "*")
	if err != nil {
		return err
	}
	eve := math.Inf(-1)
	for _, f := range files {
		one, err := s.loudness(f)
		if err != nil {
			return err
		}
		eve = max(eve, one)
	}
	fmt.Fprintf(s.out, "\nBob got      %d of %d packets, bit-exact: %s\n", len(got), len(said), yes(exact))
	fmt.Fprintf(s.out, "Eve heard    %s (what Alice said is %s)\n", decibels(eve), decibels(loud))
	leaked := 0
	for _, p := range said {
		for _, r := range relayed {
			if len(p) >= 8 && bytes.Contains(r, p) {
				leaked++
			}
		}
	}
	fmt.Fprintf(s.out, "The server   relayed %d packets; %d of them contain a packet of Alice\n", len(relayed), leaked)
	if !exact || !math.IsInf(eve, -1) || leaked > 0 || len(relayed) < len(said) {
		return ErrBroken
	}
	fmt.Fprintln(s.out, "\nThe same speech, the same server: Bob has it bit for bit, Eve has exact digital silence.")
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// hex shows the first bytes of a packet.
func hex(b []byte) string {
	const most = 9
	if len(b) <= most {
		return fmt.Sprintf("% x", b)
	}
	return fmt.Sprintf("% x ..", b[:most])
}

func decibels(db float64) string {
	if math.IsInf(db, -1) {
		return "-inf dBFS, exact digital silence"
	}
	return fmt.Sprintf("%.1f dBFS", db)
}

// trim shortens what a tool printed to something worth showing.
func trim(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
