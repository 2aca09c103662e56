package opus

import (
	"errors"
	"time"
)

// What a stock Mumble client is given at most.
const (
	// MaxCheckDuration is the longest packet that a stock client makes and
	// expects: six frames of 10 ms.
	MaxCheckDuration = 60 * time.Millisecond
	// MaxCheckLen is the longest packet in bytes: a Mumble voice datagram holds
	// 1024 (Mumble src/MumbleProtocol.h, MAX_UDP_PACKET_SIZE), of which up to 44
	// go to the fields around the packet: type 1, context 2, session 6, frame
	// number 11, the packet's own tag and length 3, position 14, volume 5,
	// terminator 2.
	MaxCheckLen = 1024 - 44
)

// Errors of Check, besides those of Parse and ErrDuration.
var (
	ErrTooLong  = errors.New("opus: packet longer than a Mumble voice datagram holds")
	ErrOverlong = errors.New("opus: more than 60 ms in a packet")
	ErrUneven   = errors.New("opus: packet duration is no multiple of 10 ms")
)

// Check is the firewall in front of a stock client. It returns nil if b may be
// handed to it: b is at most MaxCheckLen bytes, meets RFC 6716 section 3.4 (and
// so has no frame above 1275 bytes), lasts at most 60 ms and a multiple of the
// 10 ms that Mumble counts in, and, if want is positive, lasts exactly want.
// Otherwise it returns the reason. What is inside the frames it cannot judge.
//
// An empty b is ErrEmpty, though Mumble has a use for it (the end of a talk
// spurt); that is for the caller to know. Check does not allocate.
func Check(b []byte, want time.Duration) error {
	if len(b) > MaxCheckLen {
		return ErrTooLong
	}
	d, err := Duration(b)
	switch {
	case err != nil:
		return err
	case d > MaxCheckDuration:
		return ErrOverlong
	case d%(10*time.Millisecond) != 0:
		return ErrUneven
	case want > 0 && d != want:
		return ErrDuration
	}
	return nil
}
