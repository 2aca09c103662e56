// Package sframe implements SFrame, the lightweight authenticated encryption of
// media frames of RFC 9605: header, key derivation, the five cipher suites, and
// the key ratchet.
//
// An SFrame ciphertext is a header, the encrypted frame and a tag:
//
//	+-+----+-+----+-----------+-----------+----------------+-----+
//	|X| K  |Y| C  |  KID ...  |  CTR ...  | encrypted data | tag |
//	+-+----+-+----+-----------+-----------+----------------+-----+
//	|<----------- header, 1..17 bytes --->|<-- n bytes --->| Nt  |
//
//	X = 0: K is the KID itself (0..7); X = 1: the KID follows in K+1 bytes
//	Y = 0: C is the CTR itself (0..7); Y = 1: the CTR follows in C+1 bytes
//
// The header and the metadata of the application are authenticated with the
// frame and are not part of the encrypted data (RFC 9605 §4.4.3).
//
// What the package does not do, because RFC 9605 leaves it to the application:
// it does not count. The caller chooses each CTR and must use it once per key
// (§9.1), rejects replays (§9.3), agrees on base keys, uses each for one
// direction only (§4.4.1), and finds the Key that belongs to the KID of a
// received header. One Key is tried for one frame, there is no search.
package sframe
