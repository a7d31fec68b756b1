package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	JWKS    tokenJWKSCmd    `cmd:"" name:"jwks" help:"Print public keys as a JSON Web Key Set, for jwks.file of auth-jwt."`
}

// tokenNewCmd is `carillon token new`.
type tokenNewCmd struct {
	Config    string        `short:"c" help:"Configuration to take issuer, audience and, of an HS256 key, the secret from." env:"CARILLON_CONFIG" placeholder:"FILE"`
	Sub       string        `required:"" help:"Who the token is for." placeholder:"USER"`
	Publish   []string      `sep:"none" help:"Filter of topics it may publish to; may be repeated." placeholder:"F"`
	Subscribe []string      `sep:"none" help:"Filter it may subscribe to; may be repeated." placeholder:"F"`
	History   []string      `sep:"none" help:"Filter it may read back in time without a bound; may be repeated." placeholder:"F"`
	Presence  []string      `sep:"none" help:"Filter of topics in which it may be, and see who is there; may be repeated." placeholder:"F"`
	Exclude   []string      `sep:"none" help:"Filter of topics in whose messages it may exclude other origins; may be repeated." placeholder:"F"`
	TTL       time.Duration `name:"ttl" default:"1h" help:"How long it is good, such as 30m or 12h; ${default} unless told." placeholder:"D"`
	Key       string        `help:"File with the key to sign with: a private key in PEM, or an HS256 secret." placeholder:"FILE"`
	Kid       string        `help:"Id of the key; with --config, which key to take." placeholder:"ID"`
	Issuer    string        `help:"Instead of the configuration's; which one, where it has several." placeholder:"ISS"`
	Audience  string        `help:"Instead of the configuration's." placeholder:"AUD"`
}

// Validate is called by kong.
func (c *tokenNewCmd) Validate() error {
	if c.TTL <= 0 {
		return errors.New("--ttl has to be more than 0")
	}
	for _, filters := range [][]string{c.Publish, c.Subscribe, c.History, c.Presence, c.Exclude} {
		for _, f := range filters {
			if err := protocol.ValidateFilter(f); err != nil {
				return fmt.Errorf("filter %q: %w", f, err)
			}
		}
	}
	return nil
}

// Run prints the token.
func (c *tokenNewCmd) Run(ctx context.Context, s streams) error {
	signer, err := c.signer()
	if err != nil {
		return err
	}
	if c.Issuer == "" || c.Audience == "" {
		return usage("--issuer and --audience are needed, or a configuration that has them (-c carillon.yaml)")
	}
	now := time.Now()
	grants := map[string][]string{}
	for action, filters := range map[string][]string{
		"publish": c.Publish, "subscribe": c.Subscribe, "history": c.History, "presence": c.Presence, "exclude": c.Exclude,
	} {
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
	if c.Config != "" && c.Key == "" {
		if err := c.check(ctx, token); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(s.out, token)
	return err
}

// check fails if the claims are such that no broker of the configuration would take the token: it lives too long, say.
func (c *tokenNewCmd) check(ctx context.Context, token string) error {
	cfg, err := authConfig(c.Config)
	if err != nil {
		return err
	}
	auth, err := authjwt.New(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = auth.Close() }()
	_, err = auth.Authenticate(ctx, broker.Credentials{Token: token, Transport: "http"})
	if refusal, is := errors.AsType[*protocol.Error](err); is && refusal.Code == protocol.CodeTokenBadClaims {
		return usage("a broker with %s would refuse this token: %w", c.Config, refusal)
	}
	return nil // another issuer or audience may be what was asked for
}

// signer makes the signer and fills in what the configuration knows.
func (c *tokenNewCmd) signer() (*authjwt.Signer, error) {
	var cfg authjwt.Config
	if c.Config != "" {
		var err error
		if cfg, err = authConfig(c.Config); err != nil {
			return nil, err
		}
		if err := c.choose(&cfg); err != nil {
			return nil, err
		}
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
	return nil, usage("--key is needed: a file with a private key in PEM or an HS256 secret; a configuration with an HS256 key does too " +
		"(-c carillon.yaml). A broker has no key that signs for issuers with public keys or a key set")
}

// choose fills in issuer and audience, and leaves of several issuers the one that is asked for, or the first.
func (c *tokenNewCmd) choose(cfg *authjwt.Config) error {
	all, err := cfg.AllIssuers()
	if err != nil {
		return usage("%s: %v", c.Config, err)
	}
	of := all[0]
	var names []string
	for _, i := range all {
		names = append(names, strconv.Quote(i.Issuer))
		if i.Issuer == c.Issuer {
			of = i
		}
	}
	if len(all) > 1 && c.Issuer == "" {
		return usage("%s has several issuers: --issuer says which one, of %s", c.Config, strings.Join(names, ", "))
	}
	if len(all) > 1 && of.Issuer != c.Issuer {
		return usage("--issuer: %q is none of those in %s: %s", c.Issuer, c.Config, strings.Join(names, ", "))
	}
	c.Issuer, c.Audience, cfg.Keys = or(c.Issuer, of.Issuer), or(c.Audience, of.Audience), of.Keys
	return nil
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

// tokenJWKSCmd is `carillon token jwks`.
type tokenJWKSCmd struct {
	Files []string `arg:"" help:"Files with a key each: a public key, a certificate or a private key (of which the public half is taken) in PEM." placeholder:"FILE"`
	Kid   []string `sep:"none" help:"Id of the first key; repeated, of the second, and so on." placeholder:"ID"`
}

// Run prints the set.
func (c *tokenJWKSCmd) Run(s streams) error {
	if len(c.Kid) > len(c.Files) {
		return usage("--kid is given %d times, for %d files", len(c.Kid), len(c.Files))
	}
	set, err := authjwt.PublicKeySet(c.Files, c.Kid)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", set)
	return err
}
