package endpoint

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/mumble/voice"
)

// What comes before its keys waits 600 ms and no longer, however often it is tried
// again meanwhile; and of one sender not more than 40 packets do.
func TestEarlyIsBounded(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var b early
	for range 2 * earlySender {
		b.keep(start, &voice.Packet{Session: 7, Data: []byte("frame")})
	}
	if len(b.packets) != earlySender {
		t.Fatalf("%d packets of one sender", len(b.packets))
	}
	b.keep(start.Add(100*time.Millisecond), &voice.Packet{Session: 8, Data: []byte("frame")})
	// They are tried again, as retryEarly does, and are still too early.
	for _, at := range []time.Duration{200, 400, 590} {
		waiting := b.packets
		b = early{}
		for _, w := range waiting {
			b.until = w.until
			b.keep(start.Add(at*time.Millisecond), &w.packet)
		}
		b.until = time.Time{}
	}
	if len(b.packets) != earlySender+1 || !b.deadline().Equal(start.Add(earlyTime)) {
		t.Fatalf("%d packets, until %v", len(b.packets), b.deadline().Sub(start))
	}
	b.expire(start.Add(earlyTime))
	if len(b.packets) != 1 || b.packets[0].packet.Session != 8 {
		t.Errorf("after 600 ms %d are left", len(b.packets))
	}
	b.expire(start.Add(earlyTime + 100*time.Millisecond))
	if len(b.packets) != 0 || !b.deadline().IsZero() {
		t.Error("something is left")
	}
}
