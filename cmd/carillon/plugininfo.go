package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker/admin"
	"github.com/carillon-mq/carillon/plugins/host"
)

// pluginInfoCmd is `carillon plugin info`.
type pluginInfoCmd struct {
	adminFlags
	Plugin  string `arg:"" help:"Name or kind of a plugin of a running broker, or path of an executable, with a / in it (./my-plugin)." placeholder:"NAME|PATH"`
	Bundled bool   `help:"Of the plugin of this name that is part of this program; no broker is asked."`
	JSON    bool   `name:"json" help:"Print a JSON object."`
}

// offlinePlugin is what an executable says of itself, under the names that a plugin of a running broker has it under.
type offlinePlugin struct {
	Plugin  string `json:"plugin"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
	Path    string `json:"path,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	admin.Description
}

// Run asks a running broker, or starts an executable as far as it says what it is: it is given no configuration, so it opens nothing.
func (c *pluginInfoCmd) Run(ctx context.Context, s streams) error {
	if c.Bundled || strings.ContainsAny(c.Plugin, `/`+string(filepath.Separator)) {
		return c.offline(ctx, s)
	}
	status, body, err := c.get(ctx, "/v1/admin/plugins/"+url.PathEscape(c.Plugin))
	if err == nil && status != http.StatusOK {
		err = problem(status, body)
	}
	if err != nil {
		if info, statErr := os.Stat(c.Plugin); statErr == nil && info.Mode().IsRegular() {
			fmt.Fprintf(s.err, "carillon: for the file in this folder write ./%s\n", printable(c.Plugin))
		}
		return err
	}
	var p admin.DescribedPlugin
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(p)
	}
	kind := p.Kind
	if p.Shadow {
		kind += shadowSuffix
	}
	own := p.Plugin.Plugin // the name that it gives itself
	printLines(s.out, [][2]string{
		{"plugin", own},
		{"version", p.Version},
		{"kind", kind},
		{"configured as", p.Name},
		{"state", fmt.Sprintf("%s, for %v", p.State, time.Since(p.Since).Round(time.Second))},
		{"attached to", p.Attach},
		{"on failure", p.OnFailure},
	})
	if own == "" {
		fmt.Fprintf(s.err, "carillon: it has not said yet what it is; last error: %s\n", oneLine(cmp.Or(p.LastError, "none")))
		return nil
	}
	printDescription(s.out, p.Description)
	return nil
}

func (c *pluginInfoCmd) offline(ctx context.Context, s streams) error {
	spec, sum, err := c.spec()
	if err != nil {
		return err
	}
	said, err := describePlugin(ctx, spec)
	if err != nil {
		return &exitError{exitUnreachable, fmt.Errorf("%s does not say what it is: %w", c.Plugin, err)}
	}
	p := offlinePlugin{
		Plugin: said.Name, Version: said.Version, Kind: said.Kind, Path: spec.Path, SHA256: sum,
		Description: descriptionOf(said.ContractVersions, said.Capabilities, said.ConfigSchema),
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(p)
	}
	printLines(s.out, [][2]string{{"plugin", p.Plugin}, {"version", p.Version}, {"kind", p.Kind}, {"path", p.Path}, {"sha256", p.SHA256}})
	printDescription(s.out, p.Description)
	return nil
}

// spec is the executable that the command line names, and the sum of its file.
func (c *pluginInfoCmd) spec() (spec host.Spec, sum string, err error) {
	if c.Bundled {
		if bundled[c.Plugin] == nil {
			return spec, "", usage("no plugin %q is part of this program", c.Plugin)
		}
		return host.Spec{Name: c.Plugin, Bundled: true, Args: []string{pluginServe, c.Plugin}}, "", nil
	}
	path, err := filepath.Abs(c.Plugin)
	if err != nil {
		return spec, "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return spec, "", &exitError{exitUnreachable, err}
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return spec, "", &exitError{exitUnreachable, err}
	}
	return host.Spec{Name: "plugin", Path: path}, fmt.Sprintf("%x", hash.Sum(nil)), nil
}

// describePlugin has the executable say what it is, and ends it.
func describePlugin(ctx context.Context, spec host.Spec) (host.Description, error) {
	h, err := host.New(host.Options{StartTimeout: time.Minute})
	if err != nil {
		return host.Description{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), pluginCloseTime)
		defer cancel()
		_ = h.Close(ctx) // the process has been waited for
	}()
	return h.Describe(ctx, spec)
}

// descriptionOf is what a plugin says of itself, as it is shown. A schema that is no JSON is shown as the text that it is.
func descriptionOf(versions []uint32, capabilities []string, schema string) admin.Description {
	d := admin.Description{ContractVersions: versions, Capabilities: capabilities}
	switch {
	case json.Valid([]byte(schema)):
		d.ConfigSchema = json.RawMessage(schema)
	case schema != "":
		d.ConfigSchema, _ = json.Marshal(schema) // of a text it does not fail
	}
	return d
}

// printLines prints a line for each fact that there is.
func printLines(to io.Writer, facts [][2]string) {
	for _, fact := range facts {
		if fact[1] != "" {
			fmt.Fprintf(to, "%-14s %s\n", fact[0], oneLine(fact[1]))
		}
	}
}

// printDescription prints what a plugin says of itself, its schema indented.
func printDescription(to io.Writer, d admin.Description) {
	printLines(to, [][2]string{
		{"contract", strings.Trim(fmt.Sprint(d.ContractVersions), "[]")}, {"capabilities", cmp.Or(strings.Join(d.Capabilities, " "), "none")},
	})
	var schema bytes.Buffer
	if len(d.ConfigSchema) == 0 {
		schema.WriteString("any object")
	} else if err := json.Indent(&schema, d.ConfigSchema, "", "  "); err != nil {
		schema.Write(d.ConfigSchema) // it is as it came
	}
	fmt.Fprintf(to, "configuration, by its JSON Schema:\n%s\n", printable(schema.String()))
}
