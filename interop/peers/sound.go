package peers

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"
	"time"
)

// SampleRate is the rate of every Sound of this package, in samples per second:
// what Opus and the stock client use.
const SampleRate = 48000

// Sound is one channel of samples between -1 and 1 at SampleRate.
type Sound []float64

// Duration is the playing time.
func (s Sound) Duration() time.Duration {
	return time.Duration(len(s)) * time.Second / SampleRate
}

// RMS is the root mean square of the samples: 0 for digital silence, and only
// for that; 1 for a full-scale square wave.
func (s Sound) RMS() float64 {
	if len(s) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range s {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(s)))
}

// DBFS is RMS in decibels below full scale, minus infinity for digital silence.
func (s Sound) DBFS() float64 { return 20 * math.Log10(s.RMS()) }

// Peak is the greatest absolute sample.
func (s Sound) Peak() float64 {
	peak := 0.0
	for _, v := range s {
		peak = max(peak, math.Abs(v))
	}
	return peak
}

// between cuts out the part from a to b, both clipped to the sound.
func (s Sound) between(a, b time.Duration) Sound {
	at := func(d time.Duration) int { return min(max(int(d*SampleRate/time.Second), 0), len(s)) }
	return s[at(a):max(at(a), at(b))]
}

// fromPCM turns signed 16-bit little-endian samples into a Sound. An odd last
// byte, as a recording cut in the middle has, is dropped.
func fromPCM(b []byte) Sound {
	s := make(Sound, len(b)/2)
	for i := range s {
		s[i] = float64(int16(binary.LittleEndian.Uint16(b[2*i:]))) / 32768
	}
	return s
}

// ReadWAV reads a mono 48 kHz 16-bit WAV file.
func ReadWAV(t testing.TB, name string) Sound {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	s, err := parseWAV(b)
	if err != nil {
		t.Fatalf("peers: %s: %v", name, err)
	}
	return s
}

// parseWAV walks the RIFF chunks ("fmt " before "data").
func parseWAV(b []byte) (Sound, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, fmt.Errorf("peers: not a WAV file")
	}
	known := false
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), uint64(binary.LittleEndian.Uint32(b[4:]))
		body := b[8:]
		if id == "data" && known {
			// A program writing to a pipe cannot know the size and writes
			// 0 or the largest one.
			if size == 0 || size > uint64(len(body)) {
				size = uint64(len(body))
			}
			return fromPCM(body[:size]), nil
		}
		if size > uint64(len(body)) {
			break
		}
		if id == "fmt " && size >= 16 {
			channels := binary.LittleEndian.Uint16(body[2:])
			rate := binary.LittleEndian.Uint32(body[4:])
			bits := binary.LittleEndian.Uint16(body[14:])
			if channels != 1 || rate != SampleRate || bits != 16 {
				return nil, fmt.Errorf("peers: WAV with %d channels, %d Hz, %d bits, want 1, %d, 16", channels, rate, bits, SampleRate)
			}
			known = true
		}
		b = body[min(size+size&1, uint64(len(body))):]
	}
	return nil, fmt.Errorf("peers: WAV file without samples")
}

// WriteWAV writes a mono 48 kHz 16-bit WAV file. Samples beyond full scale are
// clipped.
func WriteWAV(t testing.TB, name string, s Sound) {
	t.Helper()
	le := binary.LittleEndian
	b := append([]byte("RIFF"), 0, 0, 0, 0)
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1) // PCM
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, SampleRate)
	b = le.AppendUint32(b, SampleRate*2)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(2*len(s)))
	for _, v := range s {
		v = math.Round(min(max(v*32768, -32768), 32767))
		b = le.AppendUint16(b, uint16(int16(v)))
	}
	le.PutUint32(b[4:], uint32(len(b)-8))
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatalf("peers: %v", err)
	}
}
