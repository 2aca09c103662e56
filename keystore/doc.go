// Package keystore keeps on disk what makes a person and a server the same
// tomorrow as today: the keys of person and device, the certificates that guard
// shows, the fingerprints it has seen, and what package trust remembers of others.
//
//	DIR/                        0700, ours
//	  lock                      held while anything is written
//	  identity.key              the identity: comment lines, then one line sotto-identity-1...
//	  device.key                the key of this device: likewise, one line sotto-device-1...
//	  trust.json                who was seen with which key, with whom speech was protected
//	  own.pem                   guard's own Mumble certificate and key
//	  mumble.pem                the certificate imported from the stock client, chain and key
//	  servers/NAME/             one per server, as the user typed it
//	    server.json             address, port of guard's listener, pins
//	    guard.pem               certificate and key of guard's listener
//
// Files are 0600. A directory or file that somebody else owns or may read or
// write is refused, never repaired in silence: who could read it has the key.
// Keys lie there unencrypted; the file system protects them, and nothing
// protects them from who runs as the same user.
//
// Nothing is half written: new contents go to a temporary file in the same
// directory, which is flushed and renamed. Every change happens under an
// advisory lock, so several processes may use one directory, and two that start
// for the first time at once end with one identity. What cannot be understood
// is reported and left alone.
//
// It keeps no state of groups, no secrets of KeyPackages and no counters of
// media: an old copy of the directory would let counters run twice and bring
// deleted secrets back (Sotto protocol §0, row 14, and §5). It does not judge certificates beyond "the same as
// before", and it speaks to no network.
package keystore
