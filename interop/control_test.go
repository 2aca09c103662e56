package interop_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// transparent are the message types that guard hands on as they came, in the
// direction: down to the client, up to the server.
var transparent = map[voice.Direction][]control.Type{
	voice.ToClient: {
		control.TypeChannelRemove, control.TypeChannelState, control.TypeBanList, control.TypeACL,
		control.TypeQueryUsers, control.TypeUserList, control.TypePermissionQuery, control.TypeCodecVersion,
		control.TypeUserStats, control.TypeSuggestConfig,
	},
	voice.ToServer: {
		control.TypeChannelRemove, control.TypeChannelState, control.TypeUserRemove, control.TypeBanList,
		control.TypeACL, control.TypeQueryUsers, control.TypeUserList, control.TypeContextAction,
		control.TypePermissionQuery, control.TypeUserStats, control.TypeRequestBlob,
	},
}

// unknownField is field 200 of a later version of Mumble, a varint.
var unknownField = []byte{0xC0, 0x0C, 0x07}

// TestControlBytes lets an administrator work through guard, and compares what
// leaves and arrives on both sides of it, byte for byte.
func TestControlBytes(t *testing.T) {
	for _, kind := range peers.ServerKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			server := peers.Start(t, kind, peers.ServerOptions{Unlimited: true, SuperUserPassword: "hall"})
			tap := peers.StartTap(t, server)
			dave := peers.DialRaw(t, server.Addr(), "dave", peers.RawOptions{Certificate: peers.NewCertificate(t, "dave")})
			g := startGuard(t, "guard", tap.Addr(), newSecret(t))
			admin := peers.DialRaw(t, g.addr(), "SuperUser", peers.RawOptions{Password: "hall"})
			up := administer(t, admin, dave)
			unknownTypes(t, tap, admin)
			compareUp(t, tap, up)
			compareDown(t, tap, admin, 8)

			// What an ordinary user is told: permissions, denials.
			admin.Close()
			carl := peers.DialRaw(t, g.addr(), "carl", peers.RawOptions{})
			carl.Send(&mumblepb.PermissionQuery{ChannelId: proto.Uint32(0)})
			carl.Wait(patience, "permissions", func(g peers.Received) bool { // 1.3 answers only with news
				_, ok := g.Message.(*mumblepb.PermissionQuery)
				return ok
			})
			carl.Send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: proto.String("not allowed")})
			carl.Wait(patience, "denial", func(g peers.Received) bool {
				_, ok := g.Message.(*mumblepb.PermissionDenied)
				return ok
			})
			compareDown(t, tap, carl, 3)
		})
	}
}

// administer does what the editors of the stock client do, and returns what it
// sent. Each message carries a field that guard does not know.
func administer(t *testing.T, admin, dave *peers.Raw) (sent []control.Frame) {
	send := func(m proto.Message) {
		t.Helper()
		typ, _ := control.TypeOf(m)
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		f := control.Frame{Type: typ, Body: append(slices.Clone(unknownField), body...)}
		sent = append(sent, f)
		admin.SendFrame(f.Type, f.Body)
	}

	channel := func(name string) uint32 {
		send(&mumblepb.ChannelState{Parent: proto.Uint32(0), Name: &name, Description: proto.String(strings.Repeat("about "+name+" ", 100))})
		var id uint32
		waitFor(t, "channel "+name, func() bool {
			for c, state := range admin.Channels() {
				if state.GetName() == name {
					id = c
				}
			}
			return id != 0
		})
		return id
	}
	one, two := channel("one"), channel("two")
	link := func(m *mumblepb.ChannelState, linked bool) {
		m.ChannelId = &one
		send(m)
		waitFor(t, "link", func() bool { return slices.Contains(admin.Channels()[one].GetLinks(), two) == linked })
	}
	link(&mumblepb.ChannelState{LinksAdd: []uint32{two}}, true)
	link(&mumblepb.ChannelState{LinksRemove: []uint32{two}}, false)
	send(&mumblepb.ChannelState{ChannelId: &two, Parent: &one})
	waitFor(t, "move of a channel", func() bool { return admin.Channels()[two].GetParent() == one })

	acl := ask[*mumblepb.ACL](t, admin, send, &mumblepb.ACL{ChannelId: &one, Query: proto.Bool(true)})
	acl.Query = nil
	acl.Groups = append(acl.Groups, &mumblepb.ACL_ChanGroup{Name: proto.String("friends"), Add: []uint32{0}})
	acl.Acls = append(acl.Acls, &mumblepb.ACL_ChanACL{Group: proto.String("friends"), Inherited: proto.Bool(false), Deny: proto.Uint32(8)})
	send(acl)
	acl = ask[*mumblepb.ACL](t, admin, send, &mumblepb.ACL{ChannelId: &one, Query: proto.Bool(true)})
	if !slices.ContainsFunc(acl.Groups, func(g *mumblepb.ACL_ChanGroup) bool { return g.GetName() == "friends" }) {
		t.Errorf("the group added by the editor is not there: %v", acl)
	}

	ask[*mumblepb.BanList](t, admin, send, &mumblepb.BanList{Query: proto.Bool(true)})
	address := append(make([]byte, 10), 0xFF, 0xFF, 192, 0, 2, 1)
	send(&mumblepb.BanList{Bans: []*mumblepb.BanList_BanEntry{{
		Address: address, Mask: proto.Uint32(128), Name: proto.String("nobody"), Hash: proto.String(""),
		Reason: proto.String("a test"), Start: proto.String("2026-01-01T00:00:00"), Duration: proto.Uint32(0),
	}}})
	if bans := ask[*mumblepb.BanList](t, admin, send, &mumblepb.BanList{Query: proto.Bool(true)}); len(bans.Bans) != 1 || !bytes.Equal(bans.Bans[0].Address, address) {
		t.Errorf("the ban list is %v", bans)
	}

	ask[*mumblepb.UserList](t, admin, send, &mumblepb.UserList{})
	ask[*mumblepb.QueryUsers](t, admin, send, &mumblepb.QueryUsers{Ids: []uint32{0}, Names: []string{"SuperUser"}})
	send(&mumblepb.PermissionQuery{ChannelId: &two}) // SuperUser gets no answer
	stats := ask[*mumblepb.UserStats](t, admin, send, &mumblepb.UserStats{Session: &dave.Session})
	if len(stats.GetCertificates()) == 0 {
		t.Errorf("dave's statistics show no certificate: %v", stats)
	}
	send(&mumblepb.ContextAction{Action: proto.String("somebody's"), ChannelId: &one})

	// A comment travels as its hash; the body comes when asked for.
	comment := strings.Repeat("A word about dave. ", 4000/19+1)[:4000]
	dave.Send(&mumblepb.UserState{Session: &dave.Session, Comment: &comment})
	waitFor(t, "hash of a comment", func() bool { return len(admin.Users()[dave.Session].GetCommentHash()) > 0 })
	send(&mumblepb.RequestBlob{SessionComment: []uint32{dave.Session}, ChannelDescription: []uint32{one}})
	waitFor(t, "comment and description", func() bool {
		return admin.Users()[dave.Session].GetComment() == comment && strings.HasPrefix(admin.Channels()[one].GetDescription(), "about one")
	})

	send(&mumblepb.ChannelRemove{ChannelId: &two})
	waitFor(t, "removal of a channel", func() bool { return admin.Channels()[two] == nil })
	send(&mumblepb.UserRemove{Session: &dave.Session, Reason: proto.String("a test")})
	waitFor(t, "end of dave", func() bool { return admin.Users()[dave.Session] == nil && dave.Err() != nil })
	return sent
}

// ask sends a question and waits for an answer of the same type.
func ask[M proto.Message](t *testing.T, r *peers.Raw, send func(proto.Message), m M) (answer M) {
	t.Helper()
	before := len(r.All())
	send(m)
	waitFor(t, fmt.Sprintf("answer to %T", m), func() bool {
		for _, g := range r.All()[before:] {
			if a, ok := g.Message.(M); ok {
				answer = a
				return true
			}
		}
		return false
	})
	return answer
}

// unknownTypes sends types that Mumble does not know, both ways. The server's
// come right behind answers that must arrive.
func unknownTypes(t *testing.T, tap *peers.Tap, admin *peers.Raw) {
	for _, typ := range []control.Type{27, 200} {
		before := len(tap.Frames())
		admin.SendFrame(typ, []byte("a message of a later version"))
		tap.Filter(func(dir voice.Direction, f control.Frame) []control.Frame {
			if dir == voice.ToClient && f.Type == control.TypeUserStats {
				return []control.Frame{{Type: typ, Body: []byte("another")}, f}
			}
			return []control.Frame{f}
		})
		ask(t, admin, func(m proto.Message) { admin.Send(m) }, &mumblepb.UserStats{Session: &admin.Session})
		tap.Filter(nil)
		for _, f := range tap.Frames()[before:] {
			if f.Dir == voice.ToServer && f.Frame.Type == typ {
				t.Errorf("guard passed type %d on to the server", typ)
			}
		}
	}
	for _, g := range admin.All() {
		if g.Frame.Type > control.TypePluginDataTransmission {
			t.Errorf("guard passed type %d on to the client", g.Frame.Type)
		}
	}
	if !slices.ContainsFunc(admin.Texts(), func(m *mumblepb.TextMessage) bool { return strings.Contains(m.GetMessage(), "does not know") }) {
		t.Error("guard does not say that it dropped a message")
	}
}

// compareUp wants everything transparent at the tap as the client sent it.
func compareUp(t *testing.T, tap *peers.Tap, sent []control.Frame) {
	var at []control.Frame
	for _, f := range tap.Frames() {
		if f.Dir == voice.ToServer && slices.Contains(transparent[voice.ToServer], f.Frame.Type) {
			at = append(at, f.Frame)
		}
	}
	// The last questions of unknownTypes are not in sent.
	for i, f := range sent {
		if i >= len(at) || at[i].Type != f.Type || !bytes.Equal(at[i].Body, f.Body) {
			t.Fatalf("message %d, a %v of %d bytes, did not leave as it came", i, f.Type, len(f.Body))
		}
	}
	t.Logf("%d messages left as they came", len(sent))
}

// compareDown wants everything transparent at the client as the server sent it,
// and of the rest no other changes than those announced.
func compareDown(t *testing.T, tap *peers.Tap, client *peers.Raw, least int) {
	by := func(frames []control.Frame, typ control.Type) (out []control.Frame) {
		for _, f := range frames {
			if f.Type == typ {
				out = append(out, f)
			}
		}
		return out
	}
	last := 0
	for _, f := range tap.Frames() {
		last = max(last, f.Conn) // guard's check of the server was the first
	}
	var sent, got []control.Frame
	look := func() {
		sent, got = nil, nil
		for _, f := range tap.Frames() {
			if f.Dir == voice.ToClient && f.Conn == last && !f.UDP {
				sent = append(sent, f.Frame)
			}
		}
		for _, g := range client.All() {
			got = append(got, g.Frame)
		}
	}
	// What has just passed the tap may still be on its way.
	waitFor(t, "what the server sent", func() bool {
		look()
		for _, typ := range append([]control.Type{control.TypeUserRemove, control.TypePermissionDenied}, transparent[voice.ToClient]...) {
			if len(by(sent, typ)) > len(by(got, typ)) {
				return false
			}
		}
		return true
	})
	kinds, total := 0, 0
	for _, typ := range transparent[voice.ToClient] {
		s, g := by(sent, typ), by(got, typ)
		same := slices.EqualFunc(s, g, func(a, b control.Frame) bool { return bytes.Equal(a.Body, b.Body) })
		if !same {
			t.Errorf("%v: the server sent %d, %d arrived, not the same", typ, len(s), len(g))
		}
		total += len(s)
		if len(s) > 0 {
			kinds++
		}
	}
	t.Logf("%d messages of %d types arrived as they were sent", total, kinds)
	if kinds < least {
		t.Errorf("only %d types of message came down", kinds)
	}

	// Words that the server chose are marked as its own; without words nothing changes.
	for i, f := range by(sent, control.TypeUserRemove) {
		var want, m mumblepb.UserRemove
		if errors.Join(proto.Unmarshal(f.Body, &want), proto.Unmarshal(by(got, f.Type)[i].Body, &m)) != nil {
			t.Fatal("UserRemove does not decode")
		}
		if want.GetReason() != "" {
			want.Reason = proto.String("[server] a test")
		}
		if !proto.Equal(&m, &want) {
			t.Errorf("UserRemove arrived as %v, want %v", &m, &want)
		}
	}
	for i, f := range by(sent, control.TypePermissionDenied) {
		if !bytes.Equal(f.Body, by(got, f.Type)[i].Body) {
			t.Errorf("a PermissionDenied without reason was changed")
		}
	}

	change := func(typ control.Type, m, want proto.Message, edit func()) {
		t.Helper()
		s, g := by(sent, typ), by(got, typ)
		if len(s) != 1 || len(g) != 1 {
			t.Errorf("%v: %d sent, %d arrived, want one", typ, len(s), len(g))
			return
		}
		if err := proto.Unmarshal(s[0].Body, want); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(g[0].Body, m); err != nil {
			t.Fatal(err)
		}
		edit()
		if !proto.Equal(m, want) {
			t.Errorf("%v arrived as %v, want %v", typ, m, want)
		}
	}
	var version, wantVersion mumblepb.Version
	change(control.TypeVersion, &version, &wantVersion, func() {
		wantVersion.Release = proto.String(wantVersion.GetRelease() + " via Sotto")
	})
	// 8 bits x 50 packets a second x 56 bytes is what encryption adds.
	var sync, wantSync mumblepb.ServerSync
	change(control.TypeServerSync, &sync, &wantSync, func() {
		wantSync.MaxBandwidth = proto.Uint32(wantSync.GetMaxBandwidth() - 22400)
		if text := sync.GetWelcomeText(); !strings.HasPrefix(text, "Connected through Sotto") || !strings.HasSuffix(text, "[server] "+wantSync.GetWelcomeText()) {
			t.Errorf("the welcome text is %q, the server's %q", sync.GetWelcomeText(), wantSync.GetWelcomeText())
		}
		wantSync.WelcomeText = sync.WelcomeText
	})
	var config, wantConfig mumblepb.ServerConfig
	change(control.TypeServerConfig, &config, &wantConfig, func() {
		if n := config.GetMessageLength(); n == 0 || n > 96000 {
			t.Errorf("texts of %d characters are allowed", n)
		}
		wantConfig.MessageLength, wantConfig.ImageMessageLength = config.MessageLength, config.ImageMessageLength
	})
}
