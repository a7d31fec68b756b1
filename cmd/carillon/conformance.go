package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	"github.com/carillon-mq/carillon/spec/conformance"
)

// conformanceCmd plays the scripts of spec/conformance. Without --server and --sdk it starts a broker of its own, which has everything that they need.
type conformanceCmd struct {
	Server        string        `env:"CARILLON_SERVER" help:"Test the server at this address (ws://HOST:PORT/ws) and not a carillon started for the purpose." placeholder:"URL"`
	SDK           string        `name:"sdk" help:"Test the SDK that this program drives (spec/conformance/README.md), with a broker of the scripts' own." placeholder:"CMD"`
	Token         string        `env:"CARILLON_TOKEN" help:"Token for that server: it has to allow everything below the topic conformance." placeholder:"TOKEN"`
	TokenCommand  string        `help:"Program that prints a token for that server; USER, PUBLISH, SUBSCRIBE, HISTORY, PRESENCE, EXCLUDE (filters with blanks between) and TTL are in its environment. Without it scripts about rights are skipped." placeholder:"CMD"`
	RevokeCommand string        `help:"Program that has a token of that server revoked, TOKEN in its environment. Without it scripts about that are skipped." placeholder:"CMD"`
	Stored        string        `help:"Topic of that server below which everything is stored. Without it scripts about stored topics are skipped." placeholder:"TOPIC"`
	Anonymous     bool          `help:"That server lets in clients without a token."`
	Cookie        string        `help:"Cookie in which that server takes tokens. Without it scripts about that are skipped." placeholder:"NAME"`
	ResumeWindow  time.Duration `help:"How far back a resume without the right to history reaches at that server, 10m unless that is configured: scripts about it wait as long, and are skipped without." placeholder:"D"`
	RunPattern    string        `name:"run" help:"Play the scripts whose file/name matches." placeholder:"PATTERN"`
	Format        string        `default:"text" enum:"text,json,junit" help:"Of the report: ${enum}."`
	List          bool          `help:"Only name the scripts, and the rules that each shows."`
	trustFlags
}

// Run implements the verb.
func (c *conformanceCmd) Run(ctx context.Context, s streams) error {
	kind := conformance.Sessions
	if c.SDK != "" {
		kind = conformance.Clients
	}
	scripts, err := kind(c.RunPattern)
	if err != nil {
		return usage("--run: %v", err)
	}
	if len(scripts) == 0 {
		return usage("--run %q matches no script; --list names them", c.RunPattern)
	}
	if c.List {
		for _, script := range scripts {
			fmt.Fprintf(s.out, "%s\t%s\t%s\n", script.ID(), strings.Join(script.Rules, " "), script.About)
		}
		return nil
	}
	if command := strings.Fields(c.SDK); len(command) > 0 {
		if _, err := exec.LookPath(command[0]); err != nil {
			return usage("--sdk: %v", err)
		}
		return c.report(s, conformance.PlaySDK(ctx, command, scripts, c.tell(s)))
	}
	server, stop, err := c.server(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	return c.report(s, conformance.Play(ctx, server, scripts, c.tell(s)))
}

// tell tells each result as it comes, if people read it.
func (c *conformanceCmd) tell(s streams) func(*conformance.Result) {
	if c.Format != "text" {
		return nil
	}
	return func(r *conformance.Result) {
		var text strings.Builder
		r.Text(&text)
		for line := range strings.Lines(text.String()) {
			fmt.Fprintln(s.out, printable(strings.TrimSuffix(line, "\n")))
		}
	}
}

// report ends the report. A script that failed is exit code 1.
func (c *conformanceCmd) report(s streams, results []*conformance.Result) error {
	var err error
	switch c.Format {
	case "json":
		err = conformance.JSON(s.out, results)
	case "junit":
		err = conformance.JUnit(s.out, results)
	default:
		fmt.Fprintln(s.out, conformance.Summary(results))
	}
	if err != nil {
		return err
	}
	if conformance.Count(results, conformance.Failed) > 0 {
		return &exitError{exitFailed, nil}
	}
	return nil
}

// server is the one at --server, or one of our own.
func (c *conformanceCmd) server(ctx context.Context, s streams) (*conformance.Server, func(), error) {
	if c.Server == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, nil, err
		}
		own, err := conformance.StartOwn(ctx, exe, s.err)
		if err != nil {
			return nil, nil, err
		}
		return &own.Server, own.Stop, nil
	}
	u, err := url.Parse(c.Server)
	if err != nil || u.Host == "" || !slices.Contains([]string{"ws", "wss"}, u.Scheme) {
		return nil, nil, usage("--server %q is not a URL like ws://127.0.0.1:8080/ws", c.Server)
	}
	if c.Stored != "" && protocol.ValidateTopic(c.Stored) != nil {
		return nil, nil, usage("--stored %q is not a topic", c.Stored)
	}
	client, err := c.client()
	if err != nil {
		return nil, nil, err
	}
	server := &conformance.Server{URL: c.Server, Client: client, Token: c.Token, Anonymous: c.Anonymous, Stored: c.Stored, Cookie: c.Cookie, ResumeWindow: c.ResumeWindow}
	if strings.TrimSpace(c.TokenCommand) != "" {
		server.Tokens = c.commandToken
	}
	if strings.TrimSpace(c.RevokeCommand) != "" {
		server.Revoke = c.commandRevoke
	}
	if err := server.Reach(ctx); errors.Is(err, conformance.ErrUnreachable) {
		return nil, nil, &exitError{exitUnreachable, fmt.Errorf("cannot reach %s: %w", u.Redacted(), plainDialError(err))}
	} else if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	return server, func() {}, nil
}

// commandToken asks --token-command for a token.
func (c *conformanceCmd) commandToken(ctx context.Context, r conformance.TokenRequest) (string, error) {
	words := strings.Fields(c.TokenCommand) // not empty: server has looked
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "USER="+r.User, "PUBLISH="+strings.Join(r.Publish, " "), "SUBSCRIBE="+strings.Join(r.Subscribe, " "),
		"HISTORY="+strings.Join(r.History, " "), "PRESENCE="+strings.Join(r.Presence, " "), "EXCLUDE="+strings.Join(r.Exclude, " "), "TTL="+r.TTL.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("--token-command: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// commandRevoke has --revoke-command revoke a token.
func (c *conformanceCmd) commandRevoke(ctx context.Context, token string) error {
	words := strings.Fields(c.RevokeCommand) // not empty: server has looked
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "TOKEN="+token)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("--revoke-command: %w", err)
	}
	return nil
}
