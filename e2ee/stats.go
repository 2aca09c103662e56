package e2ee

import "errors"

// Stats counts what was dropped since New, by reason.
type Stats struct {
	UnknownSession uint64 // ErrUnknownSession
	Malformed      uint64 // ErrMalformed, ErrFrameTooLong
	NoKey          uint64 // ErrNoKey
	Replay         uint64 // ErrReplay
	Stale          uint64 // ErrStale, ErrClock
	Auth           uint64 // ErrAuth
	Limit          uint64 // ErrLimit
	Failed         uint64 // anything else: a bug
}

// Stats returns the counts.
func (e *Engine) Stats() Stats { return e.stats }

func (s *Stats) count(err error) {
	switch {
	case errors.Is(err, ErrUnknownSession):
		s.UnknownSession++
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrFrameTooLong):
		s.Malformed++
	case errors.Is(err, ErrNoKey):
		s.NoKey++
	case errors.Is(err, ErrReplay):
		s.Replay++
	case errors.Is(err, ErrStale), errors.Is(err, ErrClock):
		s.Stale++
	case errors.Is(err, ErrAuth):
		s.Auth++
	case errors.Is(err, ErrLimit):
		s.Limit++
	default:
		s.Failed++
	}
}
