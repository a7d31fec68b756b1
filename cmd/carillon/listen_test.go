package main

import "testing"

func TestALiteralAddressIsListenedOnInItsFamilyAlone(t *testing.T) {
	for _, tc := range []struct{ addr, want string }{
		{"0.0.0.0:8080", "tcp4"},
		{"127.0.0.1:8080", "tcp4"},
		{"[::1]:8080", "tcp6"},
		{"[::]:8080", "tcp6"},
		{"localhost:8080", "tcp"},
		{":8080", "tcp"},
	} {
		if got := network(tc.addr); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.addr, got, tc.want)
		}
	}
}
