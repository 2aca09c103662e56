package interop_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// table is the scene of TestTable: two clients behind guards of different policies,
// each guard with a tap to the server, and others straight on it.
type table struct {
	t      *testing.T
	kind   peers.ServerKind
	server *peers.Server
	strict *guarded   // with a secret that nobody else has: nothing may leave
	open   *guarded   // with policy off: all may
	toBoss *peers.Tap // between strict and the server
	toOlga *peers.Tap // between open and the server
	boss   *peers.Raw // SuperUser, a client of 1.5, behind strict
	olga   *peers.Raw // a client of 1.3.4 without UDP, behind open
	dave   *peers.Raw // a client of 1.5 without Sotto
	closed uint32     // a channel that the token lets one into
}

const token = "the word at the door"

// tableRow is one row of the table: a type of message, in both directions.
type tableRow struct {
	kinds []control.Type
	run   func(*table)
}

// tableRows go through every type, those of the login first.
var tableRows = []tableRow{
	{[]control.Type{control.TypeVersion}, (*table).version},
	{[]control.Type{control.TypeServerSync, control.TypeServerConfig, control.TypeCodecVersion, control.TypeSuggestConfig}, (*table).login},
	{[]control.Type{control.TypeUDPTunnel, control.TypeVoiceTarget}, (*table).voice},
	{[]control.Type{control.TypePing, control.TypeCryptSetup}, (*table).legs},
	{[]control.Type{control.TypeChannelState, control.TypeChannelRemove}, (*table).channels},
	{[]control.Type{control.TypeACL}, (*table).acl},
	{[]control.Type{control.TypeAuthenticate}, (*table).tokens},
	{[]control.Type{control.TypeUserState, control.TypeRequestBlob}, (*table).users},
	{[]control.Type{control.TypeTextMessage}, (*table).texts},
	{[]control.Type{control.TypePermissionDenied}, (*table).denials},
	{[]control.Type{control.TypeBanList, control.TypeQueryUsers, control.TypeUserList, control.TypePermissionQuery, control.TypeUserStats}, (*table).lists},
	{[]control.Type{control.TypeContextActionModify, control.TypeContextAction}, (*table).actions},
	{[]control.Type{control.TypePluginDataTransmission}, (*table).plugins},
	{[]control.Type{27}, (*table).unknown},
	{[]control.Type{control.TypeReject}, (*table).rejects},
	{[]control.Type{control.TypeUserRemove}, (*table).kicks},
}

// TestTable goes through guard's table, row by row and both ways, between real servers
// and clients that show every message they get.
func TestTable(t *testing.T) {
	begin := time.Now()
	var have []control.Type
	for _, r := range tableRows {
		have = append(have, r.kinds...)
	}
	slices.Sort(have)
	for i, kind := range have {
		if int(kind) != i {
			t.Fatalf("row %d of the table is about %v", i, kind)
		}
	}
	t.Run("rows", func(t *testing.T) {
		for _, kind := range peers.ServerKinds {
			t.Run(kind.String(), func(t *testing.T) {
				t.Parallel()
				x := startTable(t, kind)
				for _, r := range tableRows {
					from := time.Now()
					r.run(x)
					t.Logf("%5.2f s for %v", time.Since(from).Seconds(), r.kinds)
				}
			})
		}
	})
	t.Logf("%.1f s for all of it", time.Since(begin).Seconds())
}

func startTable(t *testing.T, kind peers.ServerKind) *table {
	x := &table{t: t, kind: kind}
	x.server = peers.Start(t, kind, peers.ServerOptions{Unlimited: true, SuperUserPassword: "hall", Ini: []string{
		"textmessagelength=4500", "listenersperuser=1", "suggestPositional=true",
	}})
	x.toBoss, x.toOlga = peers.StartTap(t, x.server), peers.StartTap(t, x.server)
	x.strict = startGuard(t, "strict", x.toBoss.Addr(), newSecret(t))
	x.open = startGuard(t, "open", x.toOlga.Addr(), "")
	x.dave = peers.DialRaw(t, x.server.Addr(), "dave", peers.RawOptions{Certificate: peers.NewCertificate(t, "dave")})
	x.boss = peers.DialRaw(t, x.strict.addr(), "SuperUser", peers.RawOptions{Password: "hall"})
	x.olga = peers.DialRaw(t, x.open.addr(), "olga", peers.RawOptions{Version: peers.Version134, Certificate: peers.NewCertificate(t, "olga")})
	x.dave.WaitUser(patience, "olga")
	return x
}

// fresh forgets what has been received and recorded, but for the login.
func (x *table) fresh() {
	for _, r := range []*peers.Raw{x.boss, x.olga, x.dave} {
		r.Forget()
	}
	x.toBoss.Forget()
	x.toOlga.Forget()
}

// gets waits until a client has a message that ok accepts.
func gets[M proto.Message](x *table, r *peers.Raw, what string, ok func(M) bool) M {
	x.t.Helper()
	got := r.Wait(patience, what, func(g peers.Received) bool {
		m, is := g.Message.(M)
		return is && ok(m)
	})
	return got.Message.(M)
}

// leaves waits until a message that ok accepts has passed a tap upwards.
func leaves[M proto.Message](x *table, tap *peers.Tap, what string, ok func(M) bool) M {
	x.t.Helper()
	f := tap.Wait(patience, what, func(f peers.TapFrame) bool {
		if f.Dir != voice.ToServer {
			return false
		}
		m, is := f.Message().(M)
		return is && ok(m)
	})
	return f.Message().(M)
}

// all accepts every message of a type.
func all[M proto.Message](M) bool { return true }

// passed returns the messages of a type that have passed a tap upwards.
func passed[M proto.Message](tap *peers.Tap) (out []M) {
	for _, f := range tap.Frames() {
		if m, ok := f.Message().(M); ok && f.Dir == voice.ToServer {
			out = append(out, m)
		}
	}
	return out
}

// settle lets a client's messages go up and an answer come back: what was sent before
// has had its effect by then.
func (x *table) settle(r *peers.Raw) {
	x.t.Helper()
	ask[*mumblepb.UserStats](x.t, r, r.Send, &mumblepb.UserStats{Session: &r.Session})
}

// told waits for a line of guard's that holds words. What makes guard say it is done
// again and again: when there is no room for a line, the next occasion counts.
func (x *table) told(r *peers.Raw, words string, again func()) {
	x.t.Helper()
	at := time.Time{}
	waitFor(x.t, r.Name+"'s line with "+words, func() bool {
		if time.Since(at) > 300*time.Millisecond {
			at = time.Now()
			again()
		}
		return slices.ContainsFunc(r.Texts(), func(m *mumblepb.TextMessage) bool {
			return m.Actor == nil && strings.HasPrefix(m.GetMessage(), "Sotto: ") && strings.Contains(m.GetMessage(), words)
		})
	})
}

// once stands for what cannot be done again.
func once() {}
