package main

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/voice"
	"github.com/sotto-voip/sotto/stockclient"
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
	port := d.guard(p, record)
	d.belongs(p, record)
	d.around(p)
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
	if d.version(p, link) && d.udp(p, link) && port != 0 {
		d.reachUDP(p, port)
	}
}

// guard looks for the guard of a server, and returns its port, 0 if none runs.
func (d *doctor) guard(p *post, record *keystore.Server) (port int) {
	for _, s := range d.running {
		if other, err := newPost(s.Target); err == nil && strings.EqualFold(other.address, p.address) {
			d.report(finding{Check: "guard", Server: p.target, Level: levelOK, Text: "runs, " + s.line()})
			d.reach(p, s.Port)
			return s.Port
		}
	}
	f := finding{Check: "guard", Server: p.target, Level: levelNote, Text: "is not running", Remedy: d.a.sotto() + " guard " + shellQuote(p.target)}
	if record != nil {
		if port, has, err := record.Port(); err == nil && has {
			f.Text = fmt.Sprintf("is not running; its port is %d", port)
			if taken(port) {
				f.Level, f.Text = levelTrouble, fmt.Sprintf("is not running, and another program has its port, %d", port)
				f.Remedy = "stop that program, or take another port, here and in Mumble: " + d.a.sotto() + " guard --listen PORT " + shellQuote(p.target)
			}
		}
	}
	d.report(f)
	return 0
}

// loopbacks are where guard listens.
var loopbacks = []string{"::1", "127.0.0.1"}

// taken reports whether nobody can listen on a port of this computer.
func taken(port uint16) bool {
	for _, host := range loopbacks {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if errors.Is(err, syscall.EADDRINUSE) {
			return true
		}
		if err == nil {
			l.Close()
		}
	}
	return false
}

// atGuard is where the stock client would go to the guard of a server.
func (d *doctor) atGuard(port int) string {
	host := loopbacks[0]
	if !d.a.ipv6() {
		host = loopbacks[1]
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// reach goes there: something on this computer may stand in the way.
func (d *doctor) reach(p *post, port int) {
	at := d.atGuard(port)
	c, err := net.DialTimeout("tcp", at, udpPatience)
	if err != nil {
		d.report(finding{"reach", p.target, levelTrouble, "guard cannot be reached at " + at + ": " + sentence(err), "look at the firewall and the VPN of this computer"})
		return
	}
	c.Close()
	d.report(finding{Check: "reach", Server: p.target, Level: levelOK, Text: "guard is reached at " + at})
}

// reachUDP goes there too, where a guard answers, which is if its server does.
func (d *doctor) reachUDP(p *post, port int) {
	at := d.atGuard(port)
	c, err := net.Dial("udp", at)
	if err == nil {
		_, _, err = d.pong(c)
		c.Close()
	}
	f := finding{Check: "reach", Server: p.target, Level: levelOK, Text: "guard answers at " + at + " by UDP"}
	if err != nil {
		f.Level, f.Text = levelNote, "guard does not answer at "+at+" by UDP, so voice may stutter: "+sentence(err)
		f.Remedy = "look at the firewall and the VPN of this computer"
	}
	d.report(f)
}

// belongs holds the certificate of the stock client against the one that guard
// belongs to.
func (d *doctor) belongs(p *post, record *keystore.Server) {
	if record == nil {
		return
	}
	pin, pinned, err := record.ClientPin()
	cert, certErr := certificateOf(d.found)
	switch {
	case err != nil || !pinned || certErr != nil:
	case cert == nil && hides(d.found):
		d.report(finding{"client", p.target, levelTrouble, "guard belongs to a Mumble with a certificate, and yours shows none",
			"in Mumble: Configure, Settings, Network, do not suppress certificate and password storage"})
	case cert != nil && sha256.Sum256(cert.der) != pin:
		sum := keystore.Fingerprint(sha256.Sum256(cert.der))
		d.report(finding{"client", p.target, levelTrouble, "guard belongs to the Mumble with certificate " + keystore.Fingerprint(pin) + "; yours has " + sum,
			d.a.sotto() + " guard --accept-client " + strings.ReplaceAll(sum, " ", "") + " " + shellQuote(p.target)})
	case cert != nil:
		d.report(finding{Check: "client", Server: p.target, Level: levelOK, Text: "guard belongs to your Mumble"})
	}
}

// around looks for the server in the stock client's own lists: who connects by them
// goes around guard.
func (d *doctor) around(p *post) {
	if path := stockclient.Remembers(d.a.system(), p.host); path != "" {
		d.report(finding{"favourite", p.target, levelNote, "your Mumble remembers this server (" + path + "); who connects to it from Mumble's list goes around guard, and is heard in clear",
			"in Mumble: Server, Connect, edit that entry: address ::1, port as guard says"})
	}
}

// pin holds the server's certificate against the remembered one. It remembers
// nothing, and with another certificate there is nothing more to ask.
func (d *doctor) pin(p *post, record *keystore.Server, chain [][]byte) bool {
	if len(chain) == 0 {
		return false
	}
	sum := sha256.Sum256(chain[0])
	f := finding{Check: "pin", Server: p.target, Level: levelOK, Text: "the certificate is the remembered one, " + keystore.Fingerprint(sum)}
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
				d.answers(p, link)
				return true
			}
		}
	}
	d.report(finding{"server", p.target, levelTrouble, "can be reached, but does not answer as a Mumble server: " + sentence(err), hintFor(err)})
	return false
}

// answers reports what a server is.
func (d *doctor) answers(p *post, link *client.Link) {
	f := finding{Check: "server", Server: p.target, Level: levelOK, Text: "answers, Mumble " + link.ServerVersion().String()}
	if at := link.Remote(); at.IsValid() {
		f.Text += ", at " + at.String()
	}
	d.report(f)
	if link.ServerVersion() < control.MakeVersion(1, 4, 0) {
		d.report(finding{"old", p.target, levelNote, "before 1.4 servers pass keys as texts: it takes five seconds until people hear each other, nobody with Sotto is ever idle, and no plugin data goes through",
			"ask the server's owner for Mumble 1.4 or later"})
	}
}

// udp asks as the list of servers in a stock client does, and reports whether there is
// an answer.
func (d *doctor) udp(p *post, link *client.Link) bool {
	if d.net.Proxy != nil || !link.Remote().IsValid() {
		d.report(finding{Check: "udp", Server: p.target, Level: levelNote, Text: "not asked; through a proxy voice goes by TCP"})
		return false
	}
	c, err := d.net.UDP(link.Remote())
	var pong voice.ListPong
	var took time.Duration
	if err == nil {
		pong, took, err = d.pong(c)
		c.Close()
	}
	if err != nil {
		d.report(finding{"udp", p.target, levelNote, "no answer, so voice will go by TCP and may stutter: " + sentence(err),
			"let UDP to the server's port through; some servers answer only who is logged in"})
		return false
	}
	d.report(finding{Check: "udp", Server: p.target, Level: levelOK, Text: "answers in " + milliseconds(took)})
	if pong.MaxUsers > 0 && pong.Users >= pong.MaxUsers {
		d.report(finding{"full", p.target, levelNote, fmt.Sprintf("the server is full, %d of %d people are there", pong.Users, pong.MaxUsers), "come later, or ask its owner for more room"})
	}
	if most := pong.MaxBandwidth; most > 0 && most < leastBandwidth {
		d.report(finding{"bandwidth", p.target, levelTrouble, fmt.Sprintf("the server allows %d kbit/s, and encrypted voice takes %d at least: it will drop packets", most/1000, leastBandwidth/1000),
			"ask its owner for a bandwidth of 72000"})
	}
	return true
}

// leastBandwidth is what the worst voice of a stock client takes when it is encrypted,
// in bits per second.
const leastBandwidth = 8*50*typedOverhead + 8000

// pong asks over c, and returns the answer and how long it took.
func (d *doctor) pong(c net.Conn) (pong voice.ListPong, took time.Duration, err error) {
	in := make([]byte, 256)
	for range udpQuestions {
		ident := rand.Uint64()
		begin := time.Now()
		c.SetDeadline(begin.Add(udpPatience))
		if _, err = c.Write(voice.AppendListPing(nil, ident)); err != nil {
			return pong, 0, err
		}
		for {
			var n int
			if n, err = c.Read(in); err != nil {
				break
			}
			if pong, wrong := voice.ParseListPong(in[:n]); wrong == nil && pong.Ident == ident {
				return pong, time.Since(begin), nil
			}
		}
		if !isTimeout(err) {
			return pong, 0, err
		}
	}
	return pong, 0, errors.New("nothing came")
}
