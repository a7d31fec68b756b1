package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

func TestDevStoresSomeTopicsUnlessTheConfigurationSaysWhich(t *testing.T) {
	live := []config.Topic{{Match: "a", Class: "live"}}
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		want   []config.Topic
	}{
		{"nothing was said", func(*config.Config) {}, []config.Topic{{Match: "stored.>", Class: "stored"}}},
		{"rules of its own", func(c *config.Config) { c.Topics = live }, live},
		{"no store", func(c *config.Config) { c.Store.Plugin = config.None }, nil},
		{"a store of another maker", func(c *config.Config) { c.Store.Path = "/opt/store" }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := config.Default()
			tc.change(c)
			storeSome(c)
			if d := cmp.Diff(tc.want, c.Topics); d != "" {
				t.Error(d)
			}
		})
	}
}
