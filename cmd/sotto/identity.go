package main

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sotto-voip/sotto/keystore"
)

const maxP12 = 1 << 20 // bytes

func (a *app) identityCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "identity", Short: "Who I am", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var found bool
	take := &cobra.Command{
		Use: "import-mumble FILE.p12 | --found", Short: "Use the certificate of your Mumble client, so that servers know you by it",
		Long: "Mumble keeps its certificate in its settings, where --found takes it from, and in a file that\n" +
			"Certificate Wizard -> Export makes. With it, guard and the headless clients are the same registered\n" +
			"user as your Mumble client.",
		Args: func(cmd *cobra.Command, args []string) error {
			if found {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if found {
				return a.importFound(cmd)
			}
			return a.importMumble(cmd, args[0])
		},
	}
	take.Flags().BoolVar(&found, "found", false, "import it from the settings of the Mumble client on this computer")
	c.AddCommand(&cobra.Command{
		Use: "show", Short: "Show the public key and the certificates", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showIdentity(cmd) },
	}, take)
	return c
}

func (a *app) showIdentity(cmd *cobra.Command) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	key, err := store.Identity()
	if err != nil {
		return err
	}
	cert, imported, err := store.MumbleCertificate()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintln(out, "contact      ", key.Public().Contact())
	fmt.Fprintln(out, "fingerprint  ", key.Public().String())
	origin := "made by Sotto"
	if imported {
		origin = "imported from Mumble"
	}
	fmt.Fprintf(out, "certificate   %s (SHA-1, %s)\n", sha1Of(cert.Certificate[0]), origin)
	fmt.Fprintln(out, "state        ", store.Path())
	return nil
}

func (a *app) importMumble(cmd *cobra.Command, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	p12, err := io.ReadAll(io.LimitReader(f, maxP12+1))
	if err != nil {
		return err
	}
	if len(p12) > maxP12 {
		return fmt.Errorf("%s is too large to be a certificate", path)
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	imported, err := store.ImportMumble(p12, "")
	if errors.Is(err, keystore.ErrPassword) && term.IsTerminal(int(os.Stdin.Fd())) {
		var password []byte
		if password, err = readHidden(cmd.Context(), fmt.Sprintf("Password of %s (not shown): ", path)); err == nil {
			imported, err = store.ImportMumble(p12, string(password))
		}
	}
	if err != nil {
		return about(path, err)
	}
	sayImported(cmd, imported)
	return nil
}

// importFound imports what the stock client of this user has.
func (a *app) importFound(cmd *cobra.Command) error {
	cert, err := certificateOf(a.stock())
	if err != nil {
		return about("the certificate of your Mumble", err)
	}
	if cert == nil {
		return hinted{errors.New("no certificate of a Mumble client is found here"),
			"export it in Mumble: Configure, Certificate Wizard, Export; then: sotto identity import-mumble FILE.p12"}
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	imported, err := store.ImportMumble(cert.client.Certificate, "")
	if err != nil {
		return err
	}
	sayImported(cmd, imported)
	return nil
}

func sayImported(cmd *cobra.Command, imported *keystore.Imported) {
	fmt.Fprintf(cmd.OutOrStdout(), "imported the certificate of %q (SHA-1 %s)\n", imported.Name, imported.Hash)
	if imported.Expired {
		fmt.Fprintf(cmd.ErrOrStderr(), "sotto: hint: it expired on %s; servers may refuse it\n", imported.NotAfter.Format(time.DateOnly))
	}
}

// sha1Of is how Mumble shows certificates: SHA-1 in hex pairs.
func sha1Of(der []byte) string {
	sum := sha1.Sum(der)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}
