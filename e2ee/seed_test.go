package e2ee_test

import (
	"os"
	"strconv"
	"testing"
	"testing/cryptotest"
)

// seeded are the tests whose keys a seed decides.
var seeded = map[testing.TB]bool{}

// seed gives a test keys and random times that are the same in each run, from its
// first hall or room on. SOTTO_SEED is another one: what fails with it fails again with it.
// A benchmark keeps the randomness of the system.
func seed(tb testing.TB) uint64 {
	n, err := strconv.ParseUint(os.Getenv("SOTTO_SEED"), 10, 64)
	if err != nil {
		n = 1
	}
	if t, ok := tb.(*testing.T); ok && !seeded[t] {
		cryptotest.SetGlobalRandom(t, n)
		seeded[t] = true
		t.Cleanup(func() { delete(seeded, t) })
	}
	return n
}
