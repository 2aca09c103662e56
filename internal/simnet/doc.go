// Package simnet is a network and a Mumble server for tests: deterministic, in
// virtual time, and able to lie.
//
//	Peer (a Node inside) --up--> Server --hooks, chaos, worlds, lies--> down --> Peer
//	        \________________ one Clock, one seed _______________________/
//
// A Server speaks at the level of decoded control messages (package mumblepb) and
// decoded voice packets (package voice). It keeps the order, the limits and the
// silences of the real servers, by Profile: Murmur 1.5, Murmur 1.3 and uMurmur.
// On top of that it can be told to do anything that a malicious server could do
// to each message and each receiver, by script (Hook, Fork, Ghost, ...) or at
// random (Chaos), until Fair.
//
// Nothing here starts a goroutine, opens a socket or reads a clock. Time is the
// Clock's; all chance comes from the one seed in Config, so that the same seed
// and the same script give the same log, byte for byte. A Node that uses
// crypto/rand needs testing/cryptotest.SetGlobalRandom for that.
//
// Not modelled: TLS, OCB2 and the bytes of the framing, access control lists
// (there are users who may everything and users who may what guests may),
// registration, bans, blobs, and the frame numbers above 2^31 that Murmur 1.5
// corrupts for old clients. Nothing is safe for concurrent use.
package simnet
