package client

import (
	"runtime/debug"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
)

// Endpoints keeps the endpoint for the certificate that a server shows. It
// outlives connections: what was heard before a reconnect must not be heard
// again, and a typed secret is stretched once. Not safe for concurrent use.
type Endpoints struct {
	Policy e2ee.Policy
	Secret string // as typed; not looked at with PolicyOff
	Named  []string

	server [32]byte
	end    *endpoint.Endpoint
}

// For returns the endpoint for the SHA-256 of a server's certificate. Another
// certificate than the last one, which a person must have accepted, begins
// anew. The errors are those of e2ee for a secret that is none.
func (e *Endpoints) For(server [32]byte) (*endpoint.Endpoint, error) {
	if e.end != nil && e.server == server {
		return e.end, nil
	}
	cfg := e2ee.Config{Policy: e.Policy, Server: server, Named: e.Named}
	if e.Policy != e2ee.PolicyOff {
		var err error
		if cfg.Secret, err = e2ee.ParseSecret(e.Secret, server); err != nil {
			return nil, err
		}
		if !cfg.Secret.MachineMade() {
			debug.FreeOSMemory() // Argon2id took 64 MiB for a moment
		}
	}
	end, err := endpoint.New(cfg)
	if err != nil {
		return nil, err
	}
	e.server, e.end = server, end
	return end, nil
}
