package interop_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

func (x *table) version() {
	for r, tap := range map[*peers.Raw]*peers.Tap{x.boss: x.toBoss, x.olga: x.toOlga} {
		shown := gets(x, r, "Version", all[*mumblepb.Version])
		real := gets(x, x.dave, "Version", all[*mumblepb.Version])
		if shown.GetRelease() != real.GetRelease()+" via Sotto" || control.VersionOf(shown) != control.VersionOf(real) {
			x.t.Errorf("%s is shown %v, the server is %v", r.Name, shown, real)
		}
		want := peers.Version15
		if r == x.olga {
			if want = peers.Version134; x.kind == peers.Murmur15 {
				want = control.MakeVersion(1, 5, 0)
			}
		}
		said := leaves(x, tap, "Version", all[*mumblepb.Version])
		if control.VersionOf(said) != want || said.GetVersionV1() != want.V1() {
			x.t.Errorf("%s is announced as %v, want %v", r.Name, said, want)
		}
	}
	if !leaves(x, x.toOlga, "Authenticate", all[*mumblepb.Authenticate]).GetOpus() {
		x.t.Error("the login says that there is no Opus")
	}
}

func (x *table) login() {
	type sync = *mumblepb.ServerSync
	real := gets(x, x.dave, "ServerSync", all[sync])
	for r, less := range map[*peers.Raw]uint32{x.boss: 22400, x.olga: 0} {
		got := gets(x, r, "ServerSync", all[sync])
		if got.GetMaxBandwidth() != real.GetMaxBandwidth()-less || !strings.HasPrefix(got.GetWelcomeText(), "Connected through Sotto") || !strings.HasSuffix(got.GetWelcomeText(), real.GetWelcomeText()) {
			x.t.Errorf("%s is welcomed with %v, dave with %v", r.Name, got, real)
		}
	}
	config := gets(x, x.dave, "ServerConfig", all[*mumblepb.ServerConfig])
	if got := gets(x, x.olga, "ServerConfig", all[*mumblepb.ServerConfig]); !proto.Equal(got, config) {
		x.t.Errorf("olga's limits are %v, dave's %v", got, config)
	}
	low := gets(x, x.boss, "ServerConfig", all[*mumblepb.ServerConfig])
	if n := low.GetMessageLength(); n == 0 || n > 4500 || low.GetImageMessageLength() == 0 || low.GetAllowHtml() != config.GetAllowHtml() {
		x.t.Errorf("the limits are %v, the server's %v", low, config)
	}
	x.toBoss.Inject(voice.ToClient, &mumblepb.ServerConfig{MaxUsers: proto.Uint32(7)})
	later := gets(x, x.boss, "later ServerConfig", func(m *mumblepb.ServerConfig) bool { return m.GetMaxUsers() == 7 })
	if later.GetMessageLength() != low.GetMessageLength() || later.MaxBandwidth != nil {
		x.t.Errorf("a later message changes the limits to %v", later)
	}
	suggest := gets(x, x.dave, "SuggestConfig", all[*mumblepb.SuggestConfig])
	codec := gets(x, x.dave, "CodecVersion", all[*mumblepb.CodecVersion])
	for _, r := range []*peers.Raw{x.boss, x.olga} {
		if got := gets(x, r, "SuggestConfig", all[*mumblepb.SuggestConfig]); got.GetPositional() != suggest.GetPositional() {
			x.t.Errorf("%s is advised %v, dave %v", r.Name, got, suggest)
		}
		if got := gets(x, r, "CodecVersion", all[*mumblepb.CodecVersion]); !proto.Equal(got, codec) || !got.GetOpus() {
			x.t.Errorf("the codec is %v, dave's %v", got, codec)
		}
	}
	old := func() {
		x.toBoss.Inject(voice.ToClient, &mumblepb.CodecVersion{Alpha: proto.Int32(1), Beta: proto.Int32(9), PreferAlpha: proto.Bool(false), Opus: proto.Bool(false)})
	}
	x.told(x.boss, "old codec", old)
	if got := gets(x, x.boss, "another codec", func(m *mumblepb.CodecVersion) bool { return m.GetBeta() == 9 }); !got.GetOpus() {
		x.t.Errorf("the codec is %v", got)
	}
}

// hears sends a packet again and again until it is heard, and returns what is. 1.5.735
// loses the first of a client that it does not know by UDP, and those behind a
// VoiceTarget until it has worked out who hears them.
func (x *table) hears(to, from *peers.Raw, p voice.Packet) voice.Packet {
	x.t.Helper()
	to.Forget()
	waitFor(x.t, "voice of "+from.Name, func() bool {
		from.SendVoice(p)
		p.FrameNumber += 2
		return len(to.Heard(from.Session)) > 0
	})
	return to.Heard(from.Session)[0]
}

func (x *table) voice() {
	x.fresh()
	sound := func(n byte) []byte { return append([]byte{0xF8}, bytes.Repeat([]byte{n}, 40)...) }
	heard := x.hears(x.dave, x.olga, voice.Packet{FrameNumber: 1000, Data: sound(1), Terminator: true, HasPosition: true, Position: [3]float32{1, 2, 3}})
	if heard.Context != 0 || heard.FrameNumber/1000 != 1 || !bytes.Equal(heard.Data, sound(1)) || !heard.Terminator {
		x.t.Errorf("dave hears %+v", heard)
	}
	heard = x.hears(x.olga, x.dave, voice.Packet{FrameNumber: 2000, Data: sound(2)})
	if heard.Context != 0 || heard.FrameNumber/1000 != 2 || !bytes.Equal(heard.Data, sound(2)) {
		x.t.Errorf("olga hears %+v", heard)
	}
	x.olga.Send(&mumblepb.VoiceTarget{Id: proto.Uint32(1), Targets: []*mumblepb.VoiceTarget_Target{{Session: []uint32{x.dave.Session}}}})
	if heard = x.hears(x.dave, x.olga, voice.Packet{Target: 1, FrameNumber: 3000, Data: sound(3)}); heard.Context != voice.ContextWhisper || !bytes.Equal(heard.Data, sound(3)) {
		x.t.Errorf("whispered to, dave hears %+v", heard)
	}

	// Behind the guard with a secret: neither speech nor whispers, and the server learns
	// people, not groups.
	for id, target := range map[uint32]*mumblepb.VoiceTarget_Target{
		1: {ChannelId: proto.Uint32(0), Group: proto.String("admin")}, 2: {ChannelId: proto.Uint32(0), Children: proto.Bool(true)},
	} {
		x.boss.Send(&mumblepb.VoiceTarget{Id: &id, Targets: []*mumblepb.VoiceTarget_Target{target}})
		x.boss.SendVoice(voice.Packet{Target: uint8(id), Data: sound(4)})
	}
	x.boss.SendVoice(voice.Packet{Data: sound(5)})
	x.settle(x.boss)
	for _, v := range passed[*mumblepb.VoiceTarget](x.toBoss) {
		for _, target := range v.GetTargets() {
			if target.ChannelId != nil || target.Group != nil || v.GetId() != 2 {
				x.t.Errorf("the server learns the target %v", v)
			}
		}
	}
	for _, n := range []byte{4, 5} {
		if hits := x.toBoss.Contains(sound(n)); len(hits) > 0 {
			x.t.Errorf("voice left: %v", hits)
		}
	}
	// Loopback of the client with a secret comes back without having left.
	x.boss.SendVoice(voice.Packet{Target: voice.TargetLoopback, Data: sound(6)})
	if heard = x.boss.WaitHeard(patience, x.boss.Session, 1)[0]; !bytes.Equal(heard.Data, sound(6)) || len(x.toBoss.Contains(sound(6))) > 0 {
		x.t.Errorf("loopback: %+v", heard)
	}
}

func (x *table) legs() {
	x.fresh()
	for r, tap := range map[*peers.Raw]*peers.Tap{x.boss: x.toBoss, x.olga: x.toOlga} {
		r.Send(&mumblepb.Ping{Timestamp: proto.Uint64(424242), Good: proto.Uint32(99)})
		gets(x, r, "answer to a ping", func(m *mumblepb.Ping) bool { return m.GetTimestamp() == 424242 })
		r.Send(&mumblepb.CryptSetup{})
		if got := gets(x, r, "nonce", all[*mumblepb.CryptSetup]); len(got.GetServerNonce()) != 16 || got.Key != nil {
			x.t.Errorf("a resync is answered with %v", got)
		}
		x.settle(r)
		for _, p := range passed[*mumblepb.Ping](tap) {
			if p.GetTimestamp() == 424242 || p.GetGood() == 99 {
				x.t.Errorf("%s's ping left as %v", r.Name, p)
			}
		}
		if n := len(passed[*mumblepb.CryptSetup](tap)); n > 0 {
			x.t.Errorf("%d CryptSetup of %s left", n, r.Name)
		}
	}
}

func (x *table) channels() {
	x.fresh()
	one, two := x.boss.MakeChannel("one", 0), x.boss.MakeChannel("two", 0)
	x.boss.Link(one, two)
	state := func(m *mumblepb.ChannelState) {
		m.ChannelId = &two
		x.boss.Send(m)
	}
	x.told(x.boss, "everybody on the server can read", func() {
		state(&mumblepb.ChannelState{Name: proto.String("second"), Position: proto.Int32(-3), Description: proto.String("what it is for")})
	})
	state(&mumblepb.ChannelState{Parent: &one})
	for _, r := range []*peers.Raw{x.boss, x.olga, x.dave} {
		waitFor(x.t, "the channels at "+r.Name, func() bool {
			c := r.Channels()
			return c[two].GetName() == "second" && c[two].GetParent() == one && c[two].GetPosition() == -3 && slices.Contains(c[one].GetLinks(), two)
		})
	}
	x.boss.Unlink(one, two)
	x.boss.Send(&mumblepb.ChannelRemove{ChannelId: &one})
	for _, r := range []*peers.Raw{x.boss, x.olga, x.dave} {
		waitFor(x.t, "the removal at "+r.Name, func() bool { c := r.Channels(); return c[one] == nil && c[two] == nil })
	}
}

// acl makes the channel that only the token opens, as the stock client's editor does.
func (x *table) acl() {
	x.fresh()
	const enter, all = 0x4, 0x38C
	x.closed = x.boss.MakeChannel("closed", 0)
	acl := ask[*mumblepb.ACL](x.t, x.boss, x.boss.Send, &mumblepb.ACL{ChannelId: &x.closed, Query: proto.Bool(true)})
	acl.Query = nil
	acl.Acls = slices.DeleteFunc(acl.Acls, func(a *mumblepb.ACL_ChanACL) bool { return a.GetInherited() })
	acl.Acls = append(acl.Acls,
		&mumblepb.ACL_ChanACL{ApplyHere: proto.Bool(true), ApplySubs: proto.Bool(true), Inherited: proto.Bool(false), Group: proto.String("all"), Deny: proto.Uint32(enter)},
		&mumblepb.ACL_ChanACL{ApplyHere: proto.Bool(true), Inherited: proto.Bool(false), Group: proto.String("#" + token), Grant: proto.Uint32(all)})
	x.boss.Send(acl)
	back := ask[*mumblepb.ACL](x.t, x.boss, x.boss.Send, &mumblepb.ACL{ChannelId: &x.closed, Query: proto.Bool(true)})
	if n := len(back.GetAcls()); n < 2 || back.Acls[n-1].GetGroup() != "#"+token || back.Acls[n-1].GetGrant() != all || back.Acls[n-2].GetDeny() != enter {
		x.t.Errorf("the editor reads back %v", back)
	}
}

func (x *table) tokens() {
	join := &mumblepb.UserState{Session: &x.olga.Session, ChannelId: &x.closed}
	refused := func(what string) {
		x.t.Helper()
		x.olga.Forget()
		x.olga.Send(join)
		gets(x, x.olga, "refusal "+what, all[*mumblepb.PermissionDenied])
	}
	refused("without the token")
	x.olga.Send(&mumblepb.Authenticate{Tokens: []string{token}})
	x.olga.Join(x.closed)
	x.olga.Join(0)
	x.olga.Send(&mumblepb.Authenticate{})
	refused("after the list was cleared")

	// The dialog's way, in one message: nobody is told the token.
	x.fresh()
	join.TemporaryAccessTokens = []string{token}
	x.olga.Send(join)
	for _, r := range []*peers.Raw{x.olga, x.dave, x.boss} {
		waitFor(x.t, "the move at "+r.Name, func() bool { return r.Users()[x.olga.Session].GetChannelId() == x.closed })
	}
	x.settle(x.olga)
	for _, u := range passed[*mumblepb.UserState](x.toOlga) {
		if len(u.GetTemporaryAccessTokens()) > 0 {
			x.t.Errorf("the token left in %v", u)
		}
	}
	x.olga.Join(0)
	join.TemporaryAccessTokens = nil
	refused("once the token is spent")

	// dave has no guard. What a server tells about him ends at ours.
	x.fresh()
	x.dave.Send(&mumblepb.UserState{Session: &x.dave.Session, ChannelId: &x.closed, TemporaryAccessTokens: []string{token}})
	told := 0
	if x.kind == peers.Murmur15 { // 1.3 does not know the field
		for _, r := range []*peers.Raw{x.olga, x.boss} {
			waitFor(x.t, "dave's move at "+r.Name, func() bool { return r.Users()[x.dave.Session].GetChannelId() == x.closed })
			for _, g := range r.All() {
				if bytes.Contains(g.Frame.Body, []byte(token)) {
					x.t.Errorf("%s is told the token: %v", r.Name, g.Message)
				}
			}
		}
		if told = len(x.toOlga.Contains([]byte(token))); told == 0 {
			x.t.Error("the server does not tell the token: the test shows nothing")
		}
		x.dave.Join(0)
	}
	x.t.Logf("the server told olga's guard the token of somebody else %d times", told)
}

func (x *table) users() {
	x.fresh()
	const game, me = "the game and its server", "the place in the game"
	comment := strings.Repeat("A word about me. ", 4000/17)
	x.boss.Send(&mumblepb.UserState{Session: &x.boss.Session, PluginContext: []byte(game), PluginIdentity: proto.String(me), Comment: proto.String("boss")})
	x.olga.Send(&mumblepb.UserState{Session: &x.olga.Session, PluginContext: []byte(game), PluginIdentity: proto.String(me), SelfMute: proto.Bool(true), Recording: proto.Bool(true)})
	waitFor(x.t, "olga's mute", func() bool {
		u := x.dave.Users()
		return u[x.olga.Session].GetSelfMute() && u[x.olga.Session].GetRecording() && u[x.boss.Session].GetComment() == "boss"
	})
	for _, tap := range []*peers.Tap{x.toBoss, x.toOlga} {
		if len(tap.Contains([]byte(game)))+len(tap.Contains([]byte(me))) > 0 {
			x.t.Error("context or identity left")
		}
	}
	x.olga.Send(&mumblepb.UserState{Session: &x.olga.Session, SelfMute: proto.Bool(false), Recording: proto.Bool(false)})

	// Long ones travel as their hash, and whole when they are asked for.
	avatar := bytes.Repeat([]byte("picture"), 100_000/7)
	x.dave.Send(&mumblepb.UserState{Session: &x.dave.Session, Comment: &comment})
	x.dave.Send(&mumblepb.UserState{Session: &x.dave.Session, Texture: avatar})
	x.boss.Send(&mumblepb.ChannelState{ChannelId: &x.closed, Description: &comment})
	for _, r := range []*peers.Raw{x.boss, x.olga} {
		waitFor(x.t, "hashes at "+r.Name, func() bool {
			u := r.Users()[x.dave.Session]
			return len(u.GetCommentHash()) > 0 && len(u.GetTextureHash()) > 0 && len(r.Channels()[x.closed].GetDescriptionHash()) > 0
		})
		r.Send(&mumblepb.RequestBlob{SessionComment: []uint32{x.dave.Session}, SessionTexture: []uint32{x.dave.Session}, ChannelDescription: []uint32{x.closed}})
		waitFor(x.t, "blobs at "+r.Name, func() bool {
			u := r.Users()[x.dave.Session]
			return u.GetComment() == comment && bytes.Equal(u.GetTexture(), avatar) && r.Channels()[x.closed].GetDescription() == comment
		})
	}

	// Whoever wants to be taken for Sotto.
	liar := peers.DialRaw(x.t, x.server.Addr(), "S0tto", peers.RawOptions{})
	for _, r := range []*peers.Raw{x.boss, x.olga} {
		r.WaitUser(patience, "[user] S0tto")
	}
	liar.Close()

	// Mute by an administrator, both ways; for the client whose microphone guard holds
	// the brake stays.
	for _, on := range []bool{true, false} {
		x.boss.Send(&mumblepb.UserState{Session: &x.olga.Session, Mute: proto.Bool(on), PrioritySpeaker: proto.Bool(on)})
		for _, r := range []*peers.Raw{x.boss, x.olga, x.dave} {
			waitFor(x.t, "mute at "+r.Name, func() bool {
				u := r.Users()[x.olga.Session]
				return u.GetMute() == on && u.GetPrioritySpeaker() == on
			})
		}
	}
	if !x.boss.Users()[x.boss.Session].GetSuppress() {
		x.t.Error("the client that may not speak is not suppressed")
	}
}

func (x *table) texts() {
	x.fresh()
	x.dave.Text(0, "hello from dave")
	x.dave.TextTo("to you alone", x.boss.Session, x.olga.Session)
	for _, words := range []string{"hello from dave", "to you alone"} {
		x.boss.WaitText(patience, "<b>[not encrypted]</b> "+words)
		x.olga.WaitText(patience, words)
	}
	x.olga.Text(0, "hello from olga")
	if m := x.dave.WaitText(patience, "hello from olga"); m.GetActor() != x.olga.Session {
		x.t.Errorf("dave reads %v", m)
	}
	x.boss.Text(0, "words of the boss")
	x.boss.TextTo("words for dave alone", x.dave.Session)
	x.boss.Send(&mumblepb.TextMessage{TreeId: []uint32{0}, Message: proto.String("words for all of the tree")})
	gets(x, x.boss, "refusal of a text", func(m *mumblepb.PermissionDenied) bool { return strings.HasPrefix(m.GetReason(), "Sotto: ") })
	x.told(x.boss, "microphone is held", func() { x.boss.Text(0, "/sotto status") })
	x.told(x.olga, "policy is off", func() { x.olga.Text(0, "/sotto status") })
	x.settle(x.boss)
	x.settle(x.olga)
	for _, words := range []string{"words of", "words for", "/sotto"} {
		if len(x.toBoss.Contains([]byte(words)))+len(x.toOlga.Contains([]byte(words))) > 0 {
			x.t.Errorf("%q left", words)
		}
	}
	// A line of the server itself, whatever it says.
	x.toBoss.Inject(voice.ToClient, &mumblepb.TextMessage{ChannelId: []uint32{0}, Message: proto.String("Sotto: all is well")})
	x.boss.WaitText(patience, "[server] Sotto: all is well")
}

func (x *table) denials() {
	x.fresh()
	for _, r := range []*peers.Raw{x.olga, x.dave} {
		r.Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("not allowed")})
	}
	want := gets(x, x.dave, "denial", all[*mumblepb.PermissionDenied])
	got := gets(x, x.olga, "denial", all[*mumblepb.PermissionDenied])
	if got.GetType() != want.GetType() || got.GetPermission() != want.GetPermission() || got.GetReason() != want.GetReason() {
		x.t.Errorf("olga is denied with %v, dave with %v", got, want)
	}
	x.olga.Text(0, strings.Repeat("too long ", 600))
	gets(x, x.olga, "denial of a long text", func(m *mumblepb.PermissionDenied) bool {
		return m.GetType() == mumblepb.PermissionDenied_TextTooLong
	})
	if x.kind == peers.Murmur134 {
		x.hushed()
		return // 1.3 has no listeners
	}
	listen := func(r *peers.Raw, channel uint32) {
		r.Send(&mumblepb.UserState{Session: &r.Session, ListeningChannelAdd: []uint32{channel}})
	}
	lobby := x.boss.MakeChannel("lobby", 0)
	third := x.boss.MakeChannel("third", 0)
	listen(x.olga, lobby)
	listen(x.olga, third)
	for _, kind := range []mumblepb.PermissionDenied_DenyType{mumblepb.PermissionDenied_UserListenerLimit} {
		d := gets(x, x.olga, kind.String(), func(m *mumblepb.PermissionDenied) bool { return m.GetType() == kind })
		if !strings.Contains(d.GetReason(), "listen") {
			x.t.Errorf("a client of 1.3 is told %v", d)
		}
	}
	// dave's ear in olga's channel, which a client of 1.3 does not show.
	x.dave.Join(lobby)
	listen(x.dave, 0)
	x.told(x.olga, "from elsewhere by \u201cdave\u201d", once)
	for _, m := range x.boss.Texts() {
		if strings.Contains(m.GetMessage(), "from elsewhere") {
			x.t.Errorf("a client of 1.5 is told %q", m.GetMessage())
		}
	}
	x.dave.Join(0)
}

// hushed forbids texts. A server that passes no plugin messages then refuses guard's
// handshake as well, of which the person knows nothing and hears nothing.
func (x *table) hushed() {
	const text = 0x200
	root := func() *mumblepb.ACL {
		acl := ask[*mumblepb.ACL](x.t, x.boss, x.boss.Send, &mumblepb.ACL{ChannelId: proto.Uint32(0), Query: proto.Bool(true)})
		acl.Query = nil
		return acl
	}
	before, hush := root(), root()
	hush.Acls = append(hush.Acls, &mumblepb.ACL_ChanACL{
		ApplyHere: proto.Bool(true), ApplySubs: proto.Bool(true), Inherited: proto.Bool(false), Group: proto.String("all"), Deny: proto.Uint32(text),
	})
	x.boss.Send(hush)
	root() // the server has taken it in
	tap := peers.StartTap(x.t, x.server)
	g := startGuard(x.t, "of who may not write", tap.Addr(), newSecret(x.t))
	hal := peers.DialRaw(x.t, g.addr(), "hal", peers.RawOptions{})
	denial := func(m proto.Message) bool {
		d, ok := m.(*mumblepb.PermissionDenied)
		return ok && d.GetPermission()&text != 0
	}
	tap.Wait(patience, "refusal of a text of the handshake", func(f peers.TapFrame) bool {
		return f.Dir == voice.ToClient && denial(f.Message())
	})
	x.settle(hal)
	if slices.ContainsFunc(hal.All(), func(g peers.Received) bool { return denial(g.Message) }) {
		x.t.Error("the client is told of refusals of what it did not send")
	}
	x.boss.Send(before)
	hal.Close()
}

func (x *table) lists() {
	x.fresh()
	if got := ask[*mumblepb.QueryUsers](x.t, x.boss, x.boss.Send, &mumblepb.QueryUsers{Ids: []uint32{0}}); !slices.Equal(got.GetNames(), []string{"SuperUser"}) {
		x.t.Errorf("QueryUsers: %v", got)
	}
	address := append(make([]byte, 10), 0xFF, 0xFF, 192, 0, 2, 1)
	x.boss.Send(&mumblepb.BanList{Bans: []*mumblepb.BanList_BanEntry{{
		Address: address, Mask: proto.Uint32(128), Name: proto.String("nobody"), Hash: proto.String(""), Reason: proto.String("a test"),
		Start: proto.String("2026-01-01T00:00:00"), Duration: proto.Uint32(0),
	}}})
	if got := ask[*mumblepb.BanList](x.t, x.boss, x.boss.Send, &mumblepb.BanList{Query: proto.Bool(true)}); len(got.GetBans()) != 1 || !bytes.Equal(got.Bans[0].GetAddress(), address) || got.Bans[0].GetReason() != "a test" {
		x.t.Errorf("BanList: %v", got)
	}
	x.boss.Send(&mumblepb.BanList{})
	ask[*mumblepb.UserList](x.t, x.boss, x.boss.Send, &mumblepb.UserList{})
	x.olga.Send(&mumblepb.PermissionQuery{ChannelId: &x.closed})
	gets(x, x.olga, "permissions", func(m *mumblepb.PermissionQuery) bool {
		return m.GetChannelId() == x.closed && m.GetPermissions() != 0
	})
	stats := ask[*mumblepb.UserStats](x.t, x.boss, x.boss.Send, &mumblepb.UserStats{Session: &x.dave.Session})
	if len(stats.GetCertificates()) == 0 || stats.GetVersion() == nil || len(stats.GetAddress()) == 0 {
		x.t.Errorf("UserStats of dave: %v", stats)
	}
	if own := ask[*mumblepb.UserStats](x.t, x.olga, x.olga.Send, &mumblepb.UserStats{Session: &x.olga.Session}); own.GetVersion() == nil {
		x.t.Errorf("UserStats of olga's own: %v", own)
	}
}

func (x *table) actions() {
	x.fresh()
	for _, a := range []string{"poke", "sotto.verify"} {
		x.boss.Send(&mumblepb.ContextAction{Session: &x.dave.Session, Action: proto.String(a)})
		x.toBoss.Inject(voice.ToClient, &mumblepb.ContextActionModify{Action: proto.String(a), Text: proto.String("Do it"), Context: proto.Uint32(1), Operation: mumblepb.ContextActionModify_Add.Enum()})
	}
	x.toBoss.Inject(voice.ToClient, &mumblepb.ContextActionModify{Action: proto.String("end"), Text: proto.String("Sotto: verify")})
	x.toBoss.Inject(voice.ToClient, &mumblepb.ContextActionModify{Action: proto.String("last")})
	gets(x, x.boss, "menu entry", func(m *mumblepb.ContextActionModify) bool { return m.GetAction() == "last" })
	x.settle(x.boss)
	var shown, sent []string
	for _, g := range x.boss.All() {
		if m, ok := g.Message.(*mumblepb.ContextActionModify); ok {
			shown = append(shown, m.GetAction())
		}
	}
	for _, m := range passed[*mumblepb.ContextAction](x.toBoss) {
		sent = append(sent, m.GetAction())
	}
	if !slices.Equal(shown, []string{"poke", "last"}) || !slices.Equal(sent, []string{"poke"}) {
		x.t.Errorf("the client is shown %q, the server gets %q", shown, sent)
	}
}

func (x *table) plugins() {
	x.fresh()
	send := func(r *peers.Raw, id, data string, to ...*peers.Raw) {
		m := &mumblepb.PluginDataTransmission{Data: []byte(data), DataID: &id}
		for _, r := range to {
			m.ReceiverSessions = append(m.ReceiverSessions, r.Session)
		}
		r.Send(m)
	}
	x.told(x.boss, "plugins was not sent", func() { send(x.boss, "game", "words of a plugin", x.dave) })
	send(x.boss, "sotto/1", "what is not ours", x.dave)
	send(x.olga, "game", "words of olga's plugin", x.dave)
	x.settle(x.boss)
	leaves(x, x.toOlga, "plugin data", func(m *mumblepb.PluginDataTransmission) bool { return m.GetDataID() == "game" })
	for _, words := range []string{"words of a plugin", "what is not ours"} {
		if len(x.toBoss.Contains([]byte(words))) > 0 {
			x.t.Errorf("%q left", words)
		}
	}
	if x.kind != peers.Murmur15 {
		return // 1.3 does not pass plugin data on
	}
	game := func(m *mumblepb.PluginDataTransmission) bool { return m.GetDataID() == "game" }
	gets(x, x.dave, "plugin data", game)
	send(x.dave, "sotto/1", "junk", x.boss, x.olga)
	send(x.dave, "game", "words of dave's plugin", x.boss, x.olga)
	for _, r := range []*peers.Raw{x.boss, x.olga} {
		if got := gets(x, r, "plugin data", game); string(got.GetData()) != "words of dave's plugin" || got.GetSenderSession() != x.dave.Session {
			x.t.Errorf("%s gets %v", r.Name, got)
		}
		for _, g := range r.All() {
			if m, ok := g.Message.(*mumblepb.PluginDataTransmission); ok && m.GetDataID() != "game" {
				x.t.Errorf("%s is shown %v", r.Name, m)
			}
		}
	}
}

func (x *table) unknown() {
	x.fresh()
	x.told(x.boss, "does not know", func() {
		for _, kind := range []control.Type{27, 200} {
			x.boss.SendFrame(kind, []byte("a message of a later version"))
		}
	})
	x.settle(x.boss)
	if len(x.toBoss.Contains([]byte("a message of a later version"))) > 0 {
		x.t.Error("a message of a kind that nobody knows left")
	}
}

func (x *table) rejects() {
	tap := peers.StartTap(x.t, x.server)
	g := startGuard(x.t, "of those who are refused", tap.Addr(), newSecret(x.t))
	try := func(addr, name string, opts peers.RawOptions) peers.Rejected {
		x.t.Helper()
		r, err := peers.TryRaw(addr, name, opts)
		var no *peers.Rejected
		if !errors.As(err, &no) {
			if r != nil {
				r.Close()
			}
			x.t.Errorf("%s at %s: %v", name, addr, err)
			return peers.Rejected{}
		}
		return *no
	}
	for name, opts := range map[string]peers.RawOptions{"a name! with? signs": {}, "SuperUser": {Password: "wrong"}} {
		direct, guarded := try(x.server.Addr(), name, opts), try(g.addr(), name, opts)
		if direct != guarded {
			x.t.Errorf("%s is refused with %v by the server and with %v by guard", name, direct, guarded)
		}
	}
	// A registered name, and guard's own certificate: said in words that the client
	// shows, and to its repeats the server is not asked.
	cert := peers.NewCertificate(x.t, "anna")
	anna := peers.DialRaw(x.t, x.server.Addr(), "anna", peers.RawOptions{Certificate: cert})
	x.boss.Send(&mumblepb.UserState{Session: &anna.Session, UserId: proto.Uint32(0)})
	waitFor(x.t, "registration", func() bool { return anna.Users()[anna.Session].UserId != nil })
	anna.Close()
	for range 3 {
		if no := try(g.addr(), "anna", peers.RawOptions{Certificate: cert}); no.Type != mumblepb.Reject_None || !strings.Contains(no.Reason, "import-mumble") {
			x.t.Errorf("anna is refused with %v", no)
		}
	}
	n := 0
	for _, a := range passed[*mumblepb.Authenticate](tap) {
		if a.GetUsername() == "anna" {
			n++
		}
	}
	if n != 1 {
		x.t.Errorf("the server was asked %d times", n)
	}
}

func (x *table) kicks() {
	x.fresh()
	carl := peers.DialRaw(x.t, x.server.Addr(), "carl", peers.RawOptions{})
	x.boss.WaitUser(patience, "carl")
	x.boss.Send(&mumblepb.UserRemove{Session: &carl.Session, Reason: proto.String("a test")})
	for r, want := range map[*peers.Raw]string{carl: "a test", x.dave: "a test", x.olga: "a test", x.boss: "[server] a test"} {
		got := gets(x, r, "removal", func(m *mumblepb.UserRemove) bool { return m.GetSession() == carl.Session })
		if got.GetReason() != want || got.GetActor() != x.boss.Session {
			x.t.Errorf("%s is told %v", r.Name, got)
		}
	}
	// Somebody comes with the same registration, past guard.
	ghost := x.boss
	x.server.Admin()
	x.told(ghost, "came with your certificate", once)
	gone := gets(x, ghost, "own removal", func(m *mumblepb.UserRemove) bool { return m.GetSession() == ghost.Session })
	if gone.GetReason() != "[server] You connected to the server from another device" {
		x.t.Errorf("the client is told %v", gone)
	}
	waitFor(x.t, "end of the session", func() bool { return ghost.Err() != nil })
	if e := x.strict.wait("kicked", nil); e.Reason != "You connected to the server from another device" {
		x.t.Errorf("event %+v", e)
	}
}
