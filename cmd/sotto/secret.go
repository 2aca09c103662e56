package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sotto-voip/sotto/e2ee"
)

const maxSecretFile = 4096 // bytes

func secretCommand() *cobra.Command {
	return &cobra.Command{
		Use: "secret", Short: "Make a strong secret to agree on", Args: cobra.NoArgs,
		Long: "Prints a new secret of 128 bits. Give it to the people you want to talk to over a way you\n" +
			"trust (not over the Mumble server), and start guard with --secret-file or SOTTO_SECRET.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), e2ee.NewSecret())
			return err
		},
	}
}

// What --secret-mode may be.
const (
	secretAlone     = "alone"
	secretGroups    = "groups"
	secretModeUsage = "with a secret: alone (it protects by itself) or groups (mixed into automatically agreed keys)"
)

// secretMode reads --secret-mode: whether a secret goes into automatic groups.
func secretMode(mode, secret string) (groups bool, err error) {
	switch mode {
	case secretAlone:
		return false, nil
	case secretGroups:
		if secret == "" {
			return false, errors.New("--secret-mode groups wants a secret")
		}
		return true, nil
	}
	return false, fmt.Errorf("--secret-mode %q is neither %s nor %s", mode, secretAlone, secretGroups)
}

// typedSecret finds the typed secret, "" if none was given.
func typedSecret(ctx context.Context, policy e2ee.Policy, file string, ask bool) (string, error) {
	if policy == e2ee.PolicyOff {
		return "", nil
	}
	if file == "" && !ask && os.Getenv("SOTTO_SECRET") == "" {
		return "", nil
	}
	return askFor(ctx, file)
}

// askFor reads the typed secret: --secret-file, SOTTO_SECRET, else the
// terminal, without echo.
func askFor(ctx context.Context, file string) (string, error) {
	if file != "" {
		return readSecretFile(file)
	}
	if s := os.Getenv("SOTTO_SECRET"); s != "" {
		// Nothing we start needs it.
		os.Unsetenv("SOTTO_SECRET")
		return s, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", hinted{errors.New("no secret"), "give one with --secret-file FILE or SOTTO_SECRET; 'sotto secret' makes one"}
	}
	b, err := readHidden(ctx, "Secret (not shown): ")
	if err != nil {
		return "", err
	}
	if s := strings.TrimSpace(string(b)); s != "" {
		return s, nil
	}
	return "", hinted{errors.New("no secret"), "'sotto secret' makes one"}
}

// readHidden reads one line from the terminal without echo. Interrupted, it
// gives the terminal its echo back; signals are caught, so nobody else would.
func readHidden(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(os.Stderr, prompt)
	defer fmt.Fprintln(os.Stderr)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		term.Restore(fd, before) // the read ends with the program
		return nil, errors.New("interrupted")
	}
}

// readSecretFile reads the first line. Others on the machine must not be able
// to read the file too.
func readSecretFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", hinted{fmt.Errorf("secret file %s can be read by others (mode %04o)", path, info.Mode().Perm()),
			"chmod 600 " + path}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if len(b) > maxSecretFile {
		return "", fmt.Errorf("secret file %s is longer than %d bytes", path, maxSecretFile)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	first = strings.TrimSpace(first)
	if first == "" {
		return "", hinted{fmt.Errorf("secret file %s is empty", path), "'sotto secret > FILE' makes one"}
	}
	return first, nil
}
