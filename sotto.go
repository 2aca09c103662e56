// Package sotto is the root of the module: it holds the executable floor plan
// (arch_test.go) and nothing else. The program is cmd/sotto; docs/architecture.md
// says what stands in which room.
package sotto
