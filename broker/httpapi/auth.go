package httpapi

import (
	"context"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// authenticate finds out who r is from, which came by "sse", "poll" or as an ordinary request, "http". A refusal is a *protocol.Error.
func (h *Handler) authenticate(r *request, transport string) (*broker.Identity, error) {
	token, refusal := h.rules.Token(r.Request)
	if refusal != nil {
		return nil, refusal
	}
	headers, refusal := h.rules.Headers(r.Request)
	if refusal != nil {
		return nil, refusal
	}
	id, err := h.auth.identity(r.Context(), broker.Credentials{Token: token, Transport: transport, Remote: r.remote, Header: headers})
	if err == nil {
		r.user = id.User
	}
	return id, err
}

// authCache remembers for a short time who shows what, so that a service that publishes by single requests does not have the authenticator asked
// for each. An answer is found again by everything that it was made from (broker.Credentials.Fingerprint), none of which is kept. Refusals are not
// kept, no answer outlives its expiry, and none is used that has been revoked since.
type authCache struct {
	b      Broker
	ttl    time.Duration
	size   int
	secret [32]byte
	flight singleflight.Group // one question at a time for the same credentials

	mu      sync.Mutex
	entries map[broker.Fingerprint]cachedIdentity
	swept   time.Time // when what had run out was looked for
}

type cachedIdentity struct {
	id    *broker.Identity
	until time.Time
}

func newAuthCache(b Broker, ttl time.Duration, size int) *authCache {
	c := &authCache{b: b, ttl: ttl, size: size, entries: map[broker.Fingerprint]cachedIdentity{}}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

func (c *authCache) identity(ctx context.Context, creds broker.Credentials) (*broker.Identity, error) {
	if creds.Token == "" && len(creds.Header) == 0 {
		return c.b.Authenticate(ctx, creds)
	}
	key := creds.Fingerprint(c.secret[:])
	if id := c.get(key); id != nil && c.b.Revoked(id) == nil {
		return id, nil
	}
	// The answer is for everybody who waits for it, so it does not end with the request that asked first; the broker bounds it.
	answer, err, _ := c.flight.Do(string(key[:]), func() (any, error) {
		id, err := c.b.Authenticate(context.WithoutCancel(ctx), creds)
		if err == nil {
			c.put(key, id)
		}
		return id, err
	})
	if err != nil {
		return nil, err
	}
	id, ok := answer.(*broker.Identity)
	if !ok || id == nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "no authentication decision could be had")
	}
	return id, nil
}

func (c *authCache) get(key broker.Fingerprint) *broker.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !time.Now().Before(e.until) {
		return nil
	}
	return e.id
}

func (c *authCache) put(key broker.Fingerprint, id *broker.Identity) {
	now := time.Now()
	until := now.Add(c.ttl)
	if !id.Expires.IsZero() && id.Expires.Before(until) {
		until = id.Expires
	}
	if !now.Before(until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.size {
		c.makeRoomLocked(now)
	}
	c.entries[key] = cachedIdentity{id, until}
}

// makeRoomLocked drops what has run out, and anything at all if that was nothing. Who shows something else with each request has nobody wait: the
// whole is not looked through again before there can be much to find.
func (c *authCache) makeRoomLocked(now time.Time) {
	if now.Sub(c.swept) >= c.ttl {
		c.swept = now
		maps.DeleteFunc(c.entries, func(_ broker.Fingerprint, e cachedIdentity) bool { return !now.Before(e.until) })
	}
	for k := range c.entries {
		if len(c.entries) < c.size {
			return
		}
		delete(c.entries, k)
	}
}

// CheckProxy reports what is wrong with an entry of Options.TrustedProxies.
func CheckProxy(text string) error {
	_, err := webrules.ParseProxy(text)
	return err
}
