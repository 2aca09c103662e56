package peers

import (
	"math"
	"math/bits"
	"math/cmplx"
	"time"
)

// Correlate looks for the sound a inside the longer sound b and returns the
// normalised cross-correlation at the best place, and where that place is: 1
// for a scaled copy, about 0 for unrelated sounds, and 0 if either is silent.
// a may begin before b does or end after it.
//
// The whole of a is compared at one place. A jitter buffer that leaves out or
// inserts a few milliseconds in the middle lowers the value; CorrelateParts
// forgives that.
func Correlate(a, b Sound) (value float64, at time.Duration) {
	if len(a) == 0 || len(b) == 0 {
		return 0, 0
	}
	n := 1 << bits.Len(uint(len(a)+len(b)))
	fa, fb := make([]complex128, n), make([]complex128, n)
	energy := 0.0
	for i, v := range a {
		fa[i] = complex(v, 0)
		energy += v * v
	}
	// sums[i] is the energy of b before i: any window's energy is a difference.
	sums := make([]float64, len(b)+1)
	for i, v := range b {
		fb[i] = complex(v, 0)
		sums[i+1] = sums[i] + v*v
	}
	fft(fa, false)
	fft(fb, false)
	for i := range fa {
		fa[i] = cmplx.Conj(fa[i]) * fb[i]
	}
	fft(fa, true)
	// Windows with next to no energy give quotients of rounding errors.
	floor := 1e-6 * energy
	for lag := -len(a) + 1; lag < len(b); lag++ {
		window := sums[min(max(lag+len(a), 0), len(b))] - sums[max(lag, 0)]
		if window <= floor || energy == 0 {
			continue
		}
		dot := real(fa[(lag+n)%n]) / float64(n)
		if v := dot / math.Sqrt(energy*window); v > value {
			value, at = v, time.Duration(lag)*time.Second/SampleRate
		}
	}
	return value, at
}

// CorrelateParts cuts a into parts of the given length, looks for each in b
// within slack of where the whole of a fits best, and returns the mean of the
// parts' correlations weighted by their energy.
func CorrelateParts(a, b Sound, part, slack time.Duration) float64 {
	_, at := Correlate(a, b)
	sum, weight := 0.0, 0.0
	for from := time.Duration(0); from < a.Duration(); from += part {
		p := a.between(from, from+part)
		e := p.RMS() * p.RMS() * float64(len(p))
		v, _ := Correlate(p, b.between(at+from-slack, at+from+part+slack))
		sum += v * e
		weight += e
	}
	if weight == 0 {
		return 0
	}
	return sum / weight
}

// fft is the radix-2 transform in place, without the division by len(x) in the
// inverse. len(x) must be a power of two.
func fft(x []complex128, inverse bool) {
	n := len(x)
	shift := bits.UintSize - bits.Len(uint(n-1))
	for i := range x {
		if j := int(bits.Reverse(uint(i)) >> shift); n > 1 && i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	sign := -1.0
	if inverse {
		sign = 1
	}
	for size := 2; size <= n; size *= 2 {
		half := size / 2
		turn := make([]complex128, half)
		for k := range turn {
			turn[k] = cmplx.Rect(1, sign*2*math.Pi*float64(k)/float64(size))
		}
		for start := 0; start < n; start += size {
			for k := range half {
				u, v := x[start+k], x[start+k+half]*turn[k]
				x[start+k], x[start+k+half] = u+v, u-v
			}
		}
	}
}
