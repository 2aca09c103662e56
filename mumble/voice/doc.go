// Package voice encodes and decodes the plaintext of Mumble's voice datagrams:
// what stands inside the UDP cipher (package mumble/crypt) or, unchanged, in the
// body of a UDPTunnel frame (package mumble/control).
//
// There are two formats. A leg of a connection uses Protobuf if both its ends
// announced 1.5.0 or later, else Legacy (FormatFor). There are two directions:
// only the server says who speaks.
//
// Legacy (Mumble src/MumbleProtocol.cpp, encode/decodeAudio_legacy); varints are
// Mumble's own, see AppendVarint:
//
//	+------------+-----------+--------------+-------- ... -+-------------------+
//	| codec << 5 | [session] | frame number | payload      | [3 x float32, LE] |
//	| | target   |  varint   | varint       |              |  position         |
//	+------------+-----------+--------------+-------- ... -+-------------------+
//
// The session stands in packets from the server only, whose low five bits of
// the first byte are the context. The payload of Opus is a varint, 13 bits of
// length and 0x2000 for the last packet of a transmission, and that many bytes.
// Codec number 1 is a ping: 0x20 and a varint, the timestamp.
//
// Protobuf (decodeAudio_protobuf, src/MumbleUDP.proto): a byte, 0 for audio or
// 1 for a ping, and the message:
//
//	Audio  1 target | 2 context   3 sender_session   4 frame_number   5 opus_data
//	       6 positional_data (3 floats)   7 volume_adjustment   16 is_terminator
//	Ping   1 timestamp   2 request_extended_information   3 server_version_v2
//	       4 user_count   5 max_user_count   6 max_bandwidth_per_user
//
// Both are written and read by hand, without allocation. Outside any session
// there is one datagram more, the question of the server list (list_ping.go).
//
// The package does not look into the payload, does not encrypt, and does not
// decide who hears a packet.
package voice
