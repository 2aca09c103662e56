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
		Long: "Guards agree on keys by themselves and need no secret; people who want one as well, or alone,\n" +
			"can have it. Prints a new secret of 128 bits. Give it to the people you want to talk to over a\n" +
			"way you trust (not over the Mumble server), and start guard with --secret-file or SOTTO_SECRET.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), e2ee.NewSecret())
			return err
		},
	}
}

// What --secret-mode may be.
const (
	secretAlone  = "alone"
	secretGroups = "groups"
)

// secretFlags say whether people use a typed secret, where it is, and what it
// does. Without one, keys are agreed on automatically.
type secretFlags struct {
	file string
	mode string
	ask  bool
}

func (f *secretFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "secret-file", "", "`FILE` whose first line is a secret")
	c.Flags().BoolVar(&f.ask, "ask-secret", false, "ask for a secret on the terminal, without echo")
	c.Flags().StringVar(&f.mode, "secret-mode", secretAlone,
		"with a secret: alone (it protects by itself) or groups (mixed into automatically agreed keys)")
}

// without is the error of who gives a secret to what encrypts nothing.
func (f *secretFlags) without(plain string) error {
	switch {
	case f.file != "":
		return usageError{errors.New(plain + " encrypts nothing, so --secret-file cannot be meant")}
	case f.ask:
		return usageError{errors.New(plain + " encrypts nothing, so --ask-secret cannot be meant")}
	case f.mode != secretAlone:
		return usageError{errors.New(plain + " encrypts nothing, so --secret-mode cannot be meant")}
	}
	return nil
}

// read finds the typed secret, "" if none is given, and whether it goes into
// automatic groups. What a flag asks for counts before SOTTO_SECRET.
func (f *secretFlags) read(ctx context.Context, policy e2ee.Policy) (secret string, groups bool, err error) {
	switch {
	case f.mode != secretAlone && f.mode != secretGroups:
		return "", false, usageError{fmt.Errorf("--secret-mode %q is neither %s nor %s", f.mode, secretAlone, secretGroups)}
	case policy == e2ee.PolicyOff:
		return "", false, nil
	case f.file != "" && f.ask:
		return "", false, usageError{errors.New("--secret-file and --ask-secret exclude each other")}
	case f.file != "":
		secret, err = readSecretFile(f.file)
	case f.ask:
		secret, err = askSecret(ctx)
	default:
		secret = os.Getenv("SOTTO_SECRET")
	}
	if err != nil {
		return "", false, err
	}
	os.Unsetenv("SOTTO_SECRET") // nothing we start needs it
	if f.mode == secretGroups && secret == "" {
		return "", false, usageError{errors.New("--secret-mode groups wants a secret")}
	}
	return secret, f.mode == secretGroups, nil
}

// sayPhrase tells who typed a phrase what that is worth.
func (a *app) sayPhrase(w io.Writer, secret string) {
	if secret != "" && e2ee.IsPhrase(secret) {
		fmt.Fprintf(w, "sotto: hint: your secret is a phrase, which others can try to guess from what they record, for as long as they like; '%s secret' makes one that nobody guesses\n", a.sotto())
	}
}

// named is the error of --with where nobody is waited for by name.
func (f *secretFlags) named(with []string, secret string, groups bool) error {
	if len(with) > 0 && (secret == "" || groups) {
		return usageError{errors.New("--with names who must hold a secret that protects alone, and there is none")}
	}
	return nil
}

// askSecret reads the typed secret from the terminal, without echo.
func askSecret(ctx context.Context) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", hinted{errors.New("no secret: standard input is no terminal"),
			"give it with --secret-file FILE or SOTTO_SECRET; 'sotto secret' makes one"}
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
