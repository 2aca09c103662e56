// Package carrier says how objects of package envelope ride the messages of a
// Mumble server that knows nothing of Sotto: which message carries them, how
// fast, to whom, and how the sender learns that they arrived. It follows
// section 1 of the Sotto protocol (version 1) and is a state machine without
// IO: it is given inputs and the time, and returns what should be done.
//
//	c := carrier.New()
//	c.Handle(now, carrier.Connected{Session: 7})
//	for out, ok := c.Next(); ok; out, ok = c.Next() { ... }
//	timer.Reset(c.Deadline().Sub(now))   // then c.Handle(now, carrier.Tick{})
//
// # Regimes
//
// A server is probed instead of believed. One Probe, a plugin message to
// ourselves, leaves after ServerSync and another two seconds later:
//
//	             own Probe comes back
//	  Unknown ------------------------------> E (echo)
//	     |                                    ^
//	     | two Probes, then 2 s of silence    | a Probe's late echo
//	     +----------> N (no echo) ------------+
//
//	regime  message                      order       acknowledgement
//	E       PluginDataTransmission       echo order  the echo of our own message
//	N       private TextMessage, plain   none        none: handed over is all we know
//
// Objects given before the regime is known wait. A regime never gets worse
// during a connection.
//
// # On the wire
//
//	E   PluginDataTransmission{ receiverSessions: To and ourselves, dataID: "sotto/1", data: Fragment }
//	    and, for an object of more than one fragment, as N
//	N   TextMessage{ session: To, message: "sotto:1,KK,0,1,BASE64" }
//	    or, where that is too short and the server allows HTML, "<img src=...>" around it
//
// Servers drop in silence what comes too fast, so each path has a bucket
// smaller than the server's, and what the local Mumble client itself sends is
// charged to it (Murmur: src/murmur/ServerUser.cpp, LeakyBucket).
//
// # What it does not do
//
// It carries objects that fit one fragment or one text part, and refuses
// longer ones with their sizes; it counts parts of longer ones that arrive and
// drops them. It does not carry media (package envelope puts that into voice
// packets), and it vouches for nothing: who sent an object is the server's
// word, and order on a lying server is no agreement.
package carrier
