// Package mumblepb holds Mumble's protobuf messages as Go types.
//
// control.proto describes the 27 control messages (proto2, package
// MumbleProto); package mumble/control frames and decodes them. udp.proto
// describes the two datagrams of Mumble 1.5 and later (proto3, package
// MumbleUDP) under the names UDPAudio and UDPPing; package mumble/voice encodes
// those by hand and uses these types as a test oracle. Both files follow the
// protocol of Mumble 1.6 (src/Mumble.proto, src/MumbleUDP.proto) in numbers,
// names and types.
//
// Fields this description does not know stay in the message when it is decoded
// and come back when it is encoded again.
//
// The package holds no behaviour: no framing, no checks, no defaults beyond
// those of the descriptions. The Go code is made by scripts/generate.
package mumblepb
