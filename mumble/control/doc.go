// Package control frames, decodes and encodes the messages of Mumble's TLS
// connection.
//
// A frame, all numbers big endian (Mumble src/Connection.cpp,
// Connection::socketRead):
//
//	 0       2               6
//	+-------+---------------+----------------- ... -+
//	| type  | length        | body, length bytes    |
//	+-------+---------------+----------------- ... -+
//
// The body is a protobuf message (package mumblepb) of the type's kind, but for
// type 1, UDPTunnel: its body is a bare voice packet (package mumble/voice).
//
// Reader takes frames from a stream, Decode turns one into a message,
// AppendMessage turns a message into a frame. Decode keeps fields it does not
// know, so a proxy passes on what a newer peer wrote; DropUnknown removes them
// where nothing unknown may pass. Version reads and writes the two forms in
// which Mumble states its version.
//
// The package knows nothing of the order of messages, of who may send which,
// and of what their fields mean.
package control
