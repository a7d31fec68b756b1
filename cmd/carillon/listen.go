package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// listen opens a TCP listener on addr, of its address family alone if it is a literal address: 0.0.0.0 is not IPv6 too. When the
// port is taken the error names who has it, as far as this user may see.
func listen(ctx context.Context, key, addr string) (net.Listener, error) {
	config := net.ListenConfig{Control: boundProbes}
	config.SetMultipathTCP(false) // whose sockets do not take the option
	l, err := config.Listen(ctx, network(addr), addr)
	if err == nil {
		return l, nil
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is taken by %s; end it, or choose another address with --%s", key, addr, portHolder(addr), key)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: this user may not listen on %s; choose a port above 1023, or grant the capability net_bind_service", key, addr)
	}
	return nil, fmt.Errorf("%s: cannot listen on %s: %w", key, addr, err)
}

// network is the address family that addr is written in, or both.
func network(addr string) string {
	host, _, _ := net.SplitHostPort(addr) // Listen tells what is wrong with it
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "tcp"
	case ip.Is4():
		return "tcp4"
	}
	return "tcp6"
}
