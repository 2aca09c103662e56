package main

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// Times of an examination of a server.
const (
	versionPatience = 5 * time.Second // a server says its version first of all
	udpPatience     = time.Second     // for each of the questions
	udpQuestions    = 3               // datagrams may be lost
)

// server looks at one server and the guard for it.
func (d *doctor) server(p *post, store *keystore.Store) {
	var record *keystore.Server
	if store != nil && store.Knows(p.host, p.port) {
		var err error
		if record, err = store.Server(p.host, p.port); err != nil {
			d.report(finding{"state", p.target, levelTrouble, sentence(err), hintFor(err)})
			return
		}
	}
	d.guard(p, record)
	if d.blocked {
		d.report(finding{Check: "server", Server: p.target, Level: levelNote, Text: "not asked, because of the proxy"})
		return
	}
	var chain [][]byte
	link, err := client.DialLink(d.ctx, d.a.now(), client.LinkConfig{
		Address: p.address, SRV: !portTyped(p.target), Net: d.net, NoUDP: true,
		CheckChain: func(c [][]byte) error { chain = c; return nil },
	})
	if err != nil {
		d.report(finding{"server", p.target, levelTrouble, "cannot be reached: " + sentence(err), hintFor(err)})
		return
	}
	defer link.Close(0)
	if !d.pin(p, record, chain) {
		return
	}
	if d.version(p, link) {
		d.udp(p, link)
	}
}

// guard looks for the guard of a server.
func (d *doctor) guard(p *post, record *keystore.Server) {
	for _, s := range d.running {
		if other, err := newPost(s.Target); err == nil && strings.EqualFold(other.address, p.address) {
			d.report(finding{Check: "guard", Server: p.target, Level: levelOK, Text: "runs, " + s.line()})
			return
		}
	}
	f := finding{Check: "guard", Server: p.target, Level: levelNote, Text: "is not running", Remedy: d.a.sotto() + " guard " + shellQuote(p.target)}
	if record != nil {
		if port, has, err := record.Port(); err == nil && has {
			f.Text = fmt.Sprintf("is not running; its port is %d", port)
		}
	}
	d.report(f)
}

// pin holds the server's certificate against the remembered one. It remembers
// nothing, and with another certificate there is nothing more to ask.
func (d *doctor) pin(p *post, record *keystore.Server, chain [][]byte) bool {
	if len(chain) == 0 {
		return false
	}
	sum := sha256.Sum256(chain[0])
	f := finding{Check: "pin", Server: p.target, Level: levelOK, Text: "the certificate is the remembered one"}
	var pin [32]byte
	known := false
	if record != nil {
		var err error
		if pin, known, err = record.Pin(); err != nil {
			f.Level, f.Text, f.Remedy = levelTrouble, sentence(err), hintFor(err)
			d.report(f)
			return false
		}
	}
	switch {
	case !known:
		f.Level, f.Text = levelNote, "the server is not known yet; its certificate: "+keystore.Fingerprint(sum)
		if trouble := client.CertificateTrouble(p.host, chain, d.a.now()); trouble != "" {
			f.Text += ", and " + trouble
		}
		f.Remedy = "compare it with the server's owner"
	case pin != sum:
		err := &keystore.PinError{Address: p.address, Old: pin, New: sum}
		f.Level, f.Text, f.Remedy = levelTrouble, sentence(err), err.Hint()
	}
	d.report(f)
	if leaf, err := x509.ParseCertificate(chain[0]); err == nil && d.a.now().Add(clockSlack).Before(leaf.NotBefore) {
		d.report(finding{"clock", p.target, levelNote, "the server's certificate begins at " + leaf.NotBefore.UTC().Format(time.DateTime) + ", which is to come",
			"see whether the clock of this computer is right"})
	}
	return !known || pin == sum
}

// version waits for what the server says first, and reports whether it says it.
func (d *doctor) version(p *post, link *client.Link) bool {
	late := time.NewTimer(versionPatience)
	defer late.Stop()
	err := error(nil)
	for err == nil {
		select {
		case <-d.ctx.Done():
			return false
		case <-late.C:
			err = errors.New("it says nothing")
		case f, ok := <-link.Frames():
			if !ok {
				err = link.Err()
				break
			}
			if _, err = link.ReceiveFrame(d.a.now(), f); err == nil && f.Type == control.TypeVersion {
				d.report(finding{Check: "server", Server: p.target, Level: levelOK, Text: "answers, Mumble " + link.ServerVersion().String()})
				return true
			}
		}
	}
	d.report(finding{"server", p.target, levelTrouble, "can be reached, but does not answer as a Mumble server: " + sentence(err), hintFor(err)})
	return false
}

// udp asks as the list of servers in a stock client does.
func (d *doctor) udp(p *post, link *client.Link) {
	if d.net.Proxy != nil || !link.Remote().IsValid() {
		d.report(finding{Check: "udp", Server: p.target, Level: levelNote, Text: "not asked; through a proxy voice goes by TCP"})
		return
	}
	took, err := d.pong(link)
	if err != nil {
		d.report(finding{"udp", p.target, levelNote, "no answer, so voice will go by TCP and may stutter: " + sentence(err),
			"let UDP to the server's port through; some servers answer only who is logged in"})
		return
	}
	d.report(finding{Check: "udp", Server: p.target, Level: levelOK, Text: "answers in " + milliseconds(took)})
}

// pong returns how long the answer took.
func (d *doctor) pong(link *client.Link) (time.Duration, error) {
	c, err := d.net.UDP(link.Remote())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	in := make([]byte, 256)
	for range udpQuestions {
		ident := rand.Uint64()
		begin := time.Now()
		c.SetDeadline(begin.Add(udpPatience))
		if _, err = c.Write(voice.AppendListPing(nil, ident)); err != nil {
			return 0, err
		}
		for {
			var n int
			if n, err = c.Read(in); err != nil {
				break
			}
			if pong, wrong := voice.ParseListPong(in[:n]); wrong == nil && pong.Ident == ident {
				return time.Since(begin), nil
			}
		}
		if !isTimeout(err) {
			return 0, err
		}
	}
	return 0, errors.New("nothing came")
}
