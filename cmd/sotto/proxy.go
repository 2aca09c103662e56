package main

import (
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/sotto-voip/sotto/client"
)

// proxyFlag is --proxy, or SOTTO_PROXY, which other users of the computer cannot
// read from the list of processes: the login can hold a password.
type proxyFlag struct{ url string }

func (f *proxyFlag) register(c *cobra.Command) {
	c.Flags().StringVar(&f.url, "proxy", "", "reach the server only through this proxy: `URL` socks5://[USER:PASSWORD@]HOST:PORT,\n"+
		"http://[USER:PASSWORD@]HOST:PORT, or none; voice goes by TCP then (default: SOTTO_PROXY, or none)")
}

// given reports whether anybody said how to reach the server, none included. It is
// to be asked before network.
func (f *proxyFlag) given() bool { return f.url != "" || os.Getenv("SOTTO_PROXY") != "" }

// network is the way to the server that the flag asks for.
func (f *proxyFlag) network() (client.Net, error) {
	given, name := f.url, "--proxy"
	if given == "" {
		given, name = os.Getenv("SOTTO_PROXY"), "SOTTO_PROXY"
	}
	os.Unsetenv("SOTTO_PROXY") // nothing we start needs it
	if given == "" {
		return client.Net{}, nil
	}
	p, err := client.ParseProxy(given)
	if err != nil {
		return client.Net{}, usageError{fmt.Errorf("%s: %w", name, err)}
	}
	return client.Net{Proxy: p}, nil
}

// shown is the flag for a command line to be pasted: without the password. A line
// without the proxy would go around it; one without the password only fails.
func (f *proxyFlag) shown() string {
	u, err := url.Parse(f.url)
	if err != nil {
		return ""
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}

// portTyped reports whether a server was named with its port. One without may be
// found by its SRV record.
func portTyped(server string) bool {
	_, _, err := net.SplitHostPort(server)
	return err == nil
}
