package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/internal/simnet"
)

// node is an endpoint as a Peer drives it.
type node struct {
	*endpoint.Endpoint
	texts  []endpoint.TextIn
	failed []string
}

func (n *node) FromServer(now time.Time, m proto.Message) error {
	_, _, err := n.Endpoint.FromServer(now, m)
	return err
}

func (n *node) Next() (simnet.Out, bool) {
	o, ok := n.Endpoint.Next()
	if !ok {
		return simnet.Out{}, false
	}
	switch o := o.(type) {
	case endpoint.Send:
		return simnet.Out{Message: o.Message}, true
	case endpoint.Voice:
		return simnet.Out{Voice: &o.Packet}, true
	case endpoint.TextIn:
		n.texts = append(n.texts, o)
	case endpoint.TextFailed:
		n.failed = append(n.failed, o.Reason)
	}
	return simnet.Out{Note: fmt.Sprintf("%T %+v", o, o)}, true
}

var testServer = [32]byte{1, 2, 3}

// newNode returns an endpoint that holds a typed secret.
func newNode(t testing.TB, secret string) *node {
	t.Helper()
	s, err := e2ee.ParseSecret(secret, testServer)
	if err != nil {
		t.Fatal(err)
	}
	e, err := endpoint.New(e2ee.Config{Policy: e2ee.PolicyRequire, Secret: s, Server: testServer})
	if err != nil {
		t.Fatal(err)
	}
	return &node{Endpoint: e}
}

var profiles = []func() simnet.Profile{simnet.Murmur15, simnet.Murmur13, simnet.UMurmur}

func run(t testing.TB, c *simnet.Clock, d time.Duration) {
	t.Helper()
	if err := c.RunFor(d); err != nil {
		t.Fatal(err)
	}
}

// opus is a packet of 20 ms whose bytes fill says.
func opus(fill byte) []byte {
	b := make([]byte, 41)
	for i := range b {
		b[i] = fill
	}
	b[0] = 0xF8
	return b
}
