package mumblepb_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// wire is the table of facts the .proto files were written from, in its own
// notation: number name:kind, * repeated, ! required, + packed. A number or
// kind that moves by a slip of the pen breaks every connection; this holds them.
const wire = `
Version: 1 version_v1:uint32, 2 release:string, 3 os:string, 4 os_version:string, 5 version_v2:uint64
UDPTunnel: 1 packet:bytes!
Authenticate: 1 username:string, 2 password:string, 3 tokens:string*, 4 celt_versions:int32*, 5 opus:bool, 6 client_type:int32
Ping: 1 timestamp:uint64, 2 good:uint32, 3 late:uint32, 4 lost:uint32, 5 resync:uint32, 6 udp_packets:uint32, 7 tcp_packets:uint32, 8 udp_ping_avg:float, 9 udp_ping_var:float, 10 tcp_ping_avg:float, 11 tcp_ping_var:float
Reject: 1 type:enum, 2 reason:string
ServerSync: 1 session:uint32, 2 max_bandwidth:uint32, 3 welcome_text:string, 4 permissions:uint64
ChannelRemove: 1 channel_id:uint32!
ChannelState: 1 channel_id:uint32, 2 parent:uint32, 3 name:string, 4 links:uint32*, 5 description:string, 6 links_add:uint32*, 7 links_remove:uint32*, 8 temporary:bool, 9 position:int32, 10 description_hash:bytes, 11 max_users:uint32, 12 is_enter_restricted:bool, 13 can_enter:bool
UserRemove: 1 session:uint32!, 2 actor:uint32, 3 reason:string, 4 ban:bool, 5 ban_certificate:bool, 6 ban_ip:bool
UserState: 1 session:uint32, 2 actor:uint32, 3 name:string, 4 user_id:uint32, 5 channel_id:uint32, 6 mute:bool, 7 deaf:bool, 8 suppress:bool, 9 self_mute:bool, 10 self_deaf:bool, 11 texture:bytes, 12 plugin_context:bytes, 13 plugin_identity:string, 14 comment:string, 15 hash:string, 16 comment_hash:bytes, 17 texture_hash:bytes, 18 priority_speaker:bool, 19 recording:bool, 20 temporary_access_tokens:string*, 21 listening_channel_add:uint32*, 22 listening_channel_remove:uint32*, 23 listening_volume_adjustment:message*
UserState.VolumeAdjustment: 1 listening_channel:uint32, 2 volume_adjustment:float
BanList: 1 bans:message*, 2 query:bool
BanList.BanEntry: 1 address:bytes!, 2 mask:uint32!, 3 name:string, 4 hash:string, 5 reason:string, 6 start:string, 7 duration:uint32
TextMessage: 1 actor:uint32, 2 session:uint32*, 3 channel_id:uint32*, 4 tree_id:uint32*, 5 message:string!
PermissionDenied: 1 permission:uint32, 2 channel_id:uint32, 3 session:uint32, 4 reason:string, 5 type:enum, 6 name:string
ACL: 1 channel_id:uint32!, 2 inherit_acls:bool, 3 groups:message*, 4 acls:message*, 5 query:bool
ACL.ChanGroup: 1 name:string!, 2 inherited:bool, 3 inherit:bool, 4 inheritable:bool, 5 add:uint32*, 6 remove:uint32*, 7 inherited_members:uint32*
ACL.ChanACL: 1 apply_here:bool, 2 apply_subs:bool, 3 inherited:bool, 4 user_id:uint32, 5 group:string, 6 grant:uint32, 7 deny:uint32
QueryUsers: 1 ids:uint32*, 2 names:string*
CryptSetup: 1 key:bytes, 2 client_nonce:bytes, 3 server_nonce:bytes
ContextActionModify: 1 action:string!, 2 text:string, 3 context:uint32, 4 operation:enum
ContextAction: 1 session:uint32, 2 channel_id:uint32, 3 action:string!
UserList: 1 users:message*
UserList.User: 1 user_id:uint32!, 2 name:string, 3 last_seen:string, 4 last_channel:uint32
VoiceTarget: 1 id:uint32, 2 targets:message*
VoiceTarget.Target: 1 session:uint32*, 2 channel_id:uint32, 3 group:string, 4 links:bool, 5 children:bool
PermissionQuery: 1 channel_id:uint32, 2 permissions:uint32, 3 flush:bool
CodecVersion: 1 alpha:int32!, 2 beta:int32!, 3 prefer_alpha:bool!, 4 opus:bool
UserStats: 1 session:uint32, 2 stats_only:bool, 3 certificates:bytes*, 4 from_client:message, 5 from_server:message, 6 udp_packets:uint32, 7 tcp_packets:uint32, 8 udp_ping_avg:float, 9 udp_ping_var:float, 10 tcp_ping_avg:float, 11 tcp_ping_var:float, 12 version:message, 13 celt_versions:int32*, 14 address:bytes, 15 bandwidth:uint32, 16 onlinesecs:uint32, 17 idlesecs:uint32, 18 strong_certificate:bool, 19 opus:bool, 20 rolling_stats:message
UserStats.Stats: 1 good:uint32, 2 late:uint32, 3 lost:uint32, 4 resync:uint32
UserStats.RollingStats: 1 time_window:uint32, 2 from_client:message, 3 from_server:message
RequestBlob: 1 session_texture:uint32*, 2 session_comment:uint32*, 3 channel_description:uint32*
ServerConfig: 1 max_bandwidth:uint32, 2 welcome_text:string, 3 allow_html:bool, 4 message_length:uint32, 5 image_message_length:uint32, 6 max_users:uint32, 7 recording_allowed:bool
SuggestConfig: 1 version_v1:uint32, 2 positional:bool, 3 push_to_talk:bool, 4 version_v2:uint64
PluginDataTransmission: 1 senderSession:uint32, 2 receiverSessions:uint32*+, 3 data:bytes, 4 dataID:string
UDPAudio: 1 target:uint32, 2 context:uint32, 3 sender_session:uint32, 4 frame_number:uint64, 5 opus_data:bytes, 6 positional_data:float*+, 7 volume_adjustment:float, 16 is_terminator:bool
UDPPing: 1 timestamp:uint64, 2 request_extended_information:bool, 3 server_version_v2:uint64, 4 user_count:uint32, 5 max_user_count:uint32, 6 max_bandwidth_per_user:uint32
`

func describe(m protoreflect.MessageDescriptor) string {
	var fields []string
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		s := fmt.Sprintf("%d %s:%s", f.Number(), f.Name(), f.Kind())
		switch f.Cardinality() {
		case protoreflect.Repeated:
			s += "*"
		case protoreflect.Required:
			s += "!"
		}
		if f.IsPacked() {
			s += "+"
		}
		fields = append(fields, s)
	}
	_, name, _ := strings.Cut(string(m.FullName()), ".")
	return name + ": " + strings.Join(fields, ", ")
}

func TestWire(t *testing.T) {
	want := map[string]bool{}
	for line := range strings.Lines(wire) {
		if line = strings.TrimSpace(line); line != "" {
			want[line] = true
		}
	}
	var walk func(protoreflect.MessageDescriptors)
	walk = func(ms protoreflect.MessageDescriptors) {
		for i := range ms.Len() {
			got := describe(ms.Get(i))
			if !want[got] {
				t.Errorf("not in the table: %s", got)
			}
			delete(want, got)
			walk(ms.Get(i).Messages())
		}
	}
	walk(mumblepb.File_control_proto.Messages())
	walk(mumblepb.File_udp_proto.Messages())
	for line := range want {
		t.Errorf("not described: %s", line)
	}
}

func TestEnums(t *testing.T) {
	for _, tt := range []struct {
		e    protoreflect.Enum
		want string
	}{
		{mumblepb.Reject_None, "0 None 1 WrongVersion 2 InvalidUsername 3 WrongUserPW 4 WrongServerPW 5 UsernameInUse 6 ServerFull 7 NoCertificate 8 AuthenticatorFail 9 NoNewConnections"},
		{mumblepb.PermissionDenied_Text, "0 Text 1 Permission 2 SuperUser 3 ChannelName 4 TextTooLong 5 H9K 6 TemporaryChannel 7 MissingCertificate 8 UserName 9 ChannelFull 10 NestingLimit 11 ChannelCountLimit 12 ChannelListenerLimit 13 UserListenerLimit"},
		{mumblepb.ContextActionModify_Server, "1 Server 2 Channel 4 User"},
		{mumblepb.ContextActionModify_Add, "0 Add 1 Remove"},
	} {
		var got []string
		values := tt.e.Descriptor().Values()
		for i := range values.Len() {
			got = append(got, fmt.Sprintf("%d %s", values.Get(i).Number(), values.Get(i).Name()))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.e.Descriptor().FullName(), s, tt.want)
		}
	}
}

// Defaults that are not zero: absent means true.
func TestDefaults(t *testing.T) {
	if acl := (&mumblepb.ACL{}); !acl.GetInheritAcls() {
		t.Error("inherit_acls")
	}
	if g := (&mumblepb.ACL_ChanGroup{}); !g.GetInherited() || !g.GetInherit() || !g.GetInheritable() {
		t.Error("ChanGroup")
	}
	if r := (&mumblepb.ACL_ChanACL{}); !r.GetApplyHere() || !r.GetApplySubs() || !r.GetInherited() {
		t.Error("ChanACL")
	}
	if c := (&mumblepb.CodecVersion{}); !c.GetPreferAlpha() || c.GetOpus() {
		t.Error("CodecVersion")
	}
}
