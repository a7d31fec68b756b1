package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/carillon-mq/carillon/plugins/plugintest"
)

// pluginTestCmd is `carillon plugin test`.
type pluginTestCmd struct {
	Plugin    string   `arg:"" optional:"" help:"Path of the executable, or the name of a bundled plugin." placeholder:"PATH|NAME"`
	Config    string   `help:"Its configuration: JSON, or a file with JSON. {dir} in it stands for an empty folder, a new one for each case." placeholder:"FILE|JSON"`
	BadConfig []string `help:"A configuration that it has to refuse, and the key that it has to name." placeholder:"KEY=JSON" sep:"none"`
	Kind      string   `help:"What it has to be: auth or store. Without it the plugin says what it is." placeholder:"KIND"`
	Token     []string `help:"A token that an auth plugin has to accept." placeholder:"TOKEN" sep:"none"`
	Logins    string   `help:"A file with logins for an auth plugin: a JSON list of {name, token, headers, user, refused, may, may_not, revoke}; docs/plugins/test.md says of what." placeholder:"FILE"`
	Folder    string   `help:"What {dir} begins as: the files of this folder are copied into it." placeholder:"DIR"`
	Attach    string   `help:"Test a plugin that was started with --debug, at the address that it has printed. Cases that start and end processes are skipped." placeholder:"ADDRESS"`
	Format    string   `default:"text" enum:"text,json,junit" help:"Of the report: ${enum}."`
	Only      string   `help:"Run the cases whose kind/name matches." placeholder:"REGEX"`
	Crashes   int      `default:"20" help:"How often the crash test kills a store."`
	List      bool     `help:"Only name the cases, and the sentence of the contract that each shows."`
	Verbose   bool     `short:"v" help:"Say of every case what is done."`
}

// Run implements the verb.
func (c *pluginTestCmd) Run(ctx context.Context, s streams) error {
	only, err := regexp.Compile(c.Only)
	if err != nil {
		return usage("--only: %v", err)
	}
	if c.Kind != "" && c.Kind != plugintest.KindAuth && c.Kind != plugintest.KindStore {
		return usage("--kind %q is neither auth nor store", c.Kind)
	}
	if c.List {
		return c.list(s, only)
	}
	p, err := c.plugin()
	if err != nil {
		return err
	}
	tell := func(r *plugintest.Result) {
		var text strings.Builder
		r.Text(&text, c.Verbose)
		for line := range strings.Lines(text.String()) {
			fmt.Fprintln(s.out, printable(strings.TrimSuffix(line, "\n")))
		}
	}
	if c.Format != "text" {
		tell = nil
	}
	about, results, err := plugintest.Play(ctx, p, plugintest.Options{Kind: c.Kind, Only: only, Tell: tell})
	if failed, ok := errors.AsType[*plugintest.StartError](err); ok {
		for line := range strings.Lines(failed.Error()) {
			fmt.Fprintln(s.err, "carillon:", printable(strings.TrimSuffix(line, "\n")))
		}
		return &exitError{exitUnreachable, nil}
	}
	if err != nil {
		return err
	}
	if len(results) == 0 {
		return usage("--only %q matches no case of kind %s; --list names them", c.Only, about.Kind)
	}
	return c.report(s, about, results)
}

// report ends the report. A case that failed is exit code 1.
func (c *pluginTestCmd) report(s streams, about *plugintest.About, results []*plugintest.Result) error {
	var err error
	switch c.Format {
	case "json":
		err = plugintest.JSON(s.out, about, results)
	case "junit":
		err = plugintest.JUnit(s.out, about, results)
	default:
		fmt.Fprintf(s.out, "%s\n", printable(fmt.Sprintf("%s %s: %s", about.Name, about.Version, plugintest.Summary(results))))
	}
	if err != nil {
		return err
	}
	if plugintest.Count(results, plugintest.Failed) > 0 {
		return &exitError{exitFailed, nil}
	}
	return nil
}

func (c *pluginTestCmd) list(s streams, only *regexp.Regexp) error {
	told := map[string]bool{}
	for _, kind := range []string{plugintest.KindAuth, plugintest.KindStore} {
		for _, one := range plugintest.Cases(kind) {
			if c.Kind != "" && c.Kind != kind || told[one.ID()] || !only.MatchString(one.ID()) {
				continue
			}
			told[one.ID()] = true
			fmt.Fprintf(s.out, "%s\t%s: %s\n", one.ID(), one.Where, one.Says)
		}
	}
	return nil
}

// plugin is what the flags name.
func (c *pluginTestCmd) plugin() (plugintest.Plugin, error) {
	p := plugintest.Plugin{Kills: c.Crashes, Attach: c.Attach, BadConfigs: map[string]string{}}
	switch {
	case (c.Plugin == "") == (c.Attach == ""):
		return p, usage("name a plugin to test, or the address of one that runs with --attach")
	case c.Crashes < 1:
		return p, usage("--crashes is %d, want a number from 1", c.Crashes)
	}
	var err error
	if p.Config, err = jsonOrFile(c.Config); err != nil {
		return p, usage("--config: %v", err)
	}
	for _, bad := range c.BadConfig {
		key, config, ok := strings.Cut(bad, "=")
		if !ok || key == "" || !json.Valid([]byte(config)) {
			return p, usage("--bad-config %q is not KEY=JSON", bad)
		}
		p.BadConfigs[key] = config
	}
	if err := c.logins(&p); err != nil {
		return p, err
	}
	if c.Folder != "" {
		if info, err := os.Stat(c.Folder); err != nil || !info.IsDir() {
			return p, usage("--folder %s is no folder", c.Folder)
		}
		p.Prepare = func(dir string) error { return os.CopyFS(dir, os.DirFS(c.Folder)) }
	}
	if bundled[c.Plugin] != nil {
		exe, err := os.Executable()
		if err != nil {
			return p, err
		}
		p.Path, p.Args, p.Bundled = exe, []string{pluginServe, c.Plugin}, true
		return p, bundledLogins(c.Plugin, &p)
	}
	if c.Plugin != "" {
		if p.Path, err = filepath.Abs(c.Plugin); err != nil {
			return p, err
		}
	}
	return p, nil
}

// jsonOrFile is text if that is a JSON object, and the file of that name if not.
func jsonOrFile(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		file, err := os.ReadFile(text)
		if err != nil {
			return "", err
		}
		text = string(file)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return "", fmt.Errorf("not a JSON object: %w", err)
	}
	return text, nil
}
