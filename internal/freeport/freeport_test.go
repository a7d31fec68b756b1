package freeport

import (
	"net"
	"testing"
)

// At the address that is given somebody can listen, and once somebody does it is not given again.
func TestAnAddressIsFree(t *testing.T) {
	taken := map[string]bool{}
	for range 200 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		if taken[address] {
			t.Fatalf("%s was given twice", address)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		taken[address] = true
	}
}
