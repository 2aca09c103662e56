// Package guard stands between a stock Mumble client and a Mumble server, on
// the user's own machine, and encrypts what the client sends for the people
// who hold the same keys.
//
//	stock client ==TLS/UDP== downstream | session | upstream ==TLS/UDP== server
//
//	voice out  (outbound.go)  downstream -> crypt -> voice -> endpoint.Protect   -> upstream
//	voice in   (inbound.go)   upstream -> crypt -> voice -> endpoint.Unprotect -> downstream
//	control    (table.go)     one row for each message type and direction
//
// One listener is one server, one identity and one client. The two legs share
// session ids, channel ids and frame numbers and nothing else: TLS, OCB2 keys,
// nonces, resync, ping figures, UDP or tunnel, and the form of voice packets
// are each leg's own.
//
// It fails closed: what is not understood is not sent, what the gate holds is
// dropped, and the person is told in the client's own window.
package guard
