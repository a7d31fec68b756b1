package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/protocol"
)

// pluginTestCmd is `carillon plugin test`.
type pluginTestCmd struct {
	Plugin    string   `arg:"" optional:"" help:"Path of the executable, or the name of a bundled plugin." placeholder:"PATH|NAME"`
	Config    string   `help:"Its configuration: JSON, or a file with JSON. {dir} in it stands for an empty folder, a new one for each case." placeholder:"FILE|JSON"`
	BadConfig []string `help:"A configuration that it has to refuse, and the key that it has to name." placeholder:"KEY=JSON" sep:"none"`
	Kind      string   `help:"What it has to be: auth or store. Without it the plugin says what it is." placeholder:"KIND"`
	Token     []string `help:"A token that an auth plugin has to accept." placeholder:"TOKEN" sep:"none"`
	Logins    string   `help:"A file with logins for an auth plugin: a JSON list of {name, token, headers, user, refused}, where refused is a code, or \"any\", and user who is accepted." placeholder:"FILE"`
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

// login is one of the file that --logins names.
type login struct {
	Name    string
	Token   string
	Headers map[string][]string
	User    string
	Refused string
}

// logins are those of the flags, and one that has to be refused whatever the plugin is.
func (c *pluginTestCmd) logins(p *plugintest.Plugin) error {
	for i, token := range c.Token {
		p.Logins = append(p.Logins, plugintest.Login{Name: fmt.Sprintf("token %d", i+1), Credentials: broker.Credentials{Token: token, Transport: "ws"}})
	}
	if err := c.readLogins(p); err != nil {
		return usage("--logins %s: %v", c.Logins, err)
	}
	if len(p.Logins) > 0 {
		p.Logins = append(p.Logins, plugintest.Login{
			Name: "a token that nobody has made", AnyRefusal: true, Credentials: broker.Credentials{Token: "of-nobody." + rand.Text(), Transport: "ws"},
		})
	}
	return nil
}

func (c *pluginTestCmd) readLogins(p *plugintest.Plugin) error {
	if c.Logins == "" {
		return nil
	}
	text, err := os.ReadFile(c.Logins)
	if err != nil {
		return err
	}
	var list []login
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	for i, l := range list {
		one := plugintest.Login{Name: l.Name, User: l.User, AnyRefusal: l.Refused == "any"}
		one.Credentials = broker.Credentials{Token: l.Token, Transport: "ws", Remote: "192.0.2.1", Header: http.Header(l.Headers)}
		if l.Name == "" {
			one.Name = fmt.Sprintf("login %d", i+1)
		}
		if l.Refused != "" && !one.AnyRefusal {
			code, ok := protocol.CodeByName(l.Refused)
			if !ok {
				return fmt.Errorf("%s: %q is no code of the protocol", one.Name, l.Refused)
			}
			one.Refused = code
		}
		p.Logins = append(p.Logins, one)
	}
	return nil
}

// bundledLogins gives the bundled auth plugin, if it was given nothing, a key and tokens of that.
func bundledLogins(name string, p *plugintest.Plugin) error {
	if name != "auth-jwt" || p.Config != "" || len(p.Logins) > 0 {
		return nil
	}
	secret := rand.Text() + rand.Text()
	p.Config = fmt.Sprintf(`{"issuer": "plugin-test", "audience": "carillon", "keys": [{"alg": "HS256", "secret": %q}]}`, secret)
	for _, l := range []struct {
		name    string
		secret  string
		left    time.Duration
		refused protocol.Code
	}{
		{"a good token", secret, time.Hour, 0},
		{"an expired token", secret, -time.Hour, protocol.CodeTokenExpired},
		{"a token of another key", rand.Text() + rand.Text(), time.Hour, protocol.CodeTokenBadSignature},
	} {
		signer, err := authjwt.NewSigner("", []byte(l.secret))
		if err != nil {
			return err
		}
		token, err := signer.Sign(map[string]any{
			"iss": "plugin-test", "aud": "carillon", "sub": "alice", "exp": time.Now().Add(l.left).Unix(), "carillon": map[string]any{"publish": []string{"a.>"}},
		})
		if err != nil {
			return err
		}
		one := plugintest.Login{Name: l.name, Refused: l.refused, Credentials: broker.Credentials{Token: token, Transport: "ws"}}
		if l.refused == 0 {
			one.User = "alice"
		}
		p.Logins = append(p.Logins, one)
	}
	return nil
}
