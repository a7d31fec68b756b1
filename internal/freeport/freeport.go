// Package freeport finds addresses for brokers that are stopped and started again at the same place.
package freeport

import (
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports in question: registered ones, below those that systems give to connections that go out. Such a connection could otherwise
// take the port while its broker is away.
const lowest, beyond = 10_000, 32_768

// Address is an address of this machine, host:port, at which nobody listens. Nothing is held: two callers at the same moment get the
// same one with a chance of 1 in 20,000.
func Address() (string, error) {
	const attempts = 50
	var err error
	for range attempts {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(beyond-lowest)))
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", err
}
