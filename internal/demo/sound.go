package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/sotto-voip/sotto/ogg"
)

// files lists what a listener recorded of a speaker.
func (s *stage) files(listener, speaker string) ([]string, error) {
	return filepath.Glob(filepath.Join(s.dir, "heard-by-"+listener, speaker+"-*.opus"))
}

// recorded returns the packets that a listener recorded of one speaker.
func (s *stage) recorded(listener, speaker string) ([][]byte, error) {
	files, err := s.files(listener, speaker)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("%s recorded %d files of %s, want 1", listener, len(files), speaker)
	}
	return packetsOf(files[0])
}

func packetsOf(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := ogg.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var packets [][]byte
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return packets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		packets = append(packets, slices.Clone(p.Data))
	}
}

// loudness decodes an Ogg Opus file and returns its RMS in dB of full scale,
// minus infinity for exact digital silence.
func (s *stage) loudness(path string) (float64, error) {
	wav := filepath.Join(s.dir, "decoded.wav")
	// Without --no-dither the decoder itself would add noise.
	if err := s.run("opusdec", "--quiet", "--no-dither", "--rate", "48000", path, wav); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(wav)
	if err != nil {
		return 0, err
	}
	const header = 44 // of the WAV files that opusdec writes
	if len(b) < header {
		return 0, fmt.Errorf("%s: no audio", path)
	}
	sum, n := 0.0, 0
	for samples := b[header:]; len(samples) >= 2; samples = samples[2:] {
		v := float64(int16(binary.LittleEndian.Uint16(samples))) / 32768
		sum += v * v
		n++
	}
	if n == 0 {
		return 0, fmt.Errorf("%s: no audio", path)
	}
	return 10 * math.Log10(sum/float64(n)), nil
}
