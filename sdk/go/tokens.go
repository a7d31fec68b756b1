package carillon

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// tokens keeps the token of the last connection and asks for a new one when it is needed. Client.run uses it, and while a session lasts
// what refreshes that.
type tokens struct {
	mu     sync.Mutex
	source func(context.Context, TokenRequest) (string, error) // nil: anonymous
	static bool

	current string
	fresh   string    // one that the broker has not judged yet; "": none
	expires time.Time // zero: not known
	reason  string    // why a new one is needed; "" if current will do
	asked   bool
}

// next returns the token for the next connection, "" for none.
func (t *tokens) next(ctx context.Context) (string, error) {
	if t.source == nil {
		return "", nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := t.reason
	if t.fresh != "" && reason == "" {
		t.current, t.fresh, t.expires = t.fresh, "", time.Time{}
		return t.current, nil
	}
	switch {
	case !t.asked:
		reason = "connect"
	case reason == "" && !t.static && !t.expires.IsZero() && !time.Now().Before(t.expires):
		reason = "expired"
	case reason == "":
		return t.current, nil
	}
	token, err := t.source(ctx, TokenRequest{Reason: reason})
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	t.current, t.fresh, t.expires, t.reason, t.asked = token, "", time.Time{}, "", true
	return token, nil
}

// accepted notes when the broker takes the token to expire, in Unix milliseconds; 0 is never.
func (t *tokens) accepted(expires int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acceptedLocked(expires)
}

func (t *tokens) acceptedLocked(expires int64) {
	t.expires = time.Time{}
	if expires > 0 {
		t.expires = time.UnixMilli(expires)
	}
}

// early asks for a token while the one before still holds.
func (t *tokens) early(ctx context.Context) (string, error) {
	token, err := t.source(ctx, TokenRequest{Reason: "expiring"})
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh = token
	return token, nil
}

// refused notes that the broker does not take the fresh token.
func (t *tokens) refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh = ""
}

// replaced notes that the session has gone over to token.
func (t *tokens) replaced(token string, expires int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current, t.fresh, t.reason = token, "", ""
	t.acceptedLocked(expires)
}

// lasts is when the present token is to be replaced, if it can be. A clock that has it expired already tells nothing.
func (t *tokens) lasts() (replaceIn time.Duration, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := time.Until(t.expires)
	if t.source == nil || t.static || t.expires.IsZero() || left <= 0 {
		return 0, false
	}
	return refreshIn(left), true
}

// renew asks for a new token before the next connection, because of reason. It reports whether there can be one.
func (t *tokens) renew(reason string) bool {
	if t.source == nil || t.static {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = reason
	return true
}
