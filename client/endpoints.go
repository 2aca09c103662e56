package client

import (
	"errors"
	"runtime/debug"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/trust"
)

// Endpoints keeps the endpoint for the certificate that a server shows. It
// outlives connections: what was heard before a reconnect must not be heard
// again, and a typed secret is stretched once. Not safe for concurrent use.
type Endpoints struct {
	Policy e2ee.Policy
	// Secret, as typed, protects alone, without agreed keys (Sotto protocol §10.3),
	// or with GroupSecret is mixed into automatic groups (§10.2). "" is automatic
	// groups without one. Not looked at with PolicyOff.
	Secret      string
	GroupSecret bool
	Named       []string // with a secret alone

	// Of automatic groups: the server as the user typed it, what signs, and who was
	// seen before. A nil Device is made up for this run; a nil Book is kept by nobody.
	Address string
	Device  *identity.Device
	Book    *trust.Book

	server [32]byte
	end    *endpoint.Endpoint
}

// ErrNoSecret means that a secret was to be mixed into agreed keys and there is
// none, as from a variable that is not set.
var ErrNoSecret = errors.New("client: no secret to mix into the agreed keys")

// For returns the endpoint for the SHA-256 of a server's certificate. Another
// certificate than the last one, which a person must have accepted, begins
// anew. The errors are ErrNoSecret, and those of e2ee for a secret that is none.
func (e *Endpoints) For(server [32]byte) (*endpoint.Endpoint, error) {
	if e.end != nil && e.server == server {
		return e.end, nil
	}
	end, err := e.make(server)
	if err != nil {
		return nil, err
	}
	e.server, e.end = server, end
	return end, nil
}

func (e *Endpoints) make(server [32]byte) (*endpoint.Endpoint, error) {
	if e.Policy != e2ee.PolicyOff && e.GroupSecret && e.Secret == "" {
		return nil, ErrNoSecret
	}
	var secret *e2ee.Secret
	if e.Policy != e2ee.PolicyOff && e.Secret != "" {
		var err error
		if secret, err = e2ee.ParseSecret(e.Secret, server); err != nil {
			return nil, err
		}
		if !secret.MachineMade() {
			debug.FreeOSMemory() // Argon2id took 64 MiB for a moment
		}
	}
	if e.Policy == e2ee.PolicyOff || secret != nil && !e.GroupSecret {
		return endpoint.New(e2ee.Config{Policy: e.Policy, Server: server, Secret: secret, Named: e.Named})
	}
	if e.Device == nil {
		e.Device = identity.New().NewDevice(0)
	}
	return endpoint.NewGroups(e2ee.GroupsConfig{
		Policy: e.Policy, Server: server, Address: e.Address, Device: e.Device, Secret: secret, Book: e.Book,
	})
}
