package httpapi

import (
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// rates holds the publishes of users to what their own tokens say (broker.SessionLimits). Whose token says nothing is not limited here: one token of
// a service may publish for all users (docs/adr/0032). All requests of a user count together.
type rates struct {
	burst, payload int // publishes at once at least; bytes
	size           int // users that are remembered; beyond them some begin anew

	mu    sync.Mutex
	users map[string]*spent
}

// spent is what a user has taken lately; nil of what no token has stated.
type spent struct{ publishes, bytes *rate.Limiter }

func newRates(burst, payload, size int) *rates {
	return &rates{burst: burst, payload: payload, size: size, users: map[string]*spent{}}
}

// allow counts n publishes of size bytes of payload each, if the rates that id states allow them.
func (r *rates) allow(id *broker.Identity, now time.Time, n, size int) *protocol.Error {
	perSecond, bytes := id.Limits.PublishRate, id.Limits.PublishBytes
	if perSecond <= 0 && bytes <= 0 { // not stated, or unlimited
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.ofLocked(id.User, now)
	if perSecond > 0 && !take(&s.publishes, now, perSecond, max(r.burst, perSecond), n) {
		return protocol.Errorf(protocol.CodeRateLimited, "found more than %d publishes a second, which is what the token allows", perSecond).WithRetryAfter(time.Second)
	}
	if bytes > 0 && !take(&s.bytes, now, bytes, max(r.payload, bytes), n*size) {
		return protocol.Errorf(protocol.CodeRateLimited, "found more than %d payload bytes a second, which is what the token allows", bytes).WithRetryAfter(time.Second)
	}
	return nil
}

// ofLocked is what a user has taken. When there are too many users, those go that have taken nothing for a while, and if there are none anybody.
func (r *rates) ofLocked(user string, now time.Time) *spent {
	if s := r.users[user]; s != nil {
		return s
	}
	if len(r.users) >= r.size {
		maps.DeleteFunc(r.users, func(_ string, s *spent) bool { return rested(s.publishes, now) && rested(s.bytes, now) })
	}
	for other := range r.users {
		if len(r.users) < r.size {
			break
		}
		delete(r.users, other)
	}
	s := &spent{}
	r.users[user] = s
	return s
}

func rested(l *rate.Limiter, now time.Time) bool {
	return l == nil || l.TokensAt(now) >= float64(l.Burst())
}

// take takes n at the rate that the token at hand states, which may differ from the one before. What is more than a whole burst costs one.
func take(l **rate.Limiter, now time.Time, perSecond, burst, n int) bool {
	if *l == nil {
		*l = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	(*l).SetLimitAt(now, rate.Limit(perSecond))
	(*l).SetBurstAt(now, burst)
	return (*l).AllowN(now, min(n, burst))
}
