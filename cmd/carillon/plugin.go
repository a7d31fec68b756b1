package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillon-mq/carillon/broker/admin"
)

// pluginCmd is `carillon plugin`.
type pluginCmd struct {
	List   pluginListCmd   `cmd:"" help:"List the plugins of a running broker."`
	Reload pluginReloadCmd `cmd:"" help:"Start a plugin of a running broker anew, as its configuration is now, without dropping a connection."`
	New    pluginNewCmd    `cmd:"" help:"Write the first files of a plugin of your own."`
	Test   pluginTestCmd   `cmd:"" help:"Show that a plugin keeps the contract, whoever wrote it and in whatever language."`
}

// pluginListCmd is `carillon plugin list`.
type pluginListCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print a JSON object a line."`
}

// Run prints a line a plugin.
func (c *pluginListCmd) Run(ctx context.Context, s streams) error {
	status, body, err := c.get(ctx, "/v1/admin/plugins")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return errors.New(problemText(status, body))
	}
	var answer struct{ Plugins []admin.Plugin }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if c.JSON {
		enc := json.NewEncoder(s.out)
		for _, p := range answer.Plugins {
			if err := enc.Encode(p); err != nil {
				return err
			}
		}
		return nil
	}
	return printPlugins(s, answer.Plugins)
}

func printPlugins(s streams, plugins []admin.Plugin) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERSION\tSTATE\tSINCE\tPID\tMEMORY\tRESTARTS\tLAST ERROR")
	for _, p := range plugins {
		kind := p.Kind
		if p.Shadow {
			kind += shadowSuffix
		}
		if p.Breaker != "" {
			p.State += ", breaker " + p.Breaker
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n", kind, p.Name, p.Version, p.State,
			time.Since(p.Since).Round(time.Second), p.PID, megabytes(p.Memory), p.Restarts, oneLine(troublesOf(p)))
	}
	return w.Flush()
}

func megabytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%dMiB", n>>20)
}

// troublesOf is what is, or was last, wrong with a plugin: what is wrong now first.
func troublesOf(p admin.Plugin) string {
	var all []string
	for _, t := range []struct{ what, text string }{
		{"", p.Trouble}, {"not reloaded: ", p.ReloadError}, {"", p.LastError},
	} {
		if t.text != "" {
			all = append(all, t.what+t.text)
		}
	}
	if g := p.Guard; g != nil {
		if g.Hangs {
			all = append([]string{"hangs; on_failure: " + p.OnFailure}, all...)
		}
		if g.Recalled > 0 {
			all = append(all, fmt.Sprintf("%d logins by its last known good answers", g.Recalled))
		}
		if g.Undecided > 0 {
			all = append(all, fmt.Sprintf("%d without a decision", g.Undecided))
		}
	}
	if c := p.Compared; c != nil {
		all = append(all, fmt.Sprintf("%d answers compared, %d differ", c.Answers, c.Differences))
	}
	return strings.Join(all, "; ")
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
		return errors.New(problemText(status, body))
	}
	var answer struct{ Plugins []admin.Plugin }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return printPlugins(s, answer.Plugins)
}
