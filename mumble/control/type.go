package control

import "strconv"

// A Type is the kind of a frame. Numbers not named here exist on the wire too:
// servers and clients ignore what they do not know, and so does a proxy.
type Type uint16

// The types of Mumble 1.6 (src/MumbleProtocol.h, TCPMessageType).
const (
	TypeVersion Type = iota
	TypeUDPTunnel
	TypeAuthenticate
	TypePing
	TypeReject
	TypeServerSync
	TypeChannelRemove
	TypeChannelState
	TypeUserRemove
	TypeUserState
	TypeBanList
	TypeTextMessage
	TypePermissionDenied
	TypeACL
	TypeQueryUsers
	TypeCryptSetup
	TypeContextActionModify
	TypeContextAction
	TypeUserList
	TypeVoiceTarget
	TypePermissionQuery
	TypeCodecVersion
	TypeUserStats
	TypeRequestBlob
	TypeServerConfig
	TypeSuggestConfig
	TypePluginDataTransmission
)

var typeNames = [...]string{
	TypeVersion:                "Version",
	TypeUDPTunnel:              "UDPTunnel",
	TypeAuthenticate:           "Authenticate",
	TypePing:                   "Ping",
	TypeReject:                 "Reject",
	TypeServerSync:             "ServerSync",
	TypeChannelRemove:          "ChannelRemove",
	TypeChannelState:           "ChannelState",
	TypeUserRemove:             "UserRemove",
	TypeUserState:              "UserState",
	TypeBanList:                "BanList",
	TypeTextMessage:            "TextMessage",
	TypePermissionDenied:       "PermissionDenied",
	TypeACL:                    "ACL",
	TypeQueryUsers:             "QueryUsers",
	TypeCryptSetup:             "CryptSetup",
	TypeContextActionModify:    "ContextActionModify",
	TypeContextAction:          "ContextAction",
	TypeUserList:               "UserList",
	TypeVoiceTarget:            "VoiceTarget",
	TypePermissionQuery:        "PermissionQuery",
	TypeCodecVersion:           "CodecVersion",
	TypeUserStats:              "UserStats",
	TypeRequestBlob:            "RequestBlob",
	TypeServerConfig:           "ServerConfig",
	TypeSuggestConfig:          "SuggestConfig",
	TypePluginDataTransmission: "PluginDataTransmission",
}

// String returns the type's name as in mumblepb, or "Type(200)".
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}
