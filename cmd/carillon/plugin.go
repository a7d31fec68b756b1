package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/carillon-mq/carillon/broker/admin"
)

// pluginCmd is `carillon plugin`.
type pluginCmd struct {
	List pluginListCmd `cmd:"" help:"List the plugins of a running broker."`
	New  pluginNewCmd  `cmd:"" help:"Write the first files of a plugin of your own."`
	Test pluginTestCmd `cmd:"" help:"Show that a plugin keeps the contract, whoever wrote it and in whatever language."`
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
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERSION\tSTATE\tSINCE\tPID\tRESTARTS\tLAST ERROR")
	for _, p := range answer.Plugins {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", p.Kind, p.Name, p.Version, p.State,
			time.Since(p.Since).Round(time.Second), p.PID, p.Restarts, oneLine(p.LastError))
	}
	return w.Flush()
}
