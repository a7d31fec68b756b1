package authjwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

const (
	// askAgain is the least time between two questions that tokens cause: who makes up key ids has the issuer asked no more often.
	askAgain     = 10 * time.Second
	firstRetry   = time.Second
	longestRetry = time.Minute
)

var errClosed = errors.New("the plugin is ending")

// keySource is an issuer's key set, asked for in the background and, when a token names a key that it does not have, at once. The last
// good set is used until it is older than keep; then, and before the first one, there is no decision about the issuer's tokens.
// It is safe for concurrent use.
type keySource struct {
	issuer  string
	fixed   keyring // configured keys, which are always there
	load    func(ctx context.Context) (keySet, error)
	refresh time.Duration
	keep    time.Duration // 0: for ever
	again   time.Duration // see askAgain
	log     *slog.Logger

	ctx    context.Context // ends with close; what it loads is for every token that waits, and so outlives each
	cancel context.CancelFunc
	asks   sync.WaitGroup

	mu     sync.Mutex
	ring   keyring // fixed and the set's
	got    time.Time
	tried  time.Time
	err    error         // of the last try
	asking chan struct{} // closed when the try under way has ended; nil: there is none
	fails  int           // since the last success
	said   string        // what was logged last, so that it is not logged again and again
	closed bool
}

// errUnchanged is load's answer when the set is the one that it returned last.
var errUnchanged = errors.New("the key set has not changed")

func newKeySource(issuer string, fixed keyring, log *slog.Logger) *keySource {
	ctx, cancel := context.WithCancel(context.Background())
	return &keySource{issuer: issuer, fixed: fixed, log: log, again: askAgain, ctx: ctx, cancel: cancel}
}

// find returns the key for t. An error that is no *protocol.Error means that it could not be found out.
func (s *keySource) find(ctx context.Context, t *token) (key, error) {
	ring, err := s.held()
	if err != nil {
		ring = s.fixed
	}
	if k, err := ring.find(t); protocol.CodeOf(err) != protocol.CodeTokenUnknownKey {
		return k, err
	}
	if err := s.ask(ctx); err != nil {
		return key{}, fmt.Errorf("the keys of issuer %s: %w", quote(s.issuer), err)
	}
	if ring, err = s.held(); err != nil {
		return key{}, err
	}
	return ring.find(t)
}

// held is the keys in use. It fails when there are none, or when they have become too old.
func (s *keySource) held() (keyring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got.IsZero() {
		return nil, fmt.Errorf("the keys of issuer %s have not been had yet", quote(s.issuer))
	}
	if age := time.Since(s.got); s.keep > 0 && age > s.keep {
		return nil, fmt.Errorf("the keys of issuer %s are %v old, which is longer than jwks.keep: %w", quote(s.issuer), ago(age), s.err)
	}
	return s.ring, nil
}

// ask has the set loaded, unless that was tried a moment ago, and returns how it went. Whoever comes meanwhile waits for the same answer.
func (s *keySource) ask(ctx context.Context) error {
	s.mu.Lock()
	asking := s.asking
	if asking == nil && !s.tried.IsZero() && time.Since(s.tried) < s.again {
		defer s.mu.Unlock()
		return s.err
	}
	if asking == nil {
		asking = s.startLocked()
	}
	s.mu.Unlock()
	return s.await(ctx, asking)
}

// askNow is ask without the bound, for whoever keeps to one of its own.
func (s *keySource) askNow(ctx context.Context) error {
	s.mu.Lock()
	asking := s.asking
	if asking == nil {
		asking = s.startLocked()
	}
	s.mu.Unlock()
	return s.await(ctx, asking)
}

// startLocked starts a try. The channel is closed when it has ended.
func (s *keySource) startLocked() chan struct{} {
	done := make(chan struct{})
	if s.closed {
		s.err = errClosed
		close(done)
		return done
	}
	s.asking, s.tried = done, time.Now()
	s.asks.Go(s.try)
	return done
}

func (s *keySource) await(ctx context.Context, asking <-chan struct{}) error {
	select {
	case <-asking:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try loads the set once.
func (s *keySource) try() {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	defer cancel()
	set, err := s.load(ctx)
	var ring keyring
	if err == nil {
		ring, err = s.join(set.keys)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.ring, s.got, s.err, s.fails = ring, time.Now(), nil, 0
		s.tellLocked(set.skipped)
	case errors.Is(err, errUnchanged) && !s.got.IsZero() && s.fails == 0:
		s.got = time.Now()
	case errors.Is(err, errUnchanged): // and still broken
	default:
		s.err = err
		s.fails++
		s.tellLocked(nil)
	}
	if s.asking != nil {
		close(s.asking)
		s.asking = nil
	}
}

// join is the configured keys and those of a set. A kid that is in both would leave it to chance which one counts.
func (s *keySource) join(set keyring) (keyring, error) {
	for _, k := range set {
		for _, fixed := range s.fixed {
			if k.kid == fixed.kid && k.kid != "" {
				return nil, fmt.Errorf("the key set has the kid %s, which is configured under keys too", quote(k.kid))
			}
		}
	}
	return append(append(keyring(nil), s.fixed...), set...), nil
}

// tellLocked logs how a try has gone, unless that is what was logged last.
func (s *keySource) tellLocked(skipped []string) {
	reason := fmt.Sprintf("issuer %s: %v", s.issuer, s.err)
	if s.err == nil {
		reason = strings.Join(append([]string{fmt.Sprintf("issuer %s: in use %s", s.issuer, s.ring.names())}, skipped...), "; ")
	}
	switch {
	case reason == s.said || s.ctx.Err() != nil:
	case s.err == nil:
		s.log.Info("keys of an issuer loaded", "plugin", "auth-jwt", "reason", reason, "count", len(s.ring))
	default:
		s.log.Warn("keys of an issuer could not be loaded; the last good ones stay in use", "plugin", "auth-jwt", "reason", reason, "count", len(s.ring))
	}
	s.said = reason
}

// keepFresh asks again and again until ctx ends: after refresh, give or take a tenth so that brokers do not ask together, and sooner after
// a failure.
func (s *keySource) keepFresh(ctx context.Context) {
	for {
		if err := s.askNow(ctx); ctx.Err() != nil || errors.Is(err, errClosed) {
			return
		}
		timer := time.NewTimer(s.pause())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// pause is the time until the next question.
func (s *keySource) pause() time.Duration {
	s.mu.Lock()
	fails := s.fails
	s.mu.Unlock()
	wait := s.refresh
	if fails > 0 {
		wait = min(s.refresh, longestRetry, firstRetry<<min(fails-1, 10))
	}
	return wait + time.Duration((rand.Float64()-0.5)*0.2*float64(wait))
}

// close ends what is under way and returns when nothing is.
func (s *keySource) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.asks.Wait()
}
