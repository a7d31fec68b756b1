// Package badinput tests the built binary with hostile and mistaken bytes: every case of a corpus, with what it has to be answered,
// and after each one that nobody else has noticed.
package badinput
