package main

import (
	"errors"
	"strings"

	"github.com/sotto-voip/sotto/keystore"
)

// changed completes the hint for another certificate of the server at target:
// the command that accepts it, ready to be pasted.
func (a *app) changed(err error, f guardFlags, target string) error {
	var pin *keystore.PinError
	if !errors.As(err, &pin) || pin.Client {
		return err
	}
	return hinted{err, "ask the server's owner whether the certificate was renewed, over another way than this server; then: " +
		a.guardLine(f, "accept-certificate", keystore.Fingerprint(pin.New), target)}
}

// guardLine is the command line of a guard for target with the flags f and one
// more, as a shell takes it.
func (a *app) guardLine(f guardFlags, flag, fingerprint, target string) string {
	words := []string{"sotto"}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, "--"+flag, shellQuote(value))
		}
	}
	add("state", a.state)
	words = append(words, "guard")
	add("listen", f.listen)
	if f.policy != defaultPolicy {
		add("policy", f.policy)
	}
	add("secret-file", f.secret.file)
	if f.secret.ask {
		words = append(words, "--ask-secret")
	}
	if f.secret.mode != secretAlone {
		add("secret-mode", f.secret.mode)
	}
	for _, name := range f.with {
		add("with", name)
	}
	add("proxy", f.proxy.shown())
	words = append(words, f.open.words()...)
	if f.apart {
		words = append(words, "--no-mumble")
	}
	if f.json {
		words = append(words, "--json")
	}
	if f.verbose {
		words = append(words, "--verbose")
	}
	add(flag, strings.ReplaceAll(fingerprint, " ", ""))
	return strings.Join(append(words, shellQuote(target)), " ")
}

// sotto is the beginning of a command line on the same state directory.
func (a *app) sotto() string {
	if a.state == "" {
		return "sotto"
	}
	return "sotto --state " + shellQuote(a.state)
}

// shellQuote writes one argument for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
