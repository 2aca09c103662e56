// Package e2ee is the engine that decides what may leave and turns it into
// ciphertext: at present the room of the typed secret (Sotto protocol §10.1,
// §10.3) and its gate (§11). Groups by MLS will stand beside it.
//
// The engine has no clock, socket, lock or goroutine. Its owner, one goroutine,
// hands it what happened and when, takes what should be done, and wakes it again:
//
//	eng.Handle(now, e2ee.Received{From: session, Object: object})
//	for out, ok := eng.Next(); ok; out, ok = eng.Next() { ... }
//	timer.Reset(eng.Deadline().Sub(now))
//
// Voice does not pass through Handle: SealVoice and OpenVoice are plain calls in
// append style that allocate nothing once a stream runs. OpenVoice may show that
// a session holds the secret, so drain Next after it as well.
//
// A stretched secret S gives for each server certificate and channel
//
//	PRK      = HKDF-Extract(H("sotto/1 secret" || server || channel), S)
//	base_key = HKDF-Expand(PRK, "sotto/1 stream" || session || nonce, 32)
//
// and each base key a stream of SFrame keys (RFC 9605, suite 0x0004), ratcheted
// at 2^14 frames or 5 minutes (§7.1). On the wire, inside a voice envelope (the
// byte vk, then what follows it):
//
//	12 | nonce[16] | uint32 Unix minute | SFrame     the first packets of a talk spurt, then every 25th
//	11 | SFrame                                      the others
//
//	plaintext = uint16 (flags<<12 | n) | Opus[n] | [float32 x, y, z little-endian | tag[4]] | zeros
//	metadata  = "sotto/1 secret voice" | server[32] | uint32 session | nonce[16] | [minute] |
//	            uint16 frame_number | uint8 terminator
//
// and as objects
//
//	SecretReady = uint32 session | nonce[16] | uint32 minute | key_id<V> | mac[16]
//	SecretText  = uint32 session | salt[16] | uint32 minute | ct<V>
//
// What a typed secret does not give: forward secrecy or healing once the secret
// is known to somebody else, removal of anybody, and who of the holders speaks
// when the server lies about it. What the package does not do: it reads no
// Mumble message, filters no HTML and checks no Opus; the endpoint does.
package e2ee
