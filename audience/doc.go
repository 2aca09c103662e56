// Package audience keeps one MLS group for each audience: the people who hear a
// channel, or the few whom a private message or whisper goes to (Sotto protocol
// §2 to §6). It finds out who runs Sotto, founds groups, joins them, adds who
// comes and removes who is gone, agrees on one Commit for each epoch over servers
// that know nothing of it, notices when somebody is shown another history, and
// heals that.
//
// It is a state machine without IO. Its owner, one goroutine, says what happened
// and when, does what Next returns, and calls again at Deadline:
//
//	m.Handle(now, audience.Received{From: session, Object: object})
//	for out, ok := m.Next(); ok; out, ok = m.Next() { ... }
//	timer.Reset(m.Deadline().Sub(now))
//
// # The way into a group
//
//	World shows people ---- Presence ---->            who runs Sotto?
//	         <---- Presence, Beacon ------
//	Join{true} ------------ Hello ------->            add me: a fresh KeyPackage
//	     nobody has a group: first Hello in the order founds, 1 s later
//	         <----- Commit(Add), Welcome ---
//	EpochBegan ------------ Beacon ------>            I am in, at this epoch
//
// # Order
//
// In the regimes E and T the server echoes what we send to ourselves, so that all
// see one order: the first valid Commit for an epoch takes effect, for its author
// too when its echo comes (Delivered). In N nothing comes back; only rank 0
// commits, and takes its own Commit for accepted when somebody shows the epoch
// that it made.
//
//	        commit                 echo, evidence, or alone
//	settled ------> pending -------------------------------> next epoch
//	   ^               | another Commit took effect first      |
//	   +---------------+----------------------------------------+
//
// An honest server gives one order; a lying one may show each member another.
// Beacons, signed and with digests of the last epochs, make that visible; the
// branch or group with fewer people present asks the heavier one to be added
// again and keeps what it has until the Welcome is there.
//
// # What it does not do
//
// It decides nothing about trust, and nothing about what may leave: package e2ee
// has the gate. It encrypts no voice; EpochBegan hands out the base keys that
// voice keys are made of, once, after which the group cannot derive them again.
// It writes nothing down: a new connection begins with nothing.
package audience
