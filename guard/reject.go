package guard

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// What becomes of a login that the server refuses.

// upstreamIdentity is the certificate that guard shows the server for a client.
type upstreamIdentity struct {
	cert *tls.Certificate // nil: none, since the client hides its own
	own  bool             // guard's own certificate, not the imported one
}

func (g *Guard) identify(a *arrival) (upstreamIdentity, error) {
	// A client that hides its certificate stays hidden.
	if a.cert == nil || g.cfg.HideCertificate {
		return upstreamIdentity{}, nil
	}
	c, imported, err := g.cfg.Store.MumbleCertificate()
	if err != nil {
		return upstreamIdentity{}, err
	}
	return upstreamIdentity{cert: &c, own: !imported}, nil
}

// attempt tells logins apart that the server may answer differently: by the two
// certificates, the name and the password.
type attempt [sha256.Size]byte

func (u upstreamIdentity) attempt(a *arrival) attempt {
	var shown []byte
	if u.cert != nil {
		shown = u.cert.Certificate[0]
	}
	h := sha256.New()
	for _, part := range [][]byte{a.cert, shown, []byte(a.auth.GetUsername()), []byte(a.auth.GetPassword())} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return attempt(h.Sum(nil))
}

// refusalLife is how long guard answers the repeats of a refused login by itself.
// The stock client tries again every 10 s, and servers shut out an address that
// comes ten times in two minutes (Murmur's autobanAttempts).
const refusalLife = time.Minute

// refusal is a login that no repetition will make succeed. The zero refusal
// refuses nothing.
type refusal struct {
	of     attempt
	reason string
	until  time.Time
}

// words are the reason to refuse an attempt without asking the server, "" for none.
func (r *refusal) words(now time.Time, of attempt) string {
	if r.of != of || !now.Before(r.until) {
		return ""
	}
	return r.reason
}

// rejectDown: the stock client answers some types with a dialog of its own and
// ignores the reason. Where guard's certificate is the cause, no password helps.
// A client without a certificate is where it would be without guard.
func rejectDown(s *session, now time.Time, m proto.Message) action {
	r := m.(*mumblepb.Reject)
	s.rejected = true
	s.g.emit(events.Event{Event: "rejected", Code: r.GetType().String(), Reason: r.GetReason()})
	var words string
	switch {
	case r.GetType() == mumblepb.Reject_WrongUserPW && s.ownCertificate && s.from.auth.GetUsername() != "SuperUser":
		words = "this name is registered with your Mumble certificate; import it: sotto identity import-mumble FILE.p12"
	case r.GetType() == mumblepb.Reject_NoCertificate && s.from.cert == nil:
		words = "this server wants a certificate, and your Mumble shows none; make one with Mumble's certificate wizard"
	case r.GetType() == mumblepb.Reject_NoCertificate:
		words = "this server wants another certificate; import yours: sotto identity import-mumble FILE.p12"
	case claimsSotto(r.GetReason()):
		r.Reason = proto.String("[server] " + filterLine(r.GetReason()))
		return rewrite
	default:
		return pass
	}
	s.g.refused = refusal{of: s.attempt, reason: words, until: now.Add(refusalLife)}
	r.Type, r.Reason = mumblepb.Reject_None.Enum(), proto.String(words)
	return rewrite
}
