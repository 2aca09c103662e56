// Package client is a Mumble client connection: TLS with a client certificate
// and a server pin, the control channel, voice over UDP with a measured
// fallback to the TCP tunnel and back, resync, true ping figures, a mirror of
// channels and users, and end-to-end encryption: in automatic groups with everybody
// in the channel who runs Sotto, with a typed secret alone, or with both
// (Config.Policy, Secret, GroupSecret).
//
// There are three floors, each usable without the one above:
//
//	Conn    one framed control connection: one reader, one writer, both bounded
//	Link    the server leg: Conn, UDP, CryptState, pings, versions
//	Client  a whole client: login, mirror, encryption, events, reconnect
//
// Bots use Client (see the examples). Guard uses Link for its upstream leg and
// Conn for the stock client's.
//
// It knows no codec: voice goes in and comes out as Opus packets.
package client
