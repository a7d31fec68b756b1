package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillon-mq/carillon/broker/admin"
)

// pluginListCmd is `carillon plugin list`.
type pluginListCmd struct {
	adminFlags
	JSON bool `name:"json" help:"Print a JSON object a line."`
}

// Run prints a line a plugin, and, on standard error, what to do about each that is not ready.
func (c *pluginListCmd) Run(ctx context.Context, s streams) error {
	status, body, err := c.get(ctx, "/v1/admin/plugins")
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
	if c.JSON {
		enc := json.NewEncoder(s.out)
		for _, p := range answer.Plugins {
			if err := enc.Encode(p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := printPlugins(s, answer.Plugins); err != nil {
		return err
	}
	for _, p := range answer.Plugins {
		if advice := adviceFor(p, time.Now()); advice != "" {
			fmt.Fprintf(s.err, "carillon: %s: %s: %s\n", printable(p.Name), p.State, printable(advice))
		}
	}
	return nil
}

func printPlugins(s streams, plugins []admin.Plugin) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERSION\tSTATE\tSINCE\tPID\tMEMORY\tRESTARTS\tON FAILURE\tLAST ERROR")
	for _, p := range plugins {
		kind := p.Kind
		if p.Shadow {
			kind += shadowSuffix
		}
		if p.Breaker != "" {
			p.State += ", breaker " + p.Breaker
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\n", kind, p.Name, printable(versionOf(p)), p.State,
			time.Since(p.Since).Round(time.Second), p.PID, megabytes(p.Memory), p.Restarts,
			cmp.Or(printable(p.OnFailure), "-"), oneLine(troublesOf(p)))
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
		{"UNSUPERVISED, attached to ", p.Attach}, {"", p.Trouble}, {"not reloaded: ", p.ReloadError}, {past(p), p.LastError},
	} {
		if t.text != "" {
			all = append(all, t.what+t.text)
		}
	}
	if g := p.Guard; g != nil {
		if g.Hangs {
			all = append([]string{"hangs"}, all...)
		}
		if g.Recalled > 0 {
			all = append(all, fmt.Sprintf("%d logins by its last known good answers so far", g.Recalled))
		}
		if g.Undecided > 0 {
			all = append(all, fmt.Sprintf("%d logins and questions had no decision so far", g.Undecided))
		}
	}
	if c := p.Compared; c != nil {
		all = append(all, fmt.Sprintf("%d answers compared, %d differ", c.Answers, c.Differences))
	}
	return strings.Join(all, "; ")
}

// past stands before the last error of a plugin that is called again.
func past(p admin.Plugin) string {
	if !p.Up || p.LastErrorAt.IsZero() {
		return ""
	}
	return time.Since(p.LastErrorAt).Round(time.Second).String() + " ago: "
}

// versionOf is the version of a plugin, behind its own name where that is not what it is called here.
func versionOf(p admin.Plugin) string {
	if p.Plugin == "" || p.Plugin == p.Name || p.Plugin+shadowSuffix == p.Name {
		return p.Version
	}
	return p.Plugin + "/" + p.Version
}

// adviceFor is what will happen to a plugin that is not simply ready, and what its operator can do. docs/plugins/operating.md has more.
func adviceFor(p admin.Plugin, now time.Time) string {
	reload := "carillon plugin reload " + p.Name
	due := "soon"
	if wait := p.RetryAt.Sub(now); wait > time.Second {
		due = "in " + wait.Round(time.Second).String()
	}
	if p.Attach != "" {
		return adviceForAttached(p)
	}
	switch p.State {
	case "starting":
		return "it is being started, asked what it is and configured, and is not called before that is done; start_timeout is the longest it may take"
	case "degraded":
		return "it is called all the same; what it depends on is slow or away. The third bad health check in a row ends it, and a second of standing still, if a signal stopped it; then it is started again"
	case "backoff":
		return "it is not called, and is started again " + due + "; the last error has its last words, the broker's log has more (plugin=" + p.Name + ")"
	case "failed":
		if !p.RetryAt.IsZero() {
			return "it has ended too often and is left alone; it is started again " + due + ". Mend it and `" + reload + "`, which starts it at once"
		}
		return "it is not started again by itself. Mend what the last error names, then `" + reload + "`"
	case "stopping", "stopped":
		return "the broker is ending"
	}
	if p.Breaker != "" {
		return "it leaves commits without an answer, so publishes that need it are refused until it gives one; look at its disk and at carillon_store_commit_seconds"
	}
	return ""
}

// adviceForAttached is adviceFor a plugin that somebody else has started.
func adviceForAttached(p admin.Plugin) string {
	switch p.State {
	case "attached":
		return "you have started it yourself, and nobody watches over it; leave auth.attach and store.attach to debugging"
	case "starting":
		return "it has not answered yet; does it stand at a breakpoint? Nobody hurries it"
	case "degraded":
		return "it has not answered yet, or says that it is not well, and nobody ends it; does it stand at a breakpoint? Calls to it end with their own deadlines"
	case "backoff":
		return "it is connected to as soon as it listens at " + p.Attach + " (start it with --debug=" + p.Attach + "); the last error says what was in the way"
	case "failed":
		return "mend what the last error names, start it again, then `carillon plugin reload " + p.Name + "`"
	}
	return ""
}
