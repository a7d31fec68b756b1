package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/plugins/auth-http/authhttp"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

// pluginServe is the hidden first argument with which this executable runs itself as one of its plugins.
const pluginServe = "plugin-serve"

// bundled makes the plugins that are part of this executable.
var bundled = map[string]func() kit.Plugin{
	"auth-http":  authhttp.Plugin,
	"auth-jwt":   authjwt.Plugin,
	"store-bolt": storebolt.Plugin,
}

// servePlugin is the whole process when args ask for a bundled plugin; ok is false when they do not.
func servePlugin(args []string) (code int, ok bool) {
	if len(args) == 0 || args[0] != pluginServe {
		return 0, false
	}
	if debugged := len(args) == 3 && strings.HasPrefix(args[2], "--debug"); !debugged && len(args) != 2 || bundled[args[1]] == nil {
		fmt.Fprintln(os.Stderr, "carillon: plugin-serve is how a broker starts its bundled plugins; it takes the name of one")
		return exitUsage, true
	}
	p := bundled[args[1]]()
	p.Version = version
	kit.Serve(p)
	return exitDone, true
}

// checkPluginConfigs reports what the bundled plugins would say of their configuration, without starting them.
func checkPluginConfigs(l *config.Loaded) config.KeyErrors {
	var all config.KeyErrors
	if l.Auth.Path == "" && l.Auth.Attach == "" && l.Auth.Plugin == "auth-jwt" {
		all = checkPluginConfig(l, "auth.config", l.Auth.Config, authjwt.ConfigSchema, func() error {
			parsed, err := authjwt.ParseConfig(orEmpty(l.Auth.Config))
			if err == nil {
				_, err = authjwt.New(parsed) // reads the files and asks no URL
			}
			return err
		})
	}
	if l.Auth.Path == "" && l.Auth.Attach == "" && l.Auth.Plugin == "auth-http" {
		all = checkPluginConfig(l, "auth.config", l.Auth.Config, authhttp.ConfigSchema, func() error {
			parsed, err := authhttp.ParseConfig(orEmpty(l.Auth.Config))
			if err == nil {
				_, err = authhttp.New(parsed) // reads the files and asks nobody
			}
			return err
		})
	}
	if l.Store.Path == "" && l.Store.Attach == "" && l.Store.Plugin == "store-bolt" {
		all = append(all, checkPluginConfig(l, "store.config", l.Store.Config, storebolt.ConfigSchema, func() error {
			settings, err := storeConfig(l.Config)
			if err == nil {
				_, err = storebolt.ParseConfig(settings)
			}
			return err
		})...)
	}
	return all
}

// checkPluginConfig looks for unknown keys, which schema lists, and if there are none has the plugin's own check say the rest.
func checkPluginConfig(l *config.Loaded, path string, o config.Opaque, schema string, check func() error) config.KeyErrors {
	var known struct{ Properties map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(schema), &known); err != nil {
		return config.KeyErrors{l.Errorf(path, "the plugin's schema: %v", err)}
	}
	if unknown := l.UnknownKeys(path, o, slices.Sorted(maps.Keys(known.Properties))); len(unknown) > 0 {
		return unknown
	}
	if err := check(); err != nil {
		return config.KeyErrors{l.Errorf(path, "%v", err)}
	}
	return nil
}

func orEmpty(o config.Opaque) []byte {
	if o == nil {
		return []byte("{}")
	}
	return o
}

// storeDir is where in data_dir the bundled store keeps its file.
const storeDir = "store"

// storeConfig is the configuration of the bundled store: what the file says, and for the rest the broker's own folder and limits.
func storeConfig(c *config.Config) ([]byte, error) {
	settings := map[string]any{}
	if err := json.Unmarshal(orEmpty(c.Store.Config), &settings); err != nil {
		return nil, err
	}
	dir, err := absolute(c.DataDir, storeDir)
	if err != nil {
		return nil, err
	}
	byDefault := map[string]any{"dir": dir, "max_retained_topics": 1 << 30, "max_retained_bytes": int64(1) << 50}
	if c.Limits.Retained != config.Unlimited {
		byDefault["max_retained_topics"] = int64(c.Limits.Retained)
	}
	if c.Limits.RetainedBytes != config.Unlimited {
		byDefault["max_retained_bytes"] = max(int64(c.Limits.RetainedBytes), 64<<10)
	}
	for key, value := range byDefault {
		if _, ok := settings[key]; !ok {
			settings[key] = value
		}
	}
	return json.Marshal(settings)
}
