package authjwt

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

var (
	_ broker.Authenticator = (*Auth)(nil)
	_ broker.Revoker       = (*Auth)(nil)
)

// Auth verifies tokens. It is safe for concurrent use.
type Auth struct {
	cfg     Config
	issuers []*trust
	byName  map[string]*trust
	revoked *revocations

	stop    context.CancelFunc // ends what Start has started
	running sync.WaitGroup
}

// New loads the key files and the list of what is revoked, and checks the configuration. It asks no URL: see Start. The errors name the key that
// is wrong, and never show a secret.
func New(cfg Config) (*Auth, error) {
	a, err := build(cfg.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("auth-jwt configuration: %w", err)
	}
	return a, nil
}

func build(cfg Config) (*Auth, error) {
	all, err := cfg.AllIssuers()
	if err != nil {
		return nil, err
	}
	a := &Auth{cfg: cfg, byName: map[string]*trust{}, stop: func() {}}
	everyone, err := templatesOf("", cfg.Grants, cfg.GrantsFor)
	if err != nil {
		return nil, err
	}
	for i, of := range all {
		made, err := newTrust(cfg.path(i), of, everyone, cfg.Logger)
		if err != nil {
			return nil, err
		}
		a.issuers = append(a.issuers, made)
		a.byName[of.Issuer] = made
	}
	if a.revoked, err = newRevocations(cfg.Revoked, cfg.Logger); err != nil {
		return nil, fmt.Errorf("revoked: %w", err)
	}
	return a, nil
}

// Start keeps key sets and the list of what is revoked fresh in the background, until Close. It waits for nothing: until an issuer's keys were
// had from its URL for the first time, a token has them asked for, and there is no decision about it if they can't be had. Without Start
// everything stays as New has read it, and a URL is asked when a token needs it.
func (a *Auth) Start() {
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	for _, i := range a.issuers {
		if i.source != nil {
			a.running.Go(func() { i.source.keepFresh(ctx) })
		}
	}
	if a.cfg.Revoked != "" {
		a.running.Go(func() { a.watchRevoked(ctx) })
	}
}

func (a *Auth) watchRevoked(ctx context.Context) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			a.revoked.poll()
		case <-ctx.Done():
			return
		}
	}
}

// Close ends what is under way and returns when nothing is. No token is verified any more by a key that is not there yet.
func (a *Auth) Close() error {
	a.stop()
	for _, i := range a.issuers {
		if i.source != nil {
			i.source.close()
		}
	}
	a.running.Wait()
	return nil
}

// Authenticate implements broker.Authenticator. An error that is no *protocol.Error, whose code is one of a token's, means that the keys for the
// token's issuer could not be had.
func (a *Auth) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	if c.Token == "" {
		return nil, protocol.Errorf(protocol.CodeTokenMissing, "found no token, and this broker lets in nobody without one")
	}
	t, err := parseToken(c.Token)
	if err != nil {
		return nil, err
	}
	from, err := a.issuerOf(t)
	if err != nil {
		return nil, err
	}
	k, err := from.key(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := k.verify(t); err != nil {
		return nil, err
	}
	return a.identity(t, from)
}

// issuerOf is whose keys t has to fit. That t names it is not believed: only that one's keys are tried.
func (a *Auth) issuerOf(t *token) (*trust, error) {
	if len(a.issuers) == 1 {
		return a.issuers[0], nil
	}
	iss, ok := t.claims["iss"].(string)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeTokenWrongIssuer, "the token has no iss, this broker knows %d issuers", len(a.issuers)).
			WithHint(issuerHint)
	}
	if from := a.byName[iss]; from != nil {
		return from, nil
	}
	return nil, protocol.Errorf(protocol.CodeTokenWrongIssuer, "iss is %s, which is none of this broker's %d issuers", quote(iss), len(a.issuers)).
		WithHint(issuerHint)
}

// brokerLeeway is how long after an identity's expiry a broker ends its session by itself, as the contract says. What the configured leeway is
// beyond that stands in the expiry: otherwise a token that is good by it would give an identity that the broker does not take.
const brokerLeeway = 30 * time.Second

// identity reads the claims of t, whose signature is right.
func (a *Auth) identity(t *token, from *trust) (*broker.Identity, error) {
	if err := checkKind(t); err != nil {
		return nil, err
	}
	c := claims(t.claims)
	if err := checkNames("payload", c, claimNames); err != nil {
		return nil, err
	}
	if err := c.checkIssuer(from.name); err != nil {
		return nil, err
	}
	if err := c.checkAudience(from.audience); err != nil {
		return nil, err
	}
	expires, err := c.checkTimes(a.cfg.Now(), a.cfg.Leeway, a.cfg.MaxLifetime)
	if err != nil {
		return nil, err
	}
	id := &broker.Identity{Expires: expires.Add(max(0, a.cfg.Leeway-brokerLeeway)), Issued: c.issued(a.cfg.Now())}
	if id.User, err = c.subject(from.userPrefix); err != nil {
		return nil, err
	}
	if id.TokenID, err = c.tokenID(from.userPrefix); err != nil {
		return nil, err
	}
	if err := a.checkOwn(id, from); err != nil {
		return nil, err
	}
	if err := a.revoked.list.Load().check(c, from.name); err != nil {
		return nil, err
	}
	return id, c.fill(id, from.grants)
}

// checkOwn refuses a user or a token of one issuer that is called as those of another are, whose prefix is longer: each id is one issuer's.
func (a *Auth) checkOwn(id *broker.Identity, from *trust) error {
	for _, other := range a.issuers {
		if len(other.userPrefix) <= len(from.userPrefix) {
			continue
		}
		for name, text := range map[string]string{"sub": id.User, "jti": id.TokenID} {
			if strings.HasPrefix(text, other.userPrefix) {
				return badClaims("%s begins with %s, as the users of another issuer do (user_prefix)", name, quote(other.userPrefix)).
					WithHint("Whoever runs the broker gives that issuer a prefix with which no id of this one's begins.")
			}
		}
	}
	return nil
}
