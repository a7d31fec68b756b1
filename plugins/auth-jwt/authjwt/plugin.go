package authjwt

import (
	"encoding/json"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/kit"
)

// Plugin is the package as a plugin, for kit.Serve. The version is the caller's to set.
func Plugin() kit.Plugin {
	return kit.Plugin{Name: "auth-jwt", Kind: kit.KindAuth, ConfigSchema: ConfigSchema, Auth: configured, Capabilities: []string{string(broker.PowerRevocations)}}
}

// configured refuses every mistake for good: a key file that is missing now will not be there in a second.
func configured(config json.RawMessage) (broker.Authenticator, error) {
	cfg, err := ParseConfig(config)
	if err != nil {
		return nil, kit.BadConfig("%v", err)
	}
	a, err := New(cfg)
	if err != nil {
		return nil, kit.BadConfig("%v", err)
	}
	a.Start()
	return a, nil
}
