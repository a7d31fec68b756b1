package main

import (
	"testing"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

func TestTokensInTheClearAreNoticed(t *testing.T) {
	change := func(f func(*config.Config)) *config.Config {
		c := config.Default()
		c.Listen, c.Auth.Plugin = "0.0.0.0:8080", "auth-jwt"
		f(c)
		return c
	}
	for name, tc := range map[string]struct {
		c    *config.Config
		want bool
	}{
		"beyond this machine":   {change(func(*config.Config) {}), true},
		"on this machine":       {change(func(c *config.Config) { c.Listen = "127.0.0.1:8080" }), false},
		"with TLS":              {change(func(c *config.Config) { c.TLS.Cert, c.TLS.Key = "a", "b" }), false},
		"behind a proxy":        {change(func(c *config.Config) { c.TrustedProxies = []string{"10.0.0.1"} }), false},
		"where are no tokens":   {change(func(c *config.Config) { c.Auth.Plugin = config.None }), false},
		"half of TLS is no TLS": {change(func(c *config.Config) { c.TLS.Cert = "a" }), true},
	} {
		if got := inTheClear(tc.c); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
