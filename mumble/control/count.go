package control

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ErrTooMany says that a body holds more list entries than a body of its size
// can mean in earnest.
var ErrTooMany = errors.New("control: too many entries")

// A body may hold freeEntries list entries, and one more for each bytesPerEntry
// bytes it is long. An entry of two bytes on the wire becomes a struct of more
// than a hundred, so eight megabytes of empty ban entries would take half a
// gigabyte. Real entries are longer than bytesPerEntry: a registered user has
// about 35 bytes, a ban at least 24.
const (
	freeEntries   = 4096
	bytesPerEntry = 16
)

// checkCount counts the messages, strings and byte strings in lists, all of
// which stand at the top level of Mumble's messages. It looks at nothing else:
// what is malformed passes here and fails in decoding.
func checkCount(d protoreflect.MessageDescriptor, body []byte) error {
	allowed := freeEntries + len(body)/bytesPerEntry
	if len(body)/2 <= allowed {
		return nil // an entry has at least two bytes
	}
	for n := 0; len(body) > 0; {
		num, typ, size := protowire.ConsumeField(body)
		if size < 0 {
			return nil
		}
		body = body[size:]
		if typ != protowire.BytesType {
			continue
		}
		fd := d.Fields().ByNumber(num)
		if fd == nil || !fd.IsList() {
			continue
		}
		switch fd.Kind() {
		case protoreflect.MessageKind, protoreflect.StringKind, protoreflect.BytesKind:
			if n++; n > allowed {
				return ErrTooMany
			}
		}
	}
	return nil
}
