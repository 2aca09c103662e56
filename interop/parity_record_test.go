package interop_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sotto-voip/sotto/interop/peers"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
	"github.com/sotto-voip/sotto/mumble/voice"
)

// What a client has received, as lines that can be compared between two runs on
// two fresh servers: people by name, long bytes by their hash, and nothing that
// counts seconds or packets.

// sessionFields name people, in every message.
var sessionFields = []protoreflect.Name{
	"session", "actor", "sessions", "senderSession", "receiverSessions", "session_texture", "session_comment",
}

// volatile are fields that differ between any two runs, with guard or without.
var volatile = map[protoreflect.FullName]bool{
	"MumbleProto.UserStats.udp_packets":   true,
	"MumbleProto.UserStats.tcp_packets":   true,
	"MumbleProto.UserStats.udp_ping_avg":  true,
	"MumbleProto.UserStats.udp_ping_var":  true,
	"MumbleProto.UserStats.tcp_ping_avg":  true,
	"MumbleProto.UserStats.tcp_ping_var":  true,
	"MumbleProto.UserStats.from_client":   true,
	"MumbleProto.UserStats.from_server":   true,
	"MumbleProto.UserStats.bandwidth":     true,
	"MumbleProto.UserStats.onlinesecs":    true,
	"MumbleProto.UserStats.idlesecs":      true,
	"MumbleProto.UserList.User.last_seen": true,
}

// unordered are lists that servers take out of their hash tables.
var unordered = map[protoreflect.FullName]bool{
	"MumbleProto.ACL.groups":       true,
	"MumbleProto.QueryUsers.ids":   true,
	"MumbleProto.QueryUsers.names": true,
}

// people are the names of sessions.
type people map[uint32]string

func (p people) name(session uint32) string {
	if n := p[session]; n != "" {
		return n
	}
	return fmt.Sprintf("nobody-%d", session)
}

// render writes a message in one line.
func (p people) render(m protoreflect.Message) string {
	var parts []string
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if !m.Has(fd) || volatile[fd.FullName()] {
			continue
		}
		value := m.Get(fd)
		if !fd.IsList() {
			parts = append(parts, string(fd.Name())+"="+p.value(fd, value))
			continue
		}
		var all []string
		for j := range value.List().Len() {
			all = append(all, p.value(fd, value.List().Get(j)))
		}
		if unordered[fd.FullName()] {
			slices.Sort(all)
		}
		parts = append(parts, fmt.Sprintf("%s=%v", fd.Name(), all))
	}
	if n := len(m.GetUnknown()); n > 0 {
		parts = append(parts, fmt.Sprintf("unknown=%x", m.GetUnknown()))
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func (p people) value(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case fd.Message() != nil:
		return p.render(v.Message())
	case slices.Contains(sessionFields, fd.Name()) && fd.Kind() == protoreflect.Uint32Kind:
		return p.name(uint32(v.Uint()))
	case fd.Kind() == protoreflect.BytesKind:
		return short(v.Bytes())
	case fd.Kind() == protoreflect.StringKind:
		return short([]byte(v.String()))
	}
	return v.String()
}

// short is what stands for bytes: themselves, or their length and hash.
func short(b []byte) string {
	if len(b) <= 200 {
		return fmt.Sprintf("%q", b)
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%q... %d bytes %s", b[:16], len(b), hex.EncodeToString(sum[:8]))
}

// renderVoice writes a voice packet in one line.
func (p people) renderVoice(v *voice.Packet) string {
	where := ""
	if v.HasPosition {
		where = fmt.Sprint(" at ", v.Position)
	}
	return fmt.Sprintf("voice %s context=%d frame=%d end=%v %s%s", p.name(v.Session), v.Context, v.FrameNumber, v.Terminator, short(v.Data), where)
}

// took is one thing received, before it becomes a line.
type took struct {
	message proto.Message
	voice   *voice.Packet
}

// take returns what r has received since the last call, without what belongs to
// one connection alone: pings, keys, and the answers to fences.
func take(r *peers.Raw) (control, spoken []took) {
	for _, g := range r.All() {
		switch m := g.Message.(type) {
		case nil:
			if g.Voice != nil && g.Voice.FrameNumber >= firstFrame {
				spoken = append(spoken, took{voice: g.Voice})
			}
		case *mumblepb.Ping, *mumblepb.CryptSetup:
		case *mumblepb.QueryUsers:
			if !isFence(m) {
				control = append(control, took{message: m})
			}
		default:
			control = append(control, took{message: m})
		}
	}
	r.Forget()
	return control, spoken
}

// fenceQuestion asks for a name that the server knows: it answers each connection
// in turn.
func fenceQuestion() *mumblepb.QueryUsers { return &mumblepb.QueryUsers{Ids: []uint32{0}} }

func isFence(m *mumblepb.QueryUsers) bool { return slices.Equal(m.GetIds(), []uint32{0}) }

// database is everything that a stopped server keeps, one line for each row, but
// the log of the server and what tells the time of the run.
func database(t *testing.T, s *peers.Server) []string {
	t.Helper()
	out, err := exec.Command(peers.Tool(t, "sqlite3"), s.Database(), ".dump").CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	var lines []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.HasPrefix(line, "INSERT") && !strings.Contains(line, "INSERT INTO slog ") {
			if m := passwordInDatabase.FindString(line); m != "" {
				line = strings.Replace(line, m, "HASH", 1)
			}
			if !strings.Contains(line, "'pbkdf2_iterations'") { // which the speed of the machine decides
				lines = append(lines, timeInDatabase.ReplaceAllString(line, "'TIME'"))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// passwordInDatabase is the salted hash of a password, and how it was made.
var passwordInDatabase = regexp.MustCompile(`'[0-9a-f]{64,}','[0-9a-f]{16}',\d+`)

// timeInDatabase are the times at which rows were written.
var timeInDatabase = regexp.MustCompile(`'20\d\d-\d\d-\d\d \d\d:\d\d:\d\d'`)
