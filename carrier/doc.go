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
// ourselves, leaves after ServerSync and another one second later, together
// with one in private text. A ping behind them (Fence) shortens the wait: a server
// answers what comes over one connection in turn, so a Probe whose echo is not there
// when the ping's answer is will not come back.
//
//	            own plugin Probe comes back
//	Unknown ---------------------------------> E (echo)
//	   |  \                                     ^   ^
//	   |   \  own text Probe comes back         |   | a Probe's late echo
//	   |    +-------------------------> T ------+   |
//	   | Probes, then 2 s of silence    ^           |
//	   +---------> N (no echo) ---------+-----------+
//
//	regime  message                      order       acknowledgement
//	E       PluginDataTransmission       echo order  the echo of our own message
//	T       private TextMessage, plain   echo order  the echo of our own message
//	N       private TextMessage          none        none: handed over is all we know
//
// Objects given before the regime is known wait. A regime never gets worse
// during a connection.
//
// # On the wire
//
//	E   PluginDataTransmission{ receiverSessions: To and ourselves, dataID: "sotto/1", data: Fragment }
//	    for up to seven fragments; longer objects as bulk, in the way of N; up to
//	    64 fragments where the server allows no text that long
//	T   TextMessage{ session: To and ourselves, message: "sotto:1,KK,I,C,BASE64" }, up to 128 of 4 400 bytes
//	N   TextMessage{ session: To, message: "sotto:1,KK,0,1,BASE64" }, or longer ones with
//	    "<img src=...>" around it, up to 8 of 96 000 bytes; plain again, up to 128 of
//	    3 600 bytes, where the server takes HTML away
//
// The parts of an object leave by its priority, so that something urgent goes
// between them; what has begun five seconds ago is the most urgent. A part
// without echo is sent again after max(1 s, 3 round trips), three times at most.
// The place of an object in the order is that of the part that completes it.
// What goes as bulk has no place: where one matters, a Ref follows it, once its
// Delivered has come (Ordered tells beforehand).
//
// Servers drop in silence what comes too fast, so each path has a bucket
// smaller than the server's, and what the local Mumble client itself sends is
// charged to it (Murmur: src/murmur/ServerUser.cpp, LeakyBucket).
//
// # What arrives
//
// Parts are put together per sender, path, id, kind and count, within bounds
// that nothing received can lift (Sotto protocol §12):
//
//	stranger   64 KiB, 4 objects, 30 s from the first part
//	member    256 KiB, 4 objects, 30 s from part to part (Members says who)
//	solicited 512 KiB of one object, 2 at once in all, 10 s (Solicit says what)
//	all        16 MiB, of it 12 MiB for strangers
//
// A fifth object, or one byte too many, costs its sender the object that is
// silent for longest. The bytes counted are those of parts and of bookkeeping;
// the allocator rounds them up by an eighth at most.
//
// # What it does not do
//
// It does not carry media (package envelope puts that into voice packets), and
// it vouches for nothing: who sent an object is the server's word, and order on
// a lying server is no agreement. It does not keep what was sent: who asks for
// an object again (Want) is answered by the engine.
package carrier
