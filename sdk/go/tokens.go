package carillon

import (
	"context"
	"fmt"
	"time"
)

// tokens keeps the token of the last connection and asks for a new one when it is needed. Only Client.run uses it.
type tokens struct {
	source func(context.Context, TokenRequest) (string, error) // nil: anonymous
	static bool

	current string
	expires time.Time // zero: not known
	reason  string    // why a new one is needed; "" if current will do
	asked   bool
}

// next returns the token for the next connection, "" for none.
func (t *tokens) next(ctx context.Context) (string, error) {
	if t.source == nil {
		return "", nil
	}
	reason := t.reason
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
	t.current, t.expires, t.reason, t.asked = token, time.Time{}, "", true
	return token, nil
}

// accepted notes when the broker takes the token to expire, in Unix milliseconds; 0 is never.
func (t *tokens) accepted(expires int64) {
	if expires > 0 {
		t.expires = time.UnixMilli(expires)
	}
}

// renew asks for a new token before the next connection, because of reason. It reports whether there can be one.
func (t *tokens) renew(reason string) bool {
	t.reason = reason
	return t.source != nil && !t.static
}
