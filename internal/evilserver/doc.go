// Package evilserver is a malicious Mumble server for tests: a proxy that owns
// the server's key, stands before a real murmurd and does with every message and
// every voice packet what a script says.
//
//	client --TLS--> Server --TLS--> murmurd    control messages, tunnelled voice
//	client --OCB2-> Server --OCB2-> murmurd    voice; each leg has keys of its own
//
// Clients see the certificate that Options or SetCertificate name; with murmurd's
// own key there they cannot tell the two apart. Towards murmurd each client has a
// certificate made for it, the same for the same client certificate; in
// UserState.hash the client's own hash is put back, so that people look as they
// would without the proxy.
//
// A script is a set of lies. OnServer, OnClient and OnVoice are the plain ones: a
// function sees what passes and returns a Verdict. Move, Rename, Hide, Ghost,
// Swap, Fork, Withhold, NoEcho, Twice, Late are the usual ones; Record and Hold keep what
// passes for a replay. Lies run one at a time, in the order they were told, and
// each sees what the one before left. What is injected meets no lies.
//
// Memory is bounded: queues, clients, recordings. Close returns when nothing
// runs any more. Everything is safe for concurrent use, also from within lies,
// but Close.
//
// The package is for tests, and for internal/demo, which shows what a malicious
// server gets. Nothing else of the product may import it.
package evilserver
