package authjwt

import (
	"context"
	"errors"
	"fmt"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Authenticator = (*Auth)(nil)

// Auth verifies tokens. It is safe for concurrent use and holds no state but its configuration.
type Auth struct {
	cfg    Config
	keys   keyring
	grants []template
}

// New loads the keys and checks the configuration. The errors name the key that is wrong, and never show a secret.
func New(cfg Config) (*Auth, error) {
	cfg = cfg.withDefaults()
	if cfg.Issuer == "" {
		return nil, errors.New("auth-jwt configuration: issuer is missing")
	}
	if cfg.Audience == "" {
		return nil, errors.New("auth-jwt configuration: audience is missing")
	}
	keys, err := newKeyring(cfg.Keys, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("auth-jwt configuration: %w", err)
	}
	grants, err := cfg.Grants.templates()
	if err != nil {
		return nil, fmt.Errorf("auth-jwt configuration: grants: %w", err)
	}
	return &Auth{cfg: cfg, keys: keys, grants: grants}, nil
}

// Authenticate implements broker.Authenticator. Every error is a *protocol.Error with a token code.
func (a *Auth) Authenticate(_ context.Context, c broker.Credentials) (*broker.Identity, error) {
	if c.Token == "" {
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "found no token, and this broker lets in nobody without one")
	}
	t, err := parseToken(c.Token)
	if err != nil {
		return nil, err
	}
	k, err := a.keys.find(t)
	if err != nil {
		return nil, err
	}
	if err := k.verify(t); err != nil {
		return nil, err
	}
	return a.identity(t)
}

// identity reads the claims of t, whose signature is right.
func (a *Auth) identity(t *token) (*broker.Identity, error) {
	if err := checkKind(t); err != nil {
		return nil, err
	}
	c := claims(t.claims)
	if err := checkNames("payload", c, claimNames); err != nil {
		return nil, err
	}
	if err := c.checkIssuer(a.cfg.Issuer); err != nil {
		return nil, err
	}
	if err := c.checkAudience(a.cfg.Audience); err != nil {
		return nil, err
	}
	expires, err := c.checkTimes(a.cfg.Now(), a.cfg.Leeway, a.cfg.MaxLifetime)
	if err != nil {
		return nil, err
	}
	id := &broker.Identity{Expires: expires}
	if id.User, err = c.subject(); err != nil {
		return nil, err
	}
	if id.TokenID, err = c.tokenID(); err != nil {
		return nil, err
	}
	if err := c.fill(id, a.grants); err != nil {
		return nil, err
	}
	return id, nil
}
