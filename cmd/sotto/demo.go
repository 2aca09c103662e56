package main

import (
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/internal/demo"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Show the promise on this machine, with a real Mumble server", Args: cobra.NoArgs,
		Long: "Starts a Mumble server on loopback, three guards that agree on keys, and a listener without\n" +
			"Sotto, and shows what each of them and the server gets; then somebody comes, somebody leaves,\n" +
			"and a server in the middle is caught. Fails when a promise does not hold. Takes half a minute.\n" +
			"Needs murmurd, espeak-ng, sox, opusenc and opusdec.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			err = demo.Run(cmd.Context(), self, cmd.OutOrStdout())
			if errors.Is(err, exec.ErrNotFound) {
				return hinted{err, "on Debian: apt install mumble-server espeak-ng sox opus-tools (scripts/demo does)"}
			}
			return err
		},
	}
}
