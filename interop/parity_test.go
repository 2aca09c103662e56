package interop_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/keystore"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// way is how the two clients under test come to the server.
type way string

const (
	direct     way = "direct"
	throughOff way = "guards, policy off"
	// One of the two with policy prefer, for then nobody else has Sotto.
	prefer      way = "guards, policy of alice prefer"
	preferAdmin way = "guards, policy of the administrator prefer"
)

// prefers reports whether the guard of that person has policy prefer.
func (w way) prefers(name string) bool {
	return w == prefer && name == "alice" || w == preferAdmin && name == "SuperUser"
}

// mix is one run of the script of mixed use on a server of its own.
type mix struct {
	t     *testing.T
	way   way
	kind  peers.ServerKind
	certs map[string]*peers.Certificate
	*peers.Server
	hits  map[string]int // of differences
	at    string         // the step
	begun time.Time
	rows  []string // of the database, at the end

	// alice and the administrator come the way that is tested, bob and carol
	// always directly. None of them has Sotto.
	alice, admin, bob, carol *actor
	red, blue                uint32 // channels of a round
}

// actor is one person of the script.
type actor struct {
	x      *mix
	name   string
	addr   string
	guard  *guarded // nil: it comes directly
	opts   peers.RawOptions
	raw    *peers.Raw
	people people
	lines  []string
}

// newMix starts a server and, for the ways that have them, two guards.
func newMix(t *testing.T, kind peers.ServerKind, w way, certs map[string]*peers.Certificate) *mix {
	t.Helper()
	x := &mix{t: t, way: w, kind: kind, certs: certs, hits: map[string]int{}, begun: time.Now()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s ended at the step: %s", w, x.at)
			for _, a := range x.actors() {
				if a.guard != nil {
					all := a.guard.events()
					t.Logf("%s's guard said last:%s", a.name, a.guard.tell(all[max(0, len(all)-12):]))
				}
			}
		}
	})
	x.Server = peers.Start(t, kind, peers.ServerOptions{Unlimited: true, SuperUserPassword: "hall"})
	// Somebody stays: see peers.Server about what an emptied one may do.
	peers.DialRaw(t, x.Addr(), "warden", peers.RawOptions{})
	x.alice = x.actor("alice", true, peers.RawOptions{UDP: true})
	x.admin = x.actor("SuperUser", true, peers.RawOptions{Password: "hall"})
	x.bob = x.actor("bob", false, peers.RawOptions{UDP: true})
	x.carol = x.actor("carol", false, peers.RawOptions{UDP: true, Version: peers.Version134})
	return x
}

func (x *mix) actor(name string, tested bool, opts peers.RawOptions) *actor {
	a := &actor{x: x, name: name, addr: x.Addr(), opts: opts, people: people{}}
	a.opts.Certificate = x.certs[name]
	if !tested || x.way == direct {
		return a
	}
	dir := shortDir(x.t)
	importCertificate(x.t, dir, x.certs[name])
	secret, flags := "", []string{"--state", dir}
	if x.way.prefers(name) {
		secret, flags = automatic, append(flags, "--policy", "prefer")
	}
	a.guard = startGuard(x.t, name+"'s guard", x.Addr(), secret, flags...)
	a.addr = a.guard.addr()
	return a
}

// importCertificate is sotto identity import-mumble.
func importCertificate(t *testing.T, dir string, c *peers.Certificate) {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.DER)
	if err != nil {
		t.Fatal(err)
	}
	p12, err := pkcs12.Modern.Encode(c.TLS.PrivateKey, leaf, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	store, err := keystore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.ImportMumble(p12, ""); err != nil {
		t.Fatal(err)
	}
}

func (x *mix) actors() []*actor { return []*actor{x.alice, x.admin, x.bob, x.carol} }

// come logs in, or in again.
func (a *actor) come() {
	a.x.t.Helper()
	a.raw = peers.DialRaw(a.x.t, a.addr, a.name, a.opts)
	a.settle()
}

// fence waits until the server has done what a asked for.
func (a *actor) fence() {
	a.x.t.Helper()
	count := func() (n int) {
		for _, g := range a.raw.All() {
			if m, ok := g.Message.(*mumblepb.QueryUsers); ok && isFence(m) {
				n++
			}
		}
		return n
	}
	before := count()
	a.raw.Send(fenceQuestion())
	waitFor(a.x.t, "answer to a fence of "+a.name, func() bool { return count() > before })
}

// settle waits until guard lets a speak: it takes the brake off when it has found
// that nobody here has Sotto.
func (a *actor) settle() {
	a.x.t.Helper()
	if !a.x.way.prefers(a.name) {
		return
	}
	a.fence()
	alone := 0
	waitFor(a.x.t, "right to speak of "+a.name, func() bool {
		if !a.raw.Users()[a.raw.Session].GetSuppress() {
			return true
		}
		// Or there is nobody to speak to, or it is the server that forbids it. The event
		// may be that of a moment ago.
		switch a.guard.state() {
		case "Alone", "Clear":
			alone++
		case "Asked": // the server changed who hears us, and the person says what is to be done
			a.raw.Text(0, "/sotto clear")
			a.fence()
			alone = 0
		default:
			alone = 0
		}
		return alone > 5
	})
}

// state is what the gate said last.
func (g *guarded) state() (last string) {
	for _, e := range g.events() {
		if e.Event == "gate" {
			last = e.State
		}
	}
	return last
}

// step does one thing, waits until everybody has been told of it, and files what
// they were told.
func (x *mix) step(name string, do func()) {
	x.t.Helper()
	x.at = name
	do()
	x.sync()
	for _, a := range x.actors() {
		a.file(name)
	}
}

// sync waits until the server has done everything, and everybody knows.
func (x *mix) sync() {
	x.t.Helper()
	for range 2 { // the last of the first round may have caused something for the first
		for _, a := range x.actors() {
			if a.raw != nil && a.raw.Err() == nil {
				a.fence()
			}
		}
	}
	for _, a := range []*actor{x.alice, x.admin} {
		if a.raw != nil && a.raw.Err() == nil {
			a.settle()
		}
	}
}

// file turns what came into lines.
func (a *actor) file(step string) {
	if a.raw == nil {
		return
	}
	control, spoken := take(a.raw)
	var lines, voices []string
	for _, g := range control {
		if u, ok := g.message.(*mumblepb.UserState); ok && u.GetName() != "" {
			a.people[u.GetSession()] = u.GetName()
		}
	}
	for _, g := range control {
		if m := a.differ(g.message); m != nil {
			lines = append(lines, fmt.Sprintf("%s %s", m.ProtoReflect().Descriptor().Name(), a.people.render(m.ProtoReflect())))
		}
	}
	for _, g := range spoken {
		voices = append(voices, a.people.renderVoice(a.differVoice(step, g.voice)))
	}
	// The server tells newcomers of people and links in the order of its hash
	// tables, which is another in each process; datagrams may overtake each other.
	if strings.HasPrefix(step, "come") || step == "tokens" {
		slices.Sort(lines)
	}
	slices.Sort(voices)
	a.lines = append(a.lines, "-- "+step)
	a.lines = append(a.lines, lines...)
	a.lines = append(a.lines, voices...)
	if me := a.raw.Users()[a.raw.Session]; me != nil && a.raw.Err() == nil {
		a.lines = append(a.lines, fmt.Sprintf("%s may not speak here: %v", a.name, a.suppressed()))
	}
}

// knock speaks to a whisper target until somebody hears it: guard asks first whether
// they have Sotto. Its packets have numbers below firstFrame and are not compared.
func (a *actor) knock(target uint8, hearers []*actor) {
	a.x.t.Helper()
	heard := func() bool {
		a.raw.SendVoice(voice.Packet{Target: target, FrameNumber: 2, Data: speechPacket(0), Terminator: true})
		return slices.ContainsFunc(hearers, func(h *actor) bool { return len(h.raw.Heard(a.raw.Session)) > 0 })
	}
	waitFor(a.x.t, "whisper of "+a.name, heard)
}

// firstFrame is the least frame number of voice that counts.
const firstFrame = 100

// speak sends some packets to the target and waits until all hearers have them.
// Those who should hear nothing are caught by the comparison.
func (a *actor) speak(target uint8, hearers ...*actor) {
	x := a.x
	x.t.Helper()
	const n = 6
	for i := range n {
		a.raw.SendVoice(voice.Packet{
			Target: target, FrameNumber: uint64(firstFrame + 2*i), Data: speechPacket(i + int(target)), Terminator: i == n-1,
			HasPosition: i%2 == 0, Position: position,
		})
	}
	for _, h := range hearers {
		x.t.Helper()
		waitFor(x.t, "voice of "+a.name+" at "+h.name, func() bool {
			heard := 0
			for _, p := range h.raw.Heard(a.raw.Session) {
				if p.FrameNumber >= firstFrame {
					heard++
				}
			}
			return heard >= n
		})
	}
}

// login is the beginning of the script, before its rounds.
func (x *mix) login() {
	for _, a := range []*actor{x.admin, x.bob, x.carol, x.alice} {
		x.step("come "+a.name, a.come)
	}
	x.step("register", func() {
		x.alice.raw.Send(&mumblepb.UserState{Session: &x.alice.raw.Session, UserId: proto.Uint32(0)})
		x.alice.fence()
		x.admin.raw.Send(&mumblepb.UserState{Session: &x.bob.raw.Session, UserId: proto.Uint32(0)})
	})
}

// round is the script: everything that people do, once. It ends as it began.
func (x *mix) round() {
	alice, admin, bob, carol := x.alice, x.admin, x.bob, x.carol
	id := func(a *actor) *uint32 { return &a.raw.Session }

	x.step("talk", func() { alice.speak(0, bob, carol, admin) })
	x.step("answer", func() { bob.speak(0, alice, carol, admin) })
	x.step("talk in the tunnel", func() {
		alice.raw.SetUDP(false)
		alice.speak(0, bob, carol)
		bob.speak(0, alice)
		alice.raw.SetUDP(true)
		alice.speak(0, bob, carol)
	})
	x.step("hear oneself", func() { alice.speak(31, alice) })

	x.step("channels", func() {
		admin.raw.Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("red"), Description: proto.String("about red"), Position: proto.Int32(7)})
		admin.raw.Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("blue"), Description: proto.String(strings.Repeat("about blue ", 100))})
		x.red, x.blue = channelNamed(x.t, admin.raw, "red"), channelNamed(x.t, admin.raw, "blue")
		admin.raw.Send(&mumblepb.ChannelState{Parent: &x.red, Name: proto.String("passing"), Temporary: proto.Bool(true)})
	})
	x.step("move oneself", func() { alice.raw.Join(x.red) })
	x.step("move somebody", func() { admin.raw.Move(*id(bob), x.red) })
	x.step("talk apart", func() { alice.speak(0, bob) })
	x.step("link", func() { admin.raw.Link(x.red, x.blue) })
	x.step("join a linked channel", func() { carol.raw.Join(x.blue) })
	x.step("talk over a link", func() { alice.speak(0, bob, carol); carol.speak(0, alice, bob) })
	x.step("unlink", func() { admin.raw.Unlink(x.red, x.blue) })
	x.step("talk without a link", func() { alice.speak(0, bob) })
	x.step("rename a channel", func() {
		admin.raw.Send(&mumblepb.ChannelState{ChannelId: &x.blue, Name: proto.String("azure"), MaxUsers: proto.Uint32(9)})
	})

	if x.kind != peers.Murmur134 { // which has no listeners
		x.step("listen", func() {
			alice.raw.Send(&mumblepb.UserState{Session: id(alice), ListeningChannelAdd: []uint32{x.blue}})
			alice.fence()
			bob.raw.Send(&mumblepb.UserState{Session: id(bob), ListeningChannelAdd: []uint32{x.blue}})
		})
		x.step("talk to listeners", func() { carol.speak(0, alice, bob) })
		x.step("listen softly", func() {
			alice.raw.Send(&mumblepb.UserState{Session: id(alice), ListeningVolumeAdjustment: []*mumblepb.UserState_VolumeAdjustment{{ListeningChannel: &x.blue, VolumeAdjustment: proto.Float32(0.5)}}})
		})
		x.step("listen no more", func() {
			alice.raw.Send(&mumblepb.UserState{Session: id(alice), ListeningChannelRemove: []uint32{x.blue}})
			alice.fence()
			bob.raw.Send(&mumblepb.UserState{Session: id(bob), ListeningChannelRemove: []uint32{x.blue}})
		})
	}

	for n, w := range []struct {
		name    string
		target  *mumblepb.VoiceTarget_Target
		hearers []*actor
	}{
		{"whisper to carol", &mumblepb.VoiceTarget_Target{Session: []uint32{*id(carol)}}, []*actor{carol}},
		{"whisper to two", &mumblepb.VoiceTarget_Target{Session: []uint32{*id(carol), *id(bob)}}, []*actor{carol, bob}},
		{"shout to a channel", &mumblepb.VoiceTarget_Target{ChannelId: &x.blue}, []*actor{carol}},
		{"shout to the tree", &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(0), Children: proto.Bool(true)}, []*actor{carol, bob, admin}},
		{"shout to a group", &mumblepb.VoiceTarget_Target{ChannelId: proto.Uint32(0), Children: proto.Bool(true), Group: proto.String("auth")}, []*actor{bob}},
	} {
		x.step(w.name, func() {
			number := uint32(1 + n)
			alice.raw.Send(&mumblepb.VoiceTarget{Id: &number, Targets: []*mumblepb.VoiceTarget_Target{w.target}})
			alice.fence()
			alice.knock(uint8(number), w.hearers)
			alice.speak(uint8(number), w.hearers...)
		})
		x.step("end of "+w.name, func() { alice.raw.Send(&mumblepb.VoiceTarget{Id: proto.Uint32(uint32(1 + n))}) })
	}
	x.step("whispered to", func() {
		bob.raw.Send(&mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{*id(alice)}}}})
		bob.fence()
		bob.knock(1, []*actor{alice}) // a 1.5 server loses the first packet
		bob.speak(1, alice)
	})

	everybody := []*actor{bob, carol, admin}
	for _, w := range []struct {
		name    string
		m       *mumblepb.TextMessage
		readers []*actor
	}{
		{"text to the channel", &mumblepb.TextMessage{ChannelId: []uint32{x.red}, Message: proto.String("hello <b>channel</b> &amp; all")}, []*actor{bob}},
		{"text to another channel", &mumblepb.TextMessage{ChannelId: []uint32{x.blue}, Message: proto.String("hello there")}, []*actor{carol}},
		{"text to the tree", &mumblepb.TextMessage{TreeId: []uint32{0}, Message: proto.String("hello everybody")}, everybody},
		{"private text", &mumblepb.TextMessage{Session: []uint32{*id(carol)}, Message: proto.String("hello you")}, []*actor{carol}},
		{"text to a mixed list", &mumblepb.TextMessage{Session: []uint32{*id(carol)}, ChannelId: []uint32{x.red}, Message: proto.String("hello both")}, []*actor{bob, carol}},
		{"text with an image", &mumblepb.TextMessage{ChannelId: []uint32{x.red}, Message: proto.String(
			`<img src="data:image/png;base64,` + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("pixel"), 6000)) + `"/>`)}, []*actor{bob}},
	} {
		x.step(w.name, func() {
			alice.raw.Send(w.m)
			for _, r := range w.readers { // guard asks those elsewhere first whether they have Sotto
				r.raw.Wait(patience, w.name+" at "+r.name, func(g peers.Received) bool {
					m, ok := g.Message.(*mumblepb.TextMessage)
					return ok && strings.HasSuffix(m.GetMessage(), w.m.GetMessage())
				})
			}
		})
	}
	x.step("text of bob", func() { bob.raw.Text(x.red, "hello alice"); bob.raw.TextTo("only you", *id(alice)) })

	for _, m := range []struct {
		name string
		by   *actor
		m    *mumblepb.UserState
	}{
		{"mute oneself", alice, &mumblepb.UserState{SelfMute: proto.Bool(true)}},
		{"deafen oneself", alice, &mumblepb.UserState{SelfDeaf: proto.Bool(true)}},
		{"undeafen oneself", alice, &mumblepb.UserState{SelfDeaf: proto.Bool(false)}},
		{"unmute oneself", alice, &mumblepb.UserState{SelfMute: proto.Bool(false)}},
		{"record", alice, &mumblepb.UserState{Recording: proto.Bool(true)}},
		{"record no more", alice, &mumblepb.UserState{Recording: proto.Bool(false)}},
		{"mute by the administrator", admin, &mumblepb.UserState{Mute: proto.Bool(true)}},
		{"deafen by the administrator", admin, &mumblepb.UserState{Deaf: proto.Bool(true)}},
		{"undeafen and unmute", admin, &mumblepb.UserState{Deaf: proto.Bool(false), Mute: proto.Bool(false)}},
		{"priority", admin, &mumblepb.UserState{PrioritySpeaker: proto.Bool(true)}},
		{"no priority", admin, &mumblepb.UserState{PrioritySpeaker: proto.Bool(false)}},
	} {
		x.step(m.name, func() {
			m.m.Session = id(alice)
			m.by.raw.Send(m.m)
		})
	}
	x.step("mute carol", func() { admin.raw.Send(&mumblepb.UserState{Session: id(carol), Mute: proto.Bool(true)}) })
	x.step("unmute carol", func() { admin.raw.Send(&mumblepb.UserState{Session: id(carol), Mute: proto.Bool(false)}) })

	x.editors()
	x.words()
	x.goAndCome()
}

// editors are the windows of the administrator.
func (x *mix) editors() {
	alice, admin := x.alice, x.admin
	acl := func() *mumblepb.ACL {
		return ask[*mumblepb.ACL](x.t, admin.raw, func(m proto.Message) { admin.raw.Send(m) }, &mumblepb.ACL{ChannelId: &x.red, Query: proto.Bool(true)})
	}
	x.step("edit rules", func() {
		list := acl()
		list.Query = nil
		list.Groups = append(list.Groups, &mumblepb.ACL_ChanGroup{Name: proto.String("friends"), Add: []uint32{1}})
		list.Acls = append(list.Acls, &mumblepb.ACL_ChanACL{Group: proto.String("all"), Inherited: proto.Bool(false), ApplyHere: proto.Bool(true), ApplySubs: proto.Bool(true), Deny: proto.Uint32(0x800)}) // files, texts
		admin.raw.Send(list)
	})
	x.step("look at rules", func() { acl() })
	x.step("what is not allowed any more", func() { alice.raw.Text(x.red, "may I?") })
	x.step("ask for permissions", func() { alice.raw.Send(&mumblepb.PermissionQuery{ChannelId: &x.red}) })
	x.step("what alice may not", func() {
		alice.raw.Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("not allowed")})
		alice.raw.Send(&mumblepb.ACL{ChannelId: proto.Uint32(0), Query: proto.Bool(true)})
		alice.raw.Send(&mumblepb.UserRemove{Session: &x.bob.raw.Session, Reason: proto.String("not allowed")})
	})
	x.step("ban", func() {
		address := append(make([]byte, 10), 0xFF, 0xFF, 192, 0, 2, 1)
		admin.raw.Send(&mumblepb.BanList{Bans: []*mumblepb.BanList_BanEntry{{
			Address: address, Mask: proto.Uint32(128), Name: proto.String("nobody"), Hash: proto.String(""),
			Reason: proto.String("a test"), Start: proto.String("2026-01-01T00:00:00"), Duration: proto.Uint32(0),
		}}})
	})
	x.step("look at bans", func() { admin.raw.Send(&mumblepb.BanList{Query: proto.Bool(true)}) })
	x.step("look at users", func() { admin.raw.Send(&mumblepb.UserList{}) })
	x.step("ask for names", func() { admin.raw.Send(&mumblepb.QueryUsers{Names: []string{"alice", "bob"}}) })
	x.step("rename a user", func() {
		admin.raw.Send(&mumblepb.UserList{Users: []*mumblepb.UserList_User{{UserId: proto.Uint32(2), Name: proto.String("robert")}}})
		admin.fence()
		admin.raw.Send(&mumblepb.UserList{Users: []*mumblepb.UserList_User{{UserId: proto.Uint32(2), Name: proto.String("bob")}}})
	})
}

// words are what everybody may read: comments, pictures, statistics, menus.
func (x *mix) words() {
	alice, admin, bob, carol := x.alice, x.admin, x.bob, x.carol
	comment := strings.Repeat("A word about alice. ", 100)
	x.step("comment", func() { alice.raw.Send(&mumblepb.UserState{Session: &alice.raw.Session, Comment: &comment}) })
	x.step("picture", func() {
		alice.raw.Send(&mumblepb.UserState{Session: &alice.raw.Session, Texture: bytes.Repeat([]byte{0x89, 'P', 'N', 'G'}, 400)})
	})
	x.step("comment of bob", func() { bob.raw.Send(&mumblepb.UserState{Session: &bob.raw.Session, Comment: proto.String("short")}) })
	x.step("ask for long words", func() {
		blob := &mumblepb.RequestBlob{SessionComment: []uint32{alice.raw.Session}, SessionTexture: []uint32{alice.raw.Session}, ChannelDescription: []uint32{x.blue}}
		for _, a := range []*actor{alice, admin, bob} {
			a.raw.Send(blob)
		}
	})
	x.step("take the comment away", func() {
		admin.raw.Send(&mumblepb.UserState{Session: &bob.raw.Session, Comment: proto.String("")})
		admin.fence()
		alice.raw.Send(&mumblepb.UserState{Session: &alice.raw.Session, Texture: []byte{}})
	})
	x.step("statistics", func() {
		alice.raw.Send(&mumblepb.UserStats{Session: &bob.raw.Session}) // answered to who asks
		alice.raw.Send(&mumblepb.UserStats{Session: &alice.raw.Session, StatsOnly: proto.Bool(true)})
		admin.raw.Send(&mumblepb.UserStats{Session: &alice.raw.Session})
		bob.raw.Send(&mumblepb.UserStats{Session: &alice.raw.Session})
	})
	x.step("menu", func() {
		alice.raw.Send(&mumblepb.ContextAction{Action: proto.String("somebody's"), ChannelId: &x.red, Session: &carol.raw.Session})
	})
	x.step("tokens", func() { alice.raw.Send(&mumblepb.Authenticate{Tokens: []string{"one", "two"}, Opus: proto.Bool(true)}) })
	x.step("plugin data", func() {
		alice.raw.Send(&mumblepb.PluginDataTransmission{ReceiverSessions: []uint32{bob.raw.Session}, Data: []byte("data of a game"), DataID: proto.String("game")})
		if x.kind != peers.Murmur134 { // which passes none
			bob.raw.Wait(patience, "data of a plugin", func(g peers.Received) bool {
				m, ok := g.Message.(*mumblepb.PluginDataTransmission)
				return ok && m.GetDataID() == "game"
			})
		}
	})
	x.step("a place in a game", func() {
		for _, a := range []*actor{alice, bob} {
			a.raw.Send(&mumblepb.UserState{Session: &a.raw.Session, PluginContext: []byte("game"), PluginIdentity: proto.String("me")})
			a.fence()
		}
	})
	x.step("talk in a game", func() { alice.speak(0, bob); bob.speak(0, alice) })
	x.step("no game", func() {
		for _, a := range []*actor{alice, bob} {
			a.raw.Send(&mumblepb.UserState{Session: &a.raw.Session, PluginContext: []byte{}, PluginIdentity: proto.String("")})
			a.fence()
		}
	})
}

// goAndCome are the ways to be gone, and the end of the channels.
func (x *mix) goAndCome() {
	alice, admin, bob, carol := x.alice, x.admin, x.bob, x.carol
	x.step("move by oneself", func() { alice.raw.Join(x.blue); alice.fence(); alice.raw.Join(x.red) })
	x.step("go", func() {
		session := alice.raw.Session
		alice.raw.Close()
		waitFor(x.t, "end of alice", func() bool { return bob.raw.Users()[session] == nil })
	})
	x.step("come again", alice.come)
	x.step("talk after coming again", func() { alice.speak(0, bob); bob.speak(0, alice) })
	x.step("kick", func() {
		session := carol.raw.Session
		admin.raw.Send(&mumblepb.UserRemove{Session: &session, Reason: proto.String("a test")})
		waitFor(x.t, "end of carol", func() bool { return bob.raw.Users()[session] == nil && carol.raw.Err() != nil })
	})
	x.step("come carol", carol.come)
	x.step("kick alice", func() {
		session := alice.raw.Session
		admin.raw.Send(&mumblepb.UserRemove{Session: &session, Reason: proto.String("a test")})
		waitFor(x.t, "end of alice", func() bool { return bob.raw.Users()[session] == nil && alice.raw.Err() != nil })
	})
	x.step("come alice", alice.come)
	x.step("remove channels", func() {
		admin.raw.Send(&mumblepb.ChannelRemove{ChannelId: &x.red})
		admin.raw.Send(&mumblepb.ChannelRemove{ChannelId: &x.blue})
	})
	x.step("come together", func() {
		for _, a := range []*actor{alice, bob, carol} {
			a.raw.Join(0)
		}
	})
	x.step("talk again", func() { alice.speak(0, bob, carol); bob.speak(0, alice, carol) })
}

// channelNamed waits for a channel and returns its id.
func channelNamed(t *testing.T, r *peers.Raw, name string) (id uint32) {
	t.Helper()
	waitFor(t, "channel "+name, func() bool {
		for c, state := range r.Channels() {
			if state.GetName() == name {
				id = c
			}
		}
		return id != 0
	})
	return id
}

// run plays the script: rounds times, or until the time is over.
func (x *mix) run(rounds int, until time.Time) int {
	x.t.Helper()
	x.login()
	n := 0
	for n == 0 || n < rounds || time.Now().Before(until) {
		x.round()
		n++
	}
	for _, a := range x.actors() {
		a.raw.Close()
	}
	return n
}

// parityTime is how long TestParity goes on, in real time; 0: one round.
func parityTime(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("SOTTO_PARITY")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		t.Fatalf("SOTTO_PARITY=%q is no time", s)
	}
	return d
}

// TestParity plays one script of mixed use on fresh servers: with raw clients
// directly, and with the same clients behind guards whose policy is off, or prefer
// while nobody else has Sotto. What the server keeps, what others receive and what
// the clients themselves receive must be the same but for the list of differences,
// each of which must show. SOTTO_PARITY=10m goes on for so long.
func TestParity(t *testing.T) {
	certs := map[string]*peers.Certificate{}
	for _, name := range []string{"alice", "SuperUser", "bob", "carol"} {
		certs[name] = peers.NewCertificate(t, name)
	}
	duration := parityTime(t)
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			runs := map[way]*mix{}
			var mu sync.Mutex
			rounds := 1
			play := func(t *testing.T, w way, duration time.Duration) {
				begin := time.Now()
				x := newMix(t, kind, w, certs)
				n := x.run(rounds, begin.Add(duration))
				x.Stop()
				x.rows = database(t, x.Server)
				mu.Lock()
				defer mu.Unlock()
				runs[w] = x
				t.Logf("%s: %d rounds, %d differences, %.1f s", w, n, sum(x.hits), time.Since(begin).Seconds())
				rounds = max(rounds, n)
			}
			if duration > 0 {
				play(t, prefer, duration) // and the others as many rounds
			}
			// Side by side, for they wait most of the time; t.Parallel would let no more
			// of them than there are processors.
			var all sync.WaitGroup
			for _, group := range [][]way{{prefer}, {preferAdmin}, {throughOff, direct}} {
				if duration > 0 && group[0] == prefer {
					continue
				}
				all.Go(func() {
					t.Run(string(group[0]), func(t *testing.T) {
						for _, w := range group {
							play(t, w, 0)
						}
					})
				})
			}
			all.Wait()
			if len(runs) != 4 {
				t.Fatal("not all runs have come to their end")
			}
			plain := runs[direct]
			for _, w := range []way{prefer, preferAdmin, throughOff} {
				for i, a := range runs[w].actors() {
					compareLines(t, fmt.Sprintf("%s, what %s received", w, a.name), plain.actors()[i].lines, a.lines)
				}
				compareLines(t, fmt.Sprintf("%s, the database", w), plain.rows, runs[w].rows)
			}
			checkDifferences(t, kind, runs)
			if !t.Failed() {
				t.Logf("%d lines of what four people received and %d rows of the database are the same", lines(plain), len(plain.rows))
			}
		})
	}
}

// lines counts what the people of a run received.
func lines(x *mix) (n int) {
	for _, a := range x.actors() {
		n += len(a.lines)
	}
	return n
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// compareLines shows the first differences, with the step they belong to.
func compareLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	if slices.Equal(want, got) {
		return
	}
	wantSteps, gotSteps := bySteps(want), bySteps(got)
	shown := 0
	for i := range max(len(wantSteps), len(gotSteps)) {
		var w, g []string
		if i < len(wantSteps) {
			w = wantSteps[i]
		}
		if i < len(gotSteps) {
			g = gotSteps[i]
		}
		if slices.Equal(w, g) {
			continue
		}
		if shown++; shown > 8 {
			t.Errorf("%s: and more", what)
			return
		}
		head := ""
		if len(w) > 0 {
			head = w[0]
		}
		t.Errorf("%s: %s\n  without guard only:%s\n  with guard only:%s", what, head, without(w, g), without(g, w))
	}
}

// bySteps cuts lines at their headings.
func bySteps(lines []string) (steps [][]string) {
	for _, l := range lines {
		if len(steps) == 0 || strings.HasPrefix(l, "-- ") {
			steps = append(steps, nil)
		}
		steps[len(steps)-1] = append(steps[len(steps)-1], l)
	}
	return steps
}

// without is what stands in a and not in b, each as often as it is too much; all of
// a if only the order differs.
func without(a, b []string) string {
	left := map[string]int{}
	for _, l := range b {
		left[l]++
	}
	var out strings.Builder
	for _, l := range a {
		if left[l]--; left[l] < 0 {
			out.WriteString("\n    " + l)
		}
	}
	if out.Len() == 0 {
		return " nothing, or another order"
	}
	return out.String()
}
