// Package e2e tests the built binary with real processes, sockets, kills and faults. It has no code of the product.
//
// Counts are small in the gate; `make campaign` runs the same tests with their full counts.
package e2e
