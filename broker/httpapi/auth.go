package httpapi

import (
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// authenticate finds out who r is from. A refusal is a *protocol.Error.
func (h *Handler) authenticate(r *request) (*broker.Identity, error) {
	token, refusal := h.rules.Token(r.Request)
	if refusal != nil {
		return nil, refusal
	}
	headers, refusal := h.rules.Headers(r.Request)
	if refusal != nil {
		return nil, refusal
	}
	id, err := h.auth.identity(r.Context(), broker.Credentials{Token: token, Transport: "http", Remote: r.remote, Header: headers})
	if err == nil {
		r.user = id.User
	}
	return id, err
}

// authCache remembers for a short time who a token belongs to, so that a service that publishes by single requests does not
// ask the authenticator for each. Refusals are not kept, no answer outlives its expiry, and none is used that has been revoked since.
type authCache struct {
	b      Broker
	ttl    time.Duration
	size   int
	flight singleflight.Group // one question at a time for the same token

	mu      sync.Mutex
	entries map[tokenKey]cachedIdentity
}

// tokenKey stands for a token and headers, and the address they came from; they themselves are not kept.
type tokenKey [sha256.Size]byte

// keyOf tells apart any two credentials. Header names and values have no line breaks in them.
func keyOf(creds broker.Credentials) (key tokenKey) {
	h := sha256.New()
	write := func(s string) { _, _ = io.WriteString(h, s+"\n") } // never fails
	write(creds.Remote)
	write(creds.Token)
	for _, name := range slices.Sorted(maps.Keys(creds.Header)) {
		write(name)
		for _, value := range creds.Header[name] {
			write(" " + value)
		}
	}
	h.Sum(key[:0])
	return key
}

type cachedIdentity struct {
	id    *broker.Identity
	until time.Time
}

func newAuthCache(b Broker, ttl time.Duration, size int) *authCache {
	return &authCache{b: b, ttl: ttl, size: size, entries: map[tokenKey]cachedIdentity{}}
}

func (c *authCache) identity(ctx context.Context, creds broker.Credentials) (*broker.Identity, error) {
	if creds.Token == "" && len(creds.Header) == 0 {
		return c.b.Authenticate(ctx, creds)
	}
	key := keyOf(creds)
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

func (c *authCache) get(key tokenKey) *broker.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !time.Now().Before(e.until) {
		return nil
	}
	return e.id
}

func (c *authCache) put(key tokenKey, id *broker.Identity) {
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

// makeRoomLocked drops what has run out, and anything at all if that was nothing.
func (c *authCache) makeRoomLocked(now time.Time) {
	for k, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, k)
		}
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
