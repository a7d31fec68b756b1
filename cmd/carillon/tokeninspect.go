package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/protocol"
)

// tokenInspectCmd is `carillon token inspect`.
type tokenInspectCmd struct {
	Config   string `short:"c" help:"Configuration of the broker that the token is for." env:"CARILLON_CONFIG" placeholder:"FILE"`
	Key      string `help:"File with the key to verify with, instead of the configuration's: a public key or certificate in PEM, a JSON Web Key Set, or an HS256 secret." placeholder:"FILE"`
	Issuer   string `name:"iss" aliases:"issuer" help:"The iss that is wanted, instead of the configuration's." placeholder:"ISS"`
	Audience string `name:"aud" aliases:"audience" help:"The aud that is wanted, instead of the configuration's." placeholder:"AUD"`
	Token    string `arg:"" optional:"" env:"CARILLON_TOKEN" help:"The token; - reads it from standard input."`
}

// Run prints header and claims as JSON, and on standard error whether the broker would take the token. It fails, with the
// broker's own words, if it would not.
func (c *tokenInspectCmd) Run(ctx context.Context, s streams) error {
	token := c.Token
	if token == "-" {
		b, err := io.ReadAll(io.LimitReader(s.in, 2*protocol.MaxTokenBytes))
		if err != nil {
			return err
		}
		token = strings.TrimSpace(string(b))
	}
	if token == "" {
		return usage("there is no token; give it as an argument, in CARILLON_TOKEN, or - for standard input")
	}
	cfg, err := c.wanted()
	if err != nil {
		return err
	}
	said, err := authjwt.Inspect(token)
	if err != nil {
		return refusedOffline(err)
	}
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"header": said.Header, "claims": said.Claims}); err != nil {
		return err
	}
	if cfg == nil {
		fmt.Fprintln(s.err, "carillon: nothing was verified; with -c carillon.yaml, or --key, --iss and --aud, it is")
		return nil
	}
	return c.verify(ctx, s, token, *cfg)
}

// wanted is what the token is verified against; nil for nothing.
func (c *tokenInspectCmd) wanted() (*authjwt.Config, error) {
	if c.Config == "" && c.Key == "" && c.Issuer == "" && c.Audience == "" {
		return nil, nil
	}
	var cfg authjwt.Config
	if c.Config != "" {
		var err error
		if cfg, err = authConfig(c.Config); err != nil {
			return nil, err
		}
	}
	if c.Key == "" && c.Issuer == "" && c.Audience == "" {
		return &cfg, nil
	}
	if len(cfg.Issuers) > 0 {
		return nil, usage("--key, --iss and --aud stand for the only issuer, and %s has several; leave them out, or leave out -c", c.Config)
	}
	if c.Key != "" {
		var err error
		if cfg.Keys, cfg.JWKS, err = authjwt.ReadKeys(c.Key); err != nil {
			return nil, usage("--key: %v", err)
		}
	}
	cfg.Issuer, cfg.Audience = or(c.Issuer, cfg.Issuer), or(c.Audience, cfg.Audience)
	if len(cfg.Keys) == 0 && cfg.JWKS.URL == "" && cfg.JWKS.File == "" || cfg.Issuer == "" || cfg.Audience == "" {
		return nil, usage("--key, --iss and --aud are needed, all three, or a configuration that has them (-c carillon.yaml)")
	}
	return &cfg, nil
}

// refusedOffline ends with the broker's words and exit code 1: no broker was asked.
func refusedOffline(err error) error {
	return &exitError{exitFailed, fmt.Errorf("a broker would refuse this token: %w", err)}
}

func (c *tokenInspectCmd) verify(ctx context.Context, s streams, token string, cfg authjwt.Config) error {
	auth, err := authjwt.New(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = auth.Close() }()
	id, err := auth.Authenticate(ctx, broker.Credentials{Token: token, Transport: "http"})
	if refusal, is := errors.AsType[*protocol.Error](err); is {
		return refusedOffline(refusal)
	}
	if err != nil {
		return fmt.Errorf("a broker could not decide about this token now, and would tell the client to come back: %w", err)
	}
	if time.Now().Before(id.Expires) {
		fmt.Fprintf(s.err, "carillon: good until %s, for user %q\n", id.Expires.Format(time.RFC3339), id.User)
	} else {
		fmt.Fprintf(s.err, "carillon: expired at %s, within the leeway of %v; for user %q\n", id.Expires.Format(time.RFC3339), leeway(cfg), id.User)
	}
	if len(id.Grants) == 0 {
		fmt.Fprintln(s.err, `carillon: it may read its user's own topics and nothing else: it has no claim like "carillon": {"publish": ["orders.*"], "subscribe": ["orders.>"]}`)
	}
	for _, g := range id.Grants {
		fmt.Fprintf(s.err, "    %s %s\n", actions(g.Actions), g.Filter)
	}
	withheld, err := auth.Withheld(token)
	for _, w := range withheld {
		fmt.Fprintf(s.err, "    not granted: %s\n", w)
	}
	return err
}

// leeway is how long after its exp a token is taken: see authjwt.Config.
func leeway(c authjwt.Config) time.Duration { return cmp.Or(c.Leeway, 30*time.Second) }

// actions names what a grant allows.
func actions(a broker.Action) string {
	var names []string
	for _, n := range []struct {
		action broker.Action
		name   string
	}{
		{broker.ActionPublish, "publish"},
		{broker.ActionSubscribe, "subscribe"},
		{broker.ActionHistory, "history"},
		{broker.ActionPresence, "presence"},
		{broker.ActionExclude, "exclude"},
	} {
		if a&n.action != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}
