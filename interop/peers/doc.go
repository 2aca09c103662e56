// Package peers starts the real programs Sotto has to live with, and the small
// instruments that watch them, for the tests in interop:
//
//	Server      Debian's murmurd 1.3.4 or mumble-server 1.5.735, own directory,
//	            own certificate, one free port on loopback
//	Raw         a plain Mumble client of a few hundred lines that shares only the
//	            codecs of mumble/... with the product: the independent peer
//	Tap         a man in the middle that holds the server's key and records every
//	            control message and every voice packet that passes, decrypted
//	StockClient the unmodified mumble 1.3.4 or 1.5.735 on a virtual screen and sound
//	            card
//	Speech      a spoken sentence as samples and as Opus
//
// A test usually stands them in this row:
//
//	StockClient -> (guard under test) -> Tap -> Server <- (guard) <- Raw
//
// and asks the Tap what an eavesdropper who owns the server would have had.
//
// Missing programs skip the test and say how to get them (scripts/setup); with
// SOTTO_INTEROP=require in the environment they fail it instead. Everything
// listens on loopback only, everything is waited for with a limit, every process
// is ended by its process id when the test ends, and on Linux also when the test
// binary dies.
//
// The package does not test anything by itself and is not part of the product:
// only _test files may import it.
//
// Sources: wire format as in mumble-voip/mumble tags 1.3.4 and v1.5.735
// (src/Mumble.proto, src/murmur/Server.cpp, src/murmur/Messages.cpp); settings
// from scripts/murmur.ini and src/mumble/Settings.cpp of the same tags.
package peers
