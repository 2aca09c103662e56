// Package trust remembers, for one person on one computer, who was seen with
// which identity key, and with whom and where speech was protected before.
//
// It is the first floor of trust: keys are remembered at first sight and a
// change of them is noticed. It does not verify anybody; comparing words,
// contacts and their marks stand above it.
//
// # Known people (Sotto protocol §9.5)
//
// A person is an identity key. What a server says about a connection (the hash
// of its Mumble certificate, the id of its registration, its name) are marks. A
// mark belongs to the first key that came with it. Another key that comes with
// it is Changed, until the user accepts it; then the mark belongs to both.
//
//	            no key         key not seen     key seen
//	no mark     Unknown        FirstSeen        Known
//	own marks   Unknown           -             Known
//	another's   Unknown        Changed          Changed
//
// A mark never moves and is never taken away by what a server says. Hashes are
// the same everywhere; registrations and names belong to their server.
//
// # Sticky memory (Sotto protocol §11)
//
// After a second of protected speech the channel and everybody in it are
// remembered, by key, certificate hash, registered id and name. For one year
// "prefer" does not go clear there or with them by itself.
//
// # Bounds
//
// What a server can make us remember is bounded. When there is no more room,
// the people who were not seen for longest and never protected are forgotten
// first; who was protected within the year is forgotten only by the user. Then
// new ones are not remembered and the methods say so.
//
// Book is pure: times come in as arguments, bytes go out by Marshal. Nothing
// here is secret, but it says whom a person talks to: files are private.
package trust
