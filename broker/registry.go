package broker

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// registry knows every session and counts what is limited over all of them.
type registry struct {
	b             *Broker
	subscriptions atomic.Int64

	mu     sync.Mutex
	paused bool
	all    map[string]*Session // by id
	byUser map[string]int
	byAddr map[string]int
}

func newRegistry(b *Broker) *registry {
	return &registry{b: b, all: map[string]*Session{}, byUser: map[string]int{}, byAddr: map[string]int{}}
}

func (r *registry) add(s *Session) *protocol.Error {
	limits := &r.b.opt.Limits
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b.draining.Load() {
		return protocol.Errorf(protocol.CodeGoingAway, "the broker is draining")
	}
	if r.paused {
		return protocol.Errorf(protocol.CodeUnavailable, "the log begins anew").WithRetryAfter(time.Second)
	}
	if exceeds(len(r.all)+1, limits.Sessions) {
		return protocol.Errorf(protocol.CodeSessionLimit, "the broker holds its limit of %d sessions", limits.Sessions).WithRetryAfter(5 * time.Second)
	}
	if addr := limitedAddr(s.info.Remote); addr != "" {
		if exceeds(r.byAddr[addr]+1, limits.SessionsOfAddr) {
			return protocol.Errorf(protocol.CodeSessionLimit, "address %s holds its limit of %d sessions", addr, limits.SessionsOfAddr).WithRetryAfter(5 * time.Second)
		}
		r.byAddr[addr]++
	}
	r.all[s.id] = s
	return nil
}

// pause stops or admits new sessions.
func (r *registry) pause(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = on
}

// limitedAddr is the address that a session counts against; loopback counts against none.
func limitedAddr(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if addr = addr.Unmap(); err != nil || addr.IsLoopback() {
		return ""
	}
	return addr.String()
}

// claimUser counts the session against its user's limit. Anonymous sessions count against none.
func (r *registry) claimUser(id *Identity) *protocol.Error {
	if id.User == "" {
		return nil
	}
	limit := or(id.Limits.SessionsOfUser, r.b.opt.Limits.SessionsOfUser)
	r.mu.Lock()
	defer r.mu.Unlock()
	if exceeds(r.byUser[id.User]+1, limit) {
		return protocol.Errorf(protocol.CodeSessionLimit, "user %q holds its limit of %d sessions", id.User, limit).WithRetryAfter(5 * time.Second)
	}
	r.byUser[id.User]++
	return nil
}

// remove takes a closed session out. Called by its reader.
func (r *registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[s.id] != s {
		return
	}
	delete(r.all, s.id)
	if addr := limitedAddr(s.info.Remote); addr != "" {
		countDown(r.byAddr, addr)
	}
	if s.identity != nil && s.identity.User != "" {
		countDown(r.byUser, s.identity.User)
	}
}

func countDown(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// session is the session of that id, or nil.
func (r *registry) session(id string) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[id]
}

// isOpen reports whether there is a session of that id, and it has not ended.
func (r *registry) isOpen(id string) bool {
	s := r.session(id)
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed
}

func (r *registry) sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// each calls f for every session that is open now, without a lock.
func (r *registry) each(f func(*Session)) {
	r.mu.Lock()
	all := make([]*Session, 0, len(r.all))
	for _, s := range r.all {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		f(s)
	}
}

func (r *registry) addSubscription() bool {
	n := r.subscriptions.Add(1)
	if exceeds(int(n), r.b.opt.Limits.SubscriptionsIn) {
		r.subscriptions.Add(-1)
		return false
	}
	return true
}

func (r *registry) dropSubscription() { r.subscriptions.Add(-1) }

// exceeds reports whether n is above limit, of which Unlimited is none.
func exceeds(n, limit int) bool { return limit != Unlimited && n > limit }
