//go:build !race

package endpoint_test

// slower is how many times longer a thing may take than it should.
const slower = 1
