package control

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

var (
	// ErrRaw says that a UDPTunnel was to be handled as a protobuf message.
	// Upstream describes one, but the body on the wire is a bare voice packet.
	ErrRaw = errors.New("control: UDPTunnel is not a protobuf message")

	// ErrUnknownType says that no message belongs to a type or none of the
	// types to a message.
	ErrUnknownType = errors.New("control: unknown message type")

	// ErrMalformed says that a body is not the message its type promises, or
	// lacks a field that is required.
	ErrMalformed = errors.New("control: malformed message")
)

var messages = [...]proto.Message{
	TypeVersion:                (*mumblepb.Version)(nil),
	TypeUDPTunnel:              (*mumblepb.UDPTunnel)(nil),
	TypeAuthenticate:           (*mumblepb.Authenticate)(nil),
	TypePing:                   (*mumblepb.Ping)(nil),
	TypeReject:                 (*mumblepb.Reject)(nil),
	TypeServerSync:             (*mumblepb.ServerSync)(nil),
	TypeChannelRemove:          (*mumblepb.ChannelRemove)(nil),
	TypeChannelState:           (*mumblepb.ChannelState)(nil),
	TypeUserRemove:             (*mumblepb.UserRemove)(nil),
	TypeUserState:              (*mumblepb.UserState)(nil),
	TypeBanList:                (*mumblepb.BanList)(nil),
	TypeTextMessage:            (*mumblepb.TextMessage)(nil),
	TypePermissionDenied:       (*mumblepb.PermissionDenied)(nil),
	TypeACL:                    (*mumblepb.ACL)(nil),
	TypeQueryUsers:             (*mumblepb.QueryUsers)(nil),
	TypeCryptSetup:             (*mumblepb.CryptSetup)(nil),
	TypeContextActionModify:    (*mumblepb.ContextActionModify)(nil),
	TypeContextAction:          (*mumblepb.ContextAction)(nil),
	TypeUserList:               (*mumblepb.UserList)(nil),
	TypeVoiceTarget:            (*mumblepb.VoiceTarget)(nil),
	TypePermissionQuery:        (*mumblepb.PermissionQuery)(nil),
	TypeCodecVersion:           (*mumblepb.CodecVersion)(nil),
	TypeUserStats:              (*mumblepb.UserStats)(nil),
	TypeRequestBlob:            (*mumblepb.RequestBlob)(nil),
	TypeServerConfig:           (*mumblepb.ServerConfig)(nil),
	TypeSuggestConfig:          (*mumblepb.SuggestConfig)(nil),
	TypePluginDataTransmission: (*mumblepb.PluginDataTransmission)(nil),
}

var typesByName = func() map[protoreflect.FullName]Type {
	m := make(map[protoreflect.FullName]Type, len(messages))
	for t, msg := range messages {
		m[msg.ProtoReflect().Descriptor().FullName()] = Type(t)
	}
	return m
}()

// New returns an empty message of the type. It reports false for unknown types
// and for TypeUDPTunnel, whose body is no message.
func New(t Type) (proto.Message, bool) {
	if t == TypeUDPTunnel || int(t) >= len(messages) {
		return nil, false
	}
	return messages[t].ProtoReflect().New().Interface(), true
}

// TypeOf returns the type a message travels as. It reports false for nil and
// for messages that are not Mumble's control messages.
func TypeOf(m proto.Message) (Type, bool) {
	if m == nil {
		return 0, false
	}
	t, ok := typesByName[m.ProtoReflect().Descriptor().FullName()]
	return t, ok
}

// Decode returns the frame's message. Fields it does not know stay in the
// message and come back from AppendMessage. The message shares no memory with
// the frame.
//
// Errors: ErrRaw for UDPTunnel, ErrUnknownType, ErrMalformed, ErrTooMany. Murmur
// ignores such frames and keeps the connection.
func Decode(f Frame) (proto.Message, error) {
	if f.Type == TypeUDPTunnel {
		return nil, ErrRaw
	}
	m, ok := New(f.Type)
	if !ok {
		return nil, fmt.Errorf("%w: %d", ErrUnknownType, f.Type)
	}
	if err := checkCount(m.ProtoReflect().Descriptor(), f.Body); err != nil {
		return nil, fmt.Errorf("%w: %v", err, f.Type)
	}
	if err := proto.Unmarshal(f.Body, m); err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrMalformed, f.Type, err)
	}
	return m, nil
}

// AppendMessage appends m as a frame to dst.
//
// Errors: ErrRaw for UDPTunnel, ErrUnknownType, *ErrTooLong beyond MaxLen,
// ErrMalformed if a required field is missing. With an error it returns dst as
// it was.
func AppendMessage(dst []byte, m proto.Message) ([]byte, error) {
	t, ok := TypeOf(m)
	if !ok {
		return dst, ErrUnknownType
	}
	if t == TypeUDPTunnel {
		return dst, ErrRaw
	}
	opts := proto.MarshalOptions{}
	n := opts.Size(m)
	if n > MaxLen {
		return dst, &ErrTooLong{Type: t, Len: int64(n), Limit: MaxLen}
	}
	opts.UseCachedSize = true
	out, err := opts.MarshalAppend(appendHeader(dst, t, n), m)
	if err != nil {
		return dst, fmt.Errorf("%w: %v: %w", ErrMalformed, t, err)
	}
	return out, nil
}

// DropUnknown removes every field from m, and from the messages inside it, that
// mumblepb does not describe. Towards a server nothing may pass that nobody has
// looked at.
func DropUnknown(m proto.Message) {
	if m != nil {
		dropUnknown(m.ProtoReflect())
	}
}

func dropUnknown(m protoreflect.Message) {
	if !m.IsValid() {
		return
	}
	if len(m.GetUnknown()) > 0 {
		m.SetUnknown(nil)
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				dropUnknown(v.List().Get(i).Message())
			}
		default:
			dropUnknown(v.Message())
		}
		return true
	})
}
