package endpoint_test

import (
	"os"
	"strconv"
	"testing"
	"testing/cryptotest"
)

// seeded are the tests whose keys a seed decides.
var seeded = map[testing.TB]bool{}

// seed gives a test keys and random times that are the same in each run, from its
// first relay on. SOTTO_SEED is another one: what fails with it fails again with it.
// A benchmark keeps the randomness of the system.
func seed(tb testing.TB) {
	n, err := strconv.ParseUint(os.Getenv("SOTTO_SEED"), 10, 64)
	if err != nil {
		n = 1
	}
	if t, ok := tb.(*testing.T); ok && !seeded[t] {
		reseed(t, n)
	}
}

// reseed begins anew with a seed of the test's own.
func reseed(t *testing.T, n uint64) {
	cryptotest.SetGlobalRandom(t, n)
	seeded[t] = true
	t.Cleanup(func() { delete(seeded, t) })
}
