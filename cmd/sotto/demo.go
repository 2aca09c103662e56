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
		Long: "Starts Debian's murmurd on loopback, two guards, and a listener without the secret, and shows\n" +
			"what each of them gets. Needs murmurd, espeak-ng, sox, opusenc and opusdec.",
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
