package e2ee

import "errors"

// Errors of SealVoice and OpenVoice, some of them also of texts and of what is
// counted in Stats. None of them says anything about whether a
// later frame will do; drop the frame and go on.
var (
	// ErrHeld means that the gate lets nothing leave.
	ErrHeld = errors.New("e2ee: held")
	// ErrFrameTooLong means that a frame does not fit the limit.
	ErrFrameTooLong = errors.New("e2ee: frame too long")
	// ErrUnknownSession means that no World named the speaker.
	ErrUnknownSession = errors.New("e2ee: unknown session")
	// ErrMalformed means that bytes do not have their form.
	ErrMalformed = errors.New("e2ee: malformed")
	// ErrNoKey means that no key is held for the frame: its nonce has not been
	// heard, or its step is out of reach.
	ErrNoKey = errors.New("e2ee: no key")
	// ErrReplay means that the frame, or the nonce it names, was there before.
	ErrReplay = errors.New("e2ee: replay")
	// ErrStale means that the nonce is older than 30 min.
	ErrStale = errors.New("e2ee: nonce is too old")
	// ErrClock means that the minute of a new nonce, a SecretReady or a text is
	// more than 5 from the own clock.
	ErrClock = errors.New("e2ee: clocks differ")
	// ErrAuth means that the frame does not open: another secret, another
	// speaker, another frame number, or changed bytes.
	ErrAuth = errors.New("e2ee: frame does not authenticate")
	// ErrFuture means that the frame is of an epoch or group that has not begun
	// here. Keep it for 600 ms at most and try again after KeysChanged (§7.4).
	ErrFuture = errors.New("e2ee: of an epoch to come")
	// ErrLimit means that a peer exceeds a bound of §12.
	ErrLimit = errors.New("e2ee: limit exceeded")
)
