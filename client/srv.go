package client

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
)

// places asks for _mumble._tcp of a typed host and returns its targets in the order
// to try them. Without an answer it is the host as typed: whoever can suppress the
// answer, or forge one, leads to another machine, not past the certificate, which is
// remembered for the typed name.
func (n *Net) places(ctx context.Context, typed place) ([]place, error) {
	ctx, cancel := context.WithTimeout(ctx, srvWait)
	defer cancel()
	// The final dot keeps the domains of the search list away, as the stock client does.
	_, records, err := n.resolver().LookupSRV(ctx, "mumble", "tcp", strings.TrimSuffix(typed.host, ".")+".")
	if err != nil || len(records) == 0 {
		return []place{typed}, nil
	}
	// RFC 2782: "A Target of "." means that the service is decidedly not available
	// at this domain."
	if len(records) == 1 && records[0].Target == "." {
		return nil, ErrNoService
	}
	var out []place
	for _, r := range inOrder(records, rand.IntN) {
		if host := strings.TrimSuffix(r.Target, "."); host != "" && r.Port != 0 && !isOnion(host) {
			if net.ParseIP(host) == nil {
				host += "." // a full name, about which no search list has a say
			}
			out = append(out, place{host, r.Port})
		}
	}
	if len(out) == 0 {
		return []place{typed}, nil
	}
	return out, nil
}

// inOrder sorts records by priority, the lowest first, and draws among those of one
// priority by weight (RFC 2782). draw returns a number from 0 to below its argument.
func inOrder(records []*net.SRV, draw func(int) int) []*net.SRV {
	rest := slices.Clone(records)
	// "arrange all SRV RRs (that have not been ordered yet) in any order, except that
	// all those with weight 0 are placed at the beginning of the list."
	slices.SortStableFunc(rest, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
	})
	var out []*net.SRV
	for len(rest) > 0 {
		same := 0
		sum := 0
		for same < len(rest) && rest[same].Priority == rest[0].Priority {
			sum += int(rest[same].Weight)
			same++
		}
		// "choose a uniform random number between 0 and the sum computed (inclusive),
		// and select the RR whose running sum value is the first in the selected order
		// which is greater than or equal to the random number selected."
		number, running, at := draw(sum+1), 0, 0
		for at = range same {
			if running += int(rest[at].Weight); running >= number {
				break
			}
		}
		out = append(out, rest[at])
		rest = slices.Delete(rest, at, at+1)
	}
	return out
}
