package storebolt

import (
	"encoding/json"
	"log/slog"
	"os"

	"github.com/carillon-mq/carillon/plugins/kit"
)

// Plugin is the package as a plugin, for kit.Serve. The version is the caller's to set. The process ends with status 1 when
// the store fails: the broker starts a new one, which reads what the disk really holds.
func Plugin() kit.Plugin {
	return kit.Plugin{
		Name: "store-bolt", Kind: kit.KindStore, ConfigSchema: ConfigSchema, Store: configured,
		Capabilities: []string{"durability:fsync", "terms", "history", "ttl", "keys", "statistics", "backup", "keyspace"},
	}
}

// configured refuses a bad configuration for good. What Open says may pass: a lock that is held, a disk that is full.
func configured(config json.RawMessage) (kit.Store, error) {
	cfg, err := ParseConfig(config)
	if err != nil {
		return nil, kit.BadConfig("%v", err)
	}
	cfg.OnFailure = func(err error) {
		slog.Error("the store has failed and ends, to be started anew", "plugin", "store-bolt", "err", err)
		os.Exit(1)
	}
	s, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}
