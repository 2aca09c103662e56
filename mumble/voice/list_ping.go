package voice

import "encoding/binary"

// The question of a server list: unencrypted, unauthenticated, answered to
// anybody (Mumble src/murmur/Server.cpp, Server::handlePing, and
// src/MumbleProtocol.cpp, decodePing_legacy).
//
//	question  +---------+---------------+
//	          | 0 0 0 0 | ident, 8      |
//	          +---------+---------------+
//	answer    +---------+---------------+---------+---------+---------+
//	          | version | ident, 8      | users   | maximum | bit/s   |
//	          +---------+---------------+---------+---------+---------+
//
// Numbers are big endian with 32 bits, the version has the form of
// Version.version_v1, and the ident is the asker's own. A client of 1.5 asks
// with a Protobuf Ping as well.

// ListPingSize and ListPongSize are the sizes in bytes of question and answer.
// The answer doubles the question; more would make servers a lever for floods.
const (
	ListPingSize = 12
	ListPongSize = 24
)

// A ListPong is the answer to a server list.
type ListPong struct {
	// Version is 0x00MMmmpp.
	Version uint32
	// Ident is the question's.
	Ident    uint64
	Users    uint32
	MaxUsers uint32
	// MaxBandwidth is in bits per second for each user.
	MaxBandwidth uint32
}

// AppendListPing appends the question to dst.
func AppendListPing(dst []byte, ident uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 0), ident)
}

// ParseListPing reads the question, else returns ErrNotPing.
func ParseListPing(b []byte) (ident uint64, err error) {
	if len(b) != ListPingSize || binary.BigEndian.Uint32(b) != 0 {
		return 0, ErrNotPing
	}
	return binary.BigEndian.Uint64(b[4:]), nil
}

// AppendListPong appends the answer to dst.
func AppendListPong(dst []byte, p ListPong) []byte {
	dst = binary.BigEndian.AppendUint32(dst, p.Version)
	dst = binary.BigEndian.AppendUint64(dst, p.Ident)
	dst = binary.BigEndian.AppendUint32(dst, p.Users)
	dst = binary.BigEndian.AppendUint32(dst, p.MaxUsers)
	return binary.BigEndian.AppendUint32(dst, p.MaxBandwidth)
}

// ParseListPong reads the answer, else returns ErrNotPing.
func ParseListPong(b []byte) (ListPong, error) {
	if len(b) != ListPongSize {
		return ListPong{}, ErrNotPing
	}
	return ListPong{
		Version:      binary.BigEndian.Uint32(b),
		Ident:        binary.BigEndian.Uint64(b[4:]),
		Users:        binary.BigEndian.Uint32(b[12:]),
		MaxUsers:     binary.BigEndian.Uint32(b[16:]),
		MaxBandwidth: binary.BigEndian.Uint32(b[20:]),
	}, nil
}
