//go:build race

package endpoint_test

// slower is how many times longer a thing may take under the race detector.
const slower = 10
