package main

import (
	"context"
	"fmt"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

// configCmd is `carillon config`.
type configCmd struct {
	Check  configCheckCmd  `cmd:"" help:"Print every mistake in a configuration."`
	Show   configShowCmd   `cmd:"" help:"Print the configuration in force, secrets hidden."`
	Init   configInitCmd   `cmd:"" help:"Print a commented configuration to start from."`
	Schema configSchemaCmd `cmd:"" help:"Print the JSON Schema of the configuration file."`
}

// configFile names the file as an argument or by -c.
type configFile struct {
	settings
	File string `arg:"" optional:"" help:"Configuration file."`
}

func (c *configFile) load() (*config.Loaded, error) {
	if c.File != "" {
		c.Config = c.File
	}
	return c.settings.load(nil)
}

// configCheckCmd is `carillon config check`.
type configCheckCmd struct {
	configFile
	Plugins bool `negatable:"" default:"true" help:"Start each plugin and have it check its settings, without giving it any; --no-plugins: only what is in the file."`
}

// Run prints every mistake and fails if there is one.
func (c *configCheckCmd) Run(ctx context.Context, s streams) error {
	l, err := c.load()
	if err != nil {
		return misconfigured(s, err)
	}
	for _, w := range c.warnings {
		fmt.Fprintln(s.err, "carillon: warning:", printable(w))
	}
	if c.Plugins {
		if err := checkPlugins(ctx, l.Config); err != nil {
			return misconfigured(s, err)
		}
	}
	if c.Config == "" {
		fmt.Fprintln(s.err, "carillon: no file was named; the defaults, with the environment and the flags, are good")
		return nil
	}
	fmt.Fprintln(s.err, "carillon: the configuration is good")
	return nil
}

// configShowCmd is `carillon config show`.
type configShowCmd struct {
	configFile
}

// Run prints every key with its value.
func (c *configShowCmd) Run(s streams) error {
	l, err := c.load()
	if err != nil {
		return misconfigured(s, err)
	}
	return l.Show(s.out)
}

// configInitCmd is `carillon config init`.
type configInitCmd struct{}

// Run prints the example.
func (configInitCmd) Run(s streams) error {
	_, err := fmt.Fprint(s.out, config.Example)
	return err
}

// configSchemaCmd is `carillon config schema`.
type configSchemaCmd struct{}

// Run prints the schema.
func (configSchemaCmd) Run(s streams) error {
	schema, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", schema)
	return err
}
