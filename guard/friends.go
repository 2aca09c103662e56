package guard

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// The stock client knows friends, nicknames, volumes and whisper shortcuts by the hash
// of a certificate, which is the server's word. While somebody's key is in question
// guard takes it away, so that a stranger does not stand there with a friend's mark.

// estrange brings the hashes that the client has in line with whose key is in
// question.
func (s *session) estrange() {
	if !s.synced {
		return
	}
	now := s.end.Suspects()
	if slices.Equal(now, s.estranged) {
		return
	}
	before := s.estranged
	s.estranged = now
	for _, session := range slices.Concat(before, now) {
		_, was := slices.BinarySearch(before, session)
		_, is := slices.BinarySearch(now, session)
		u, here := s.end.Mirror().User(session)
		if was == is || !here || u.Hash == "" {
			continue
		}
		hash := u.Hash
		if is {
			hash = ""
		}
		s.down.conn.SendMessage(&mumblepb.UserState{Session: proto.Uint32(session), Hash: proto.String(hash)})
	}
}

// strange reports whether a session's key is in question, as the client was shown.
func (s *session) strange(session uint32) bool {
	_, is := slices.BinarySearch(s.estranged, session)
	return is
}
