// Command sotto is Sotto's one program: the guard beside a stock Mumble
// client, and the headless clients. This package only reads flags and wires
// parts together.
//
// Rules of the interface: results go to standard output, everything else to
// standard error. What goes wrong is one line "sotto: error: ...", and where
// something can be done about it, one line "sotto: hint: ...". A secret is
// never an argument, because arguments are visible to every user of a machine.
// Exit codes: 0 ok, 1 error, 2 usage, 3 not private, 4 identity changed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by release builds.
var version = "devel"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	report(os.Stderr, err)
	return exitCode(err)
}

// app is what all commands share.
type app struct {
	state string // --state
	machine
}

func newRoot() *cobra.Command {
	a := &app{machine: thisMachine}
	root := &cobra.Command{
		Use:           "sotto",
		Short:         "End-to-end encryption for Mumble, with the client and the server you already have",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.state, "state", "", "state `directory` (default: sotto in the user's configuration directory)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		a.guardCommand(), a.playCommand(), a.recordCommand(), a.chatCommand(),
		a.statusCommand(), a.doctorCommand(), a.identityCommand(), secretCommand(), demoCommand(), versionCommand(),
	)
	// Cobra would add its own commands later, past what follows.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range all(root) {
		strict(c)
	}
	return root
}

// strict makes wrong arguments usage errors as wrong flags are, also of those
// commands that only have others below them, which cobra does not ask.
func strict(c *cobra.Command) {
	check := c.Args
	switch {
	case c.Name() == "help":
		check = knownTopic
	case check == nil:
		check = cobra.NoArgs
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
	if !c.Runnable() {
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

// knownTopic wants the words after help to name a command.
func knownTopic(cmd *cobra.Command, args []string) error {
	_, rest, err := cmd.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unknown help topic %q", strings.Join(args, " "))
	}
	return err
}

func all(c *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		list = append(list, all(sub)...)
	}
	return list
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "sotto", version)
			return err
		},
	}
}

// Exit codes.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitNotPrivate = 3
	exitIdentity   = 4
)

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Hint is that of the error itself, which knows more, if it has one.
func (e usageError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.error, &h) && h.Hint() != "" {
		return h.Hint()
	}
	return "see: sotto help"
}

// hinted adds what a person can do about an error.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }
func (e hinted) Hint() string  { return e.hint }

// coded gives an error its exit code.
type coded struct {
	error
	code int
}

func (e coded) Unwrap() error { return e.error }

func exitCode(err error) int {
	var c coded
	var u usageError
	var pin interface{ PinChanged() bool }
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &u):
		return exitUsage
	case errors.As(err, &pin):
		return exitIdentity
	}
	return exitError
}
