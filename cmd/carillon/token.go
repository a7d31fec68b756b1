package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/protocol"
)

// tokenCmd is `carillon token`.
type tokenCmd struct {
	New     tokenNewCmd     `cmd:"" help:"Make a token for the bundled plugin auth-jwt."`
	Inspect tokenInspectCmd `cmd:"" help:"Show what a token says, and why a broker would refuse it."`
}

// tokenNewCmd is `carillon token new`.
type tokenNewCmd struct {
	Config    string        `short:"c" help:"Configuration to take issuer, audience and, of an HS256 key, the secret from." env:"CARILLON_CONFIG" placeholder:"FILE"`
	Sub       string        `required:"" help:"Who the token is for." placeholder:"USER"`
	Publish   []string      `sep:"none" help:"Filter of topics it may publish to; may be repeated." placeholder:"F"`
	Subscribe []string      `sep:"none" help:"Filter it may subscribe to; may be repeated." placeholder:"F"`
	History   []string      `sep:"none" help:"Filter it may read back in time without a bound; may be repeated." placeholder:"F"`
	TTL       time.Duration `name:"ttl" default:"1h" help:"How long it is good, such as 30m or 12h; ${default} unless told." placeholder:"D"`
	Key       string        `help:"File with the key to sign with: a private key in PEM, or an HS256 secret." placeholder:"FILE"`
	Kid       string        `help:"Id of the key; with --config, which key to take." placeholder:"ID"`
	Issuer    string        `help:"Instead of the configuration's." placeholder:"ISS"`
	Audience  string        `help:"Instead of the configuration's." placeholder:"AUD"`
}

// Validate is called by kong.
func (c *tokenNewCmd) Validate() error {
	if c.TTL <= 0 {
		return errors.New("--ttl has to be more than 0")
	}
	for _, filters := range [][]string{c.Publish, c.Subscribe, c.History} {
		for _, f := range filters {
			if err := protocol.ValidateFilter(f); err != nil {
				return fmt.Errorf("filter %q: %w", f, err)
			}
		}
	}
	return nil
}

// Run prints the token.
func (c *tokenNewCmd) Run(s streams) error {
	signer, err := c.signer()
	if err != nil {
		return err
	}
	if c.Issuer == "" || c.Audience == "" {
		return usage("--issuer and --audience are needed, or a configuration that has them (-c carillon.yaml)")
	}
	now := time.Now()
	grants := map[string][]string{}
	for action, filters := range map[string][]string{"publish": c.Publish, "subscribe": c.Subscribe, "history": c.History} {
		if len(filters) > 0 {
			grants[action] = filters
		}
	}
	token, err := signer.Sign(map[string]any{
		"iss": c.Issuer, "aud": c.Audience, "sub": c.Sub, "iat": now.Unix(), "exp": now.Add(c.TTL).Unix(), "jti": rand.Text(),
		"carillon": grants,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, token)
	return err
}

// signer makes the signer and fills in what the configuration knows.
func (c *tokenNewCmd) signer() (*authjwt.Signer, error) {
	var cfg authjwt.Config
	if c.Config != "" {
		var err error
		if cfg, err = authConfig(c.Config); err != nil {
			return nil, err
		}
		c.Issuer, c.Audience = or(c.Issuer, cfg.Issuer), or(c.Audience, cfg.Audience)
	}
	if c.Key != "" {
		key, err := os.ReadFile(c.Key)
		if err != nil {
			return nil, err
		}
		return newSigner(c.Kid, key)
	}
	if c.Kid != "" && c.Config != "" {
		if err := c.knowsKid(cfg.Keys); err != nil {
			return nil, err
		}
	}
	for _, k := range cfg.Keys {
		if k.Alg != authjwt.HS256 || c.Kid != "" && k.ID != c.Kid {
			continue
		}
		if k.File == "" {
			return newSigner(k.ID, []byte(k.Secret))
		}
		key, err := os.ReadFile(k.File)
		if err != nil {
			return nil, err
		}
		return newSigner(k.ID, key)
	}
	return nil, usage("--key is needed: a file with a private key in PEM or an HS256 secret; a configuration with an HS256 key does too (-c carillon.yaml)")
}

// knowsKid fails when none of the configuration's keys is the one that was asked for, and names those that are there.
func (c *tokenNewCmd) knowsKid(keys []authjwt.Key) error {
	var there []string
	for _, k := range keys {
		if k.ID == c.Kid {
			return nil
		}
		if k.ID != "" {
			there = append(there, strconv.Quote(k.ID))
		}
	}
	if len(there) == 0 {
		return usage("--kid: there is no key %q in %s; no key there has a kid", c.Kid, c.Config)
	}
	return usage("--kid: there is no key %q in %s; there is %s", c.Kid, c.Config, strings.Join(there, ", "))
}

func newSigner(kid string, key []byte) (*authjwt.Signer, error) {
	s, err := authjwt.NewSigner(kid, key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return s, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// authConfig is the configuration of auth-jwt in the broker's configuration file.
func authConfig(file string) (authjwt.Config, error) {
	l, err := (&settings{Config: file}).load(nil)
	if err != nil {
		return authjwt.Config{}, &exitError{exitUsage, err}
	}
	if l.Auth.Plugin != "auth-jwt" || l.Auth.Path != "" {
		return authjwt.Config{}, usage("%s does not use the plugin auth-jwt, whose tokens these are", file)
	}
	return authjwt.ParseConfig(orEmpty(l.Auth.Config))
}

// tokenInspectCmd is `carillon token inspect`.
type tokenInspectCmd struct {
	Config string `short:"c" help:"Configuration of the broker that the token is for; without it nothing is verified." env:"CARILLON_CONFIG" placeholder:"FILE"`
	Token  string `arg:"" optional:"" env:"CARILLON_TOKEN" help:"The token; - reads it from standard input."`
}

// Run prints header and claims as JSON, and on standard error whether the broker would take the token.
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
	said, err := authjwt.Inspect(token)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"header": said.Header, "claims": said.Claims}); err != nil {
		return err
	}
	if c.Config == "" {
		fmt.Fprintln(s.err, "carillon: nothing was verified; with -c carillon.yaml it is")
		return nil
	}
	return c.verify(ctx, s, token)
}

func (c *tokenInspectCmd) verify(ctx context.Context, s streams, token string) error {
	cfg, err := authConfig(c.Config)
	if err != nil {
		return err
	}
	auth, err := authjwt.New(cfg)
	if err != nil {
		return err
	}
	id, err := auth.Authenticate(ctx, broker.Credentials{Token: token, Transport: "http"})
	if err != nil {
		return err
	}
	if time.Now().Before(id.Expires) {
		fmt.Fprintf(s.err, "carillon: good until %s, for user %q\n", id.Expires.Format(time.RFC3339), id.User)
	} else {
		fmt.Fprintf(s.err, "carillon: expired at %s, within the leeway of %v; for user %q\n", id.Expires.Format(time.RFC3339), leeway(cfg), id.User)
	}
	for _, g := range id.Grants {
		fmt.Fprintf(s.err, "    %s %s\n", actions(g.Actions), g.Filter)
	}
	return nil
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
	} {
		if a&n.action != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ", ")
}
