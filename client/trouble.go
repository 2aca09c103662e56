package client

import (
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// CertificateTrouble says in words for a person what an ordinary program would hold
// against a server's certificate at a time: that it has expired, is not valid yet, is
// for another name, or leads to nobody whom the operating system trusts. It is ""
// without any. chain is in DER, the leaf first; host is what the user typed, without
// the port. Who remembers the certificate is not stopped by any of it, as the stock
// client is not (src/mumble/MainWindow.cpp, serverDisconnected), but says it.
func CertificateTrouble(host string, chain [][]byte, now time.Time) string {
	return trouble(host, chain, now, nil)
}

// trouble is CertificateTrouble with other roots; nil: the system's.
func trouble(host string, chain [][]byte, now time.Time, pool *x509.CertPool) string {
	if len(chain) == 0 {
		return "there is none"
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return "it cannot be read"
	}
	var list []string
	switch {
	case now.After(leaf.NotAfter):
		list = append(list, "it expired on "+leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		list = append(list, "it is not valid before "+leaf.NotBefore.UTC().Format(time.DateOnly))
	}
	if leaf.VerifyHostname(host) != nil {
		list = append(list, "it is for another name")
	}
	// In time and under its own name, who has signed it?
	opts := x509.VerifyOptions{Roots: pool, Intermediates: between(chain), CurrentTime: now}
	if now.After(leaf.NotAfter) {
		opts.CurrentTime = leaf.NotAfter
	} else if now.Before(leaf.NotBefore) {
		opts.CurrentTime = leaf.NotBefore
	}
	if _, err := leaf.Verify(opts); err != nil {
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) || errors.As(err, new(x509.SystemRootsError)) {
			list = append(list, "nobody whom this computer trusts has signed it")
		} else {
			list = append(list, "its signatures do not hold")
		}
	}
	return strings.Join(list, ", and ")
}
