package carrier

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// probeWait passes between the two Probes, and again before their silence is
// an answer.
const (
	probeWait = 2 * time.Second
	maxProbes = 2
)

// prober holds the Probes of a connection. They stay for its whole life, so
// that a late echo is still known.
type prober struct {
	sent []probe
	next time.Time // when the next step is due
}

type probe struct {
	data []byte
	at   time.Time
}

// probeDue returns when the prober has something to do.
func (c *Carrier) probeDue() time.Time {
	if len(c.probes.sent) < maxProbes {
		if r := c.plugin.ready(); r.After(c.probes.next) {
			return r
		}
	}
	return c.probes.next
}

// probe sends the next Probe, or draws the conclusion from their silence.
func (c *Carrier) probe() {
	if c.regime != RegimeUnknown || c.now.Before(c.probeDue()) {
		return
	}
	if len(c.probes.sent) == maxProbes {
		c.setRegime(RegimeNone)
		return
	}
	nonce := make([]byte, envelope.ProbeLen)
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	// Eight bytes fit every fragment.
	data, _ := envelope.AppendSingle(nil, envelope.Object{Kind: envelope.KindProbe, Body: nonce})
	c.plugin.spend(c.now, 1)
	c.probes.sent = append(c.probes.sent, probe{data, c.now})
	c.probes.next = c.now.Add(probeWait)
	c.out(PluginOut{To: []uint32{c.session}, Data: data})
}

// probeEcho takes one of our own messages that came back, and reports whether
// it is a Probe of this connection.
func (c *Carrier) probeEcho(data []byte) bool {
	for _, p := range c.probes.sent {
		if !bytes.Equal(p.data, data) {
			continue
		}
		if c.regime != RegimeEcho {
			if c.regime == RegimeNone {
				c.stats.LateProbes++
			}
			c.measure(c.now.Sub(p.at))
			c.setRegime(RegimeEcho)
		}
		return true
	}
	return false
}
