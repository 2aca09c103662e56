// Package envelope holds the bytes of Sotto's outer frames: what a Mumble server
// carries without knowing. It follows sections 1.1, 1.2, 1.3 and 1.5 of Sotto
// protocol 1, and for bodies sections 2.3, 2.4, 4, 6.4 and 8.
//
// Everything but media is an [Object], named by a hash of its bytes:
//
//	object    kind (1) | body
//	ref       SHA-256("sotto/1 object" | kind | body)
//
// An object rides in parts, in the data of plugin messages or in text:
//
//	Fragment  version 01 | kind | id (8) = ref[0:8] | index | count | part
//	text      sotto:1,KK,I,C,BASE64(id (8) | part)
//	image     <img src="sotto:1,KK,I,C,BASE64(id (8) | part)"/>
//
// A media packet rides in the padding of a cover (package opus), which people
// without Sotto hear as exact silence:
//
//	voice     TOC | 40+M | padlen | FF FE x M | 00 | vk | rest
//
// The bodies of objects are plain structs with Append and a strict parser:
// [Presence], [Hello], [RefObject], [Want], [Beacon], [KeyPackageRequest],
// [KeyPackageReply], [Report]; beside them stand what MLS carries for Sotto, the
// application data [AppData] and the extensions [SottoLeaf] and [SottoGroup].
// Every body has exactly one spelling. MLS structures in them are opaque bytes.
//
// The package knows shapes only. It does not encrypt or verify, does not put
// several parts together and does not know Mumble messages; those are the
// engine's and the carrier's.
//
// All functions are pure: they keep and change none of their arguments and may
// be called concurrently. Parsed values alias the bytes they were read from
// unless their comment says otherwise.
package envelope
