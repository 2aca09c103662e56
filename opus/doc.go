// Package opus knows the anatomy of Opus packets (RFC 6716 section 3): the TOC
// byte, the four ways frames are packed, and the padding. It holds no codec;
// the bytes of a frame stay opaque.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	| config  |s| c |   TOC: 32 configurations, stereo flag, frame count code
//	+-+-+-+-+-+-+-+-+
//
//	code 0   TOC | frame
//	code 1   TOC | frame | frame                        two of equal length
//	code 2   TOC | len | frame | frame                  two, the first with its length
//	code 3   TOC | v p M | padding length | lengths | M frames | padding
//
// The length of a frame takes one byte (0..251) or two (252..1275); the padding
// length is a run of 255, each worth 254, and a last byte 0..254.
//
// Two uses of Sotto live here because they need nothing but this anatomy. A
// cover (cover.go) is a packet that every decoder plays as exact silence and
// whose padding is free to carry something else. Check (check.go) is the
// firewall in front of a stock client: what it lets pass has the shape of a
// packet that such a client can decode.
//
// Split (split.go) cuts a packet that is too long into its frames.
//
// The package does not decode, encode or merge audio, and does not read
// the self-delimiting form of RFC 6716 appendix B. Functions neither keep nor
// change their arguments and may be called concurrently.
package opus
