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
	"time"

	"github.com/sotto-voip/sotto/ogg"
	"github.com/sotto-voip/sotto/opus"
)

// voice makes the Opus packets of a spoken sentence, 20 ms each.
func (s *stage) voice(sentence string) ([][]byte, error) {
	raw, wav, out := filepath.Join(s.dir, "raw.wav"), filepath.Join(s.dir, "said.wav"), filepath.Join(s.dir, "said.opus")
	if err := s.run("espeak-ng", "-w", raw, sentence); err != nil {
		return nil, err
	}
	if err := s.run("sox", raw, "-r", "48000", "-c", "1", wav); err != nil {
		return nil, err
	}
	if err := s.run("opusenc", "--quiet", "--framesize", "20", "--hard-cbr", "--bitrate", "24", wav, out); err != nil {
		return nil, err
	}
	return packetsOf(out)
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

// writeOgg makes a file of Opus packets that opusdec can decode.
func writeOgg(path string, packets [][]byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := ogg.NewWriter(f, 1, ogg.Head{Channels: 1, InputSampleRate: 48000}, ogg.Tags{Vendor: "Sotto"})
	if err != nil {
		return err
	}
	end := int64(0)
	for _, p := range packets {
		d, err := opus.Duration(p)
		if err != nil {
			return err
		}
		end += int64(d / (time.Second / 48000))
		if err := w.WritePacket(p, end); err != nil {
			return err
		}
	}
	return w.Close()
}

// loudness decodes packets and returns their RMS in dB of full scale, minus
// infinity for exact digital silence.
func (s *stage) loudness(packets [][]byte) (float64, error) {
	if len(packets) == 0 {
		return 0, errors.New("nothing to decode")
	}
	file, wav := filepath.Join(s.dir, "heard.opus"), filepath.Join(s.dir, "decoded.wav")
	if err := writeOgg(file, packets); err != nil {
		return 0, err
	}
	// Without --no-dither the decoder itself would add noise.
	if err := s.run("opusdec", "--quiet", "--no-dither", "--rate", "48000", file, wav); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(wav)
	if err != nil {
		return 0, err
	}
	const header = 44 // of the WAV files that opusdec writes
	if len(b) < header+2 {
		return 0, fmt.Errorf("%s: no audio", wav)
	}
	sum, n := 0.0, 0
	for samples := b[header:]; len(samples) >= 2; samples = samples[2:] {
		v := float64(int16(binary.LittleEndian.Uint16(samples))) / 32768
		sum += v * v
		n++
	}
	return 10 * math.Log10(sum/float64(n)), nil
}

func decibels(db float64) string {
	if math.IsInf(db, -1) {
		return "-inf dBFS, exact digital silence"
	}
	return fmt.Sprintf("%.1f dBFS", db)
}
