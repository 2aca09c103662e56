// Package crypt is the cipher of Mumble's UDP datagrams: OCB2 over AES-128, as
// Mumble uses it (src/crypto/CryptStateOCB2.cpp).
//
//	 0      1             4
//	+------+-------------+------------------ ... -+
//	| IV 0 | tag 0..2    | ciphertext             |
//	+------+-------------+------------------ ... -+
//
// The IV is a number of 128 bits, little endian, one higher for each datagram;
// its lowest byte travels, and the receiver works out the others. Three bytes
// of the tag travel. The ciphertext is as long as the plaintext, at least 0 and
// in Mumble at most 1024 bytes. Key and first IVs come in a CryptSetup message
// over TLS.
//
// The mode is OCB2, written from Rogaway, "Efficient Instantiations of Tweakable
// Blockciphers and Refinements to Modes OCB and PMAC" (Asiacrypt 2004), and
// draft-krovetz-ocb-00, without associated data.
//
// OCB2 is broken: whoever knows one plaintext whose second-to-last block encodes
// the length of a block can forge another datagram (section 4.1 of Inoue, Iwata,
// Minematsu, Poettering, "Cryptanalysis of OCB2: Attacks on Authenticity and
// Confidentiality", ePrint 2019/311), and the paper goes on to read plaintexts
// that way. Mumble keeps OCB2 with the counter-measure of section 9, and this
// package has both halves of it, see seal and open in ocb2.go. Even so 24 bits of
// tag are few. Take what comes out as a line's own checksum, not as a proof of
// who wrote it: in Sotto speech is protected by SFrame inside.
//
// One consequence reaches callers: a plaintext longer than 16 bytes whose
// second-to-last block begins with 15 zero bytes arrives with its lowest bit of
// that block flipped. Digital silence of a stock client is such a plaintext;
// anything encrypted is not.
//
// The package does not ask for a new nonce when nothing can be opened any more,
// and does not pick a peer for a datagram: the caller has clock and sockets.
package crypt
