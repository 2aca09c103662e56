package opus_test

import (
	"testing"
	"time"

	"github.com/sotto-voip/sotto/opus"
)

// TestTOC goes through all 256 values against RFC 6716 table 2, written out.
func TestTOC(t *testing.T) {
	const us = time.Microsecond
	silk := []time.Duration{10000 * us, 20000 * us, 40000 * us, 60000 * us}
	celt := []time.Duration{2500 * us, 5000 * us, 10000 * us, 20000 * us}
	rows := []struct {
		first     int
		mode      opus.Mode
		bandwidth opus.Bandwidth
		durations []time.Duration
	}{
		{0, opus.SILK, opus.Narrowband, silk},
		{4, opus.SILK, opus.Mediumband, silk},
		{8, opus.SILK, opus.Wideband, silk},
		{12, opus.Hybrid, opus.SuperWideband, silk[:2]},
		{14, opus.Hybrid, opus.Fullband, silk[:2]},
		{16, opus.CELT, opus.Narrowband, celt},
		{20, opus.CELT, opus.Wideband, celt},
		{24, opus.CELT, opus.SuperWideband, celt},
		{28, opus.CELT, opus.Fullband, celt},
	}
	seen := 0
	for _, r := range rows {
		for i, d := range r.durations {
			for low := range 8 {
				toc := opus.TOC((r.first+i)<<3 | low)
				seen++
				if toc.Config() != r.first+i || toc.Stereo() != (low >= 4) || toc.Code() != low%4 ||
					toc.Mode() != r.mode || toc.Bandwidth() != r.bandwidth || toc.FrameDuration() != d {
					t.Errorf("TOC %02X: config %d, stereo %v, code %d, %v, %v, %v; want %d, %v, %d, %v, %v, %v",
						byte(toc), toc.Config(), toc.Stereo(), toc.Code(), toc.Mode(), toc.Bandwidth(), toc.FrameDuration(),
						r.first+i, low >= 4, low%4, r.mode, r.bandwidth, d)
				}
			}
		}
	}
	if seen != 256 {
		t.Errorf("%d values seen, want 256", seen)
	}
}

func TestNames(t *testing.T) {
	for _, r := range []struct{ got, want string }{
		{opus.SILK.String(), "SILK-only"}, {opus.Hybrid.String(), "Hybrid"}, {opus.CELT.String(), "CELT-only"},
		{opus.Mode(9).String(), "unknown mode"},
		{opus.Narrowband.String(), "NB"}, {opus.Mediumband.String(), "MB"}, {opus.Wideband.String(), "WB"},
		{opus.SuperWideband.String(), "SWB"}, {opus.Fullband.String(), "FB"}, {opus.Bandwidth(9).String(), "unknown bandwidth"},
	} {
		if r.got != r.want {
			t.Errorf("got %q, want %q", r.got, r.want)
		}
	}
}
