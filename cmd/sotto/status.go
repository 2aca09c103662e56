package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
	"github.com/sotto-voip/sotto/keystore"
)

// A guard says at once where things stand; statusWait is how long it may take,
// and statusQuiet how long after the last line nothing more is expected.
const (
	statusWait  = 3 * time.Second
	statusQuiet = 200 * time.Millisecond
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	var require string
	c := &cobra.Command{
		Use: "status", Short: "Say what the guards that run on this state directory protect", Args: cobra.NoArgs,
		Long: "Asks each running guard where it stands. With --require private the exit code is 3 unless at\n" +
			"least one guard runs and each of them lets nothing but ciphertext leave.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Given and empty, as from a variable that is not set, is an error too.
			required := cmd.Flags().Changed("require")
			if required && require != "private" {
				return usageError{fmt.Errorf("--require %q: only private can be required", require)}
			}
			return a.status(cmd, asJSON, required)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the state of each guard as one JSON object per line")
	c.Flags().StringVar(&require, "require", "", "fail with exit code 3 unless it is `private`")
	return c
}

// standing is where one guard stands.
type standing struct {
	Port      int      `json:"port"`
	Target    string   `json:"target,omitempty"`  // the server as the user typed it
	Server    string   `json:"server,omitempty"`  // Mumble version of the server it is connected to
	Connected bool     `json:"connected"`         // a client is logged in through it
	State     string   `json:"state,omitempty"`   // of the gate
	Leaves    string   `json:"leaves,omitempty"`  // nothing, clear or ciphertext
	Encrypted bool     `json:"encrypted"`         // ciphertext leaves and nothing else
	Members   []string `json:"members,omitempty"` // of the encrypted group of the channel
	Epoch     uint64   `json:"epoch,omitempty"`   // of that group
	Suite     string   `json:"suite,omitempty"`   // of that group, its name in MLS
	Quantum   *bool    `json:"post_quantum,omitempty"`
	Question  string   `json:"question,omitempty"` // that waits for an answer
	Since     string   `json:"since,omitempty"`    // RFC 3339, of the state
	off       bool     // policy off
}

func (a *app) status(cmd *cobra.Command, asJSON, require bool) error {
	dir, err := keystore.Dir(a.state)
	if err != nil {
		return err
	}
	guards, err := running(dir)
	if err != nil {
		return err
	}
	private := true
	for _, s := range guards {
		private = private && s.Encrypted
		if asJSON {
			b, err := json.Marshal(s)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
		} else {
			line := s.line()
			if len(guards) > 1 && s.Target != "" {
				line = s.Target + ", " + line
			}
			fmt.Fprintln(cmd.OutOrStdout(), headless.Printable(line))
		}
	}
	if len(guards) == 0 && !asJSON {
		fmt.Fprintln(cmd.OutOrStdout(), "No guard is running.")
	}
	if require && (len(guards) == 0 || !private) {
		return notPrivate(errors.New("not private"))
	}
	return nil
}

// running asks all guards on a state directory where they stand.
func running(dir string) ([]standing, error) {
	sockets, err := filepath.Glob(filepath.Join(dir, "guard-*.sock"))
	if err != nil {
		return nil, err
	}
	slices.Sort(sockets)
	var guards []standing
	for _, path := range sockets {
		if s, err := ask(path); err == nil { // else a guard that died has left it behind
			guards = append(guards, s)
		}
	}
	return guards, nil
}

// ask reads what a guard says to who connects to its socket.
func ask(path string) (standing, error) {
	var s standing
	if _, err := fmt.Sscanf(filepath.Base(path), "guard-%d.sock", &s.Port); err != nil {
		return s, err
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return s, err
	}
	defer conn.Close()
	end := time.Now().Add(statusWait)
	conn.SetReadDeadline(end)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var e events.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			s.take(e)
		}
		if quiet := time.Now().Add(statusQuiet); quiet.Before(end) {
			conn.SetReadDeadline(quiet)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return s, err
	}
	return s, nil
}

// take adds one event to the picture.
func (s *standing) take(e events.Event) {
	switch e.Event {
	case "listening":
		s.Target = e.Target
		s.off = e.Policy == e2ee.PolicyOff.String()
	case "connected":
		s.Server = e.Server
	case "joined":
		s.Connected = true
		if s.off { // its gate says nothing, for it is open
			s.State, s.Leaves = e2ee.StateOff.String(), e2ee.LeaveClear.String()
		}
	case "gate":
		s.State, s.Leaves, s.Since = e.State, e.Leave, e.Time.Format(time.RFC3339)
		s.Encrypted = e.Leave == e2ee.LeaveCiphertext.String()
		if e.State != e2ee.StateAsked.String() {
			s.Question = ""
		}
	case "question":
		s.Question = e.Text
	case "roster":
		s.Members, s.Epoch, s.Suite, s.Quantum = e.Members, e.Epoch, e.Suite, e.PostQuantum
	}
	if s.State != e2ee.StateAsked.String() {
		s.Question = ""
	}
}

// line words it for a person.
func (s *standing) line() string {
	if !s.Connected {
		return fmt.Sprintf("port %d: no Mumble is connected", s.Port)
	}
	words := "held, nothing leaves"
	switch s.Leaves {
	case e2ee.LeaveCiphertext.String():
		words = "encrypted, not checked"
	case e2ee.LeaveClear.String():
		words = "NOT PRIVATE, it leaves in clear"
	}
	if s.off {
		words = "NOT PRIVATE, policy is off and everything leaves in clear"
	}
	line := fmt.Sprintf("port %d: %s (%s)", s.Port, words, s.State)
	if len(s.Members) > 0 {
		line += ", with " + headless.Names(s.Members)
		if s.Quantum != nil && !*s.Quantum {
			line += ", not post-quantum"
		}
	}
	if s.Question != "" {
		line += ". " + s.Question
	}
	return line
}
