package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/carillon-mq/carillon/broker/admin"
)

// pluginCmd is `carillon plugin`.
type pluginCmd struct {
	List   pluginListCmd   `cmd:"" help:"List the plugins of a running broker."`
	Info   pluginInfoCmd   `cmd:"" help:"Show what a plugin says of itself: name, version, capabilities, and the schema of its configuration."`
	Reload pluginReloadCmd `cmd:"" help:"Start a plugin of a running broker anew, as its configuration is now, without dropping a connection."`
	New    pluginNewCmd    `cmd:"" help:"Write the first files of a plugin of your own."`
	Test   pluginTestCmd   `cmd:"" help:"Show that a plugin keeps the contract, whoever wrote it and in whatever language."`
}

// pluginReloadCmd is `carillon plugin reload`.
type pluginReloadCmd struct {
	adminFlags
	Name    string        `arg:"" help:"Name or kind of the plugin, as list shows them."`
	Timeout time.Duration `default:"2m" help:"How long to wait for the answer, ${default} unless told; the broker goes on behind it." placeholder:"TIME"`
}

// Run returns when another process has taken the plugin's place, and fails with the reason when the old one had to stay.
func (c *pluginReloadCmd) Run(ctx context.Context, s streams) error {
	status, body, err := c.ask(ctx, http.MethodPost, "/v1/admin/plugins/"+url.PathEscape(c.Name)+"/reload", c.Timeout)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return problem(status, body)
	}
	var answer struct{ Plugins []admin.Plugin }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return printPlugins(s, answer.Plugins)
}
