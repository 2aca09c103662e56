package carrier

import (
	"bytes"
	"crypto/rand"
	"time"

	"github.com/sotto-voip/sotto/envelope"
)

// probeWait passes between the two Probes, and again before their silence is an
// answer, unless the answer to a Fence says so earlier.
const (
	probeWait = time.Second
	maxProbes = 2
	// A message of somebody else on the path that we take for closed is a reason to
	// ask again, so often at most.
	doubtEvery = 30 * time.Second
	keptProbes = 4
)

// prober holds the Probes of a connection. They stay for its whole life, so
// that a late echo is still known.
type prober struct {
	sent   []probe
	next   time.Time // when the next plugin Probe, or the answer, is due
	text   string    // the Probe as private text, once sent
	textAt time.Time
	fence  bool // one is under way, and nothing was sent behind it
	silent bool // all Probes were sent, and the server answered a Fence behind them

	doubted time.Time // when somebody's plugin message last made us ask again
}

type probe struct {
	data []byte
	at   time.Time
}

// textDue returns when the text Probe is due: with the second plugin Probe, as
// soon as the bucket allows.
func (c *Carrier) textDue() time.Time {
	first := c.probes.sent[maxProbes-1].at
	if r := c.buckets[pathText].ready(); r.After(first) {
		return r
	}
	return first
}

// answerDue returns when silence is an answer. A local client that uses up the
// text bucket delays it by one more wait and no longer.
func (c *Carrier) answerDue() time.Time {
	if c.probes.silent {
		return c.now
	}
	if c.probes.text != "" {
		return c.probes.textAt.Add(probeWait)
	}
	return c.probes.next.Add(probeWait)
}

// probeDue returns when the prober has something to do.
func (c *Carrier) probeDue() time.Time {
	if len(c.probes.sent) < maxProbes {
		if r := c.buckets[pathPlugin].ready(); r.After(c.probes.next) {
			return r
		}
		return c.probes.next
	}
	due := c.answerDue()
	if c.probes.text == "" {
		if d := c.textDue(); d.Before(due) {
			return d
		}
	}
	return due
}

// probe sends the next Probe, or draws the conclusion from their silence.
func (c *Carrier) probe() {
	if c.regime != RegimeUnknown || c.now.Before(c.probeDue()) {
		return
	}
	defer c.fenceOff(len(c.probes.sent), c.probes.text)
	if len(c.probes.sent) < maxProbes {
		o := freshProbe()
		// Eight bytes fit every fragment.
		data, _ := envelope.AppendSingle(nil, o)
		c.buckets[pathPlugin].spend(c.now, 1)
		c.probes.sent = append(c.probes.sent, probe{data, c.now})
		c.probes.next = c.now.Add(probeWait)
		c.out(PluginOut{To: []uint32{c.session}, Data: data})
		if len(c.probes.sent) < maxProbes {
			return
		}
	}
	if c.probes.text == "" && !c.now.Before(c.textDue()) {
		// Where plugin messages stay away private text may come back (uMurmur).
		// Murmur does not send it back, nor show it to anybody.
		o := freshProbe()
		text, _ := envelope.AppendText(nil, envelope.TextPart{Kind: o.Kind, ID: o.Ref().ID(), Count: 1, Part: o.Body}, false)
		c.buckets[pathText].spend(c.now, 1)
		c.probes.text, c.probes.textAt = string(text), c.now
		c.out(TextOut{To: []uint32{c.session}, Message: c.probes.text})
	}
	if !c.now.Before(c.answerDue()) {
		c.setRegime(RegimeNone)
	}
}

// fenceOff sends a Fence behind Probes that have left since: the server answers it
// behind their echoes, if it sends any.
func (c *Carrier) fenceOff(sent int, text string) {
	if c.regime == RegimeUnknown && (len(c.probes.sent) != sent || c.probes.text != text) {
		c.probes.fence = true
		c.out(Fence{})
	}
}

// fenced: the Probes before the latest Fence stayed without echo. After the first
// one the others follow at once, one may have been lost; after all of them it is the
// answer. A server between that changes the order is found out by the late echo.
func (c *Carrier) fenced() {
	if c.session == 0 || c.regime != RegimeUnknown || !c.probes.fence {
		return
	}
	c.probes.fence = false
	if len(c.probes.sent) < maxProbes {
		c.probes.next = c.now
		return
	}
	c.probes.silent = c.probes.text != ""
}

// doubt asks once more where plugin messages do not come back, because one of
// somebody else has come: both our Probes may have been lost.
func (c *Carrier) doubt() {
	if c.regime < RegimeText || !c.probes.doubted.IsZero() && c.now.Sub(c.probes.doubted) < doubtEvery || c.now.Before(c.buckets[pathPlugin].ready()) {
		return
	}
	c.probes.doubted = c.now
	data, _ := envelope.AppendSingle(nil, freshProbe())
	c.buckets[pathPlugin].spend(c.now, 1)
	if len(c.probes.sent) >= keptProbes {
		c.probes.sent = c.probes.sent[1:]
	}
	c.probes.sent = append(c.probes.sent, probe{data, c.now})
	c.out(PluginOut{To: []uint32{c.session}, Data: data})
}

func freshProbe() envelope.Object {
	nonce := make([]byte, envelope.ProbeLen)
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return envelope.Object{Kind: envelope.KindProbe, Body: nonce}
}

// probeEcho takes one of our own plugin messages that came back, and reports
// whether it is a Probe of this connection.
func (c *Carrier) probeEcho(data []byte) bool {
	for _, p := range c.probes.sent {
		if bytes.Equal(p.data, data) {
			c.improve(RegimeEcho, p.at)
			return true
		}
	}
	return false
}

// textProbeEcho is probeEcho for private text.
func (c *Carrier) textProbeEcho(message string) bool {
	if c.probes.text == "" || message != c.probes.text {
		return false
	}
	c.improve(RegimeText, c.probes.textAt)
	return true
}

// improve takes regime r if it is better than what is known: E, then T, then N.
func (c *Carrier) improve(r Regime, sent time.Time) {
	if c.regime != RegimeUnknown && c.regime <= r {
		return
	}
	if c.regime != RegimeUnknown {
		c.stats.LateProbes++
	}
	c.measure(c.now.Sub(sent))
	c.setRegime(r)
}
