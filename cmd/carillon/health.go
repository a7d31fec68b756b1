package main

import (
	"context"
	"fmt"
	"net/http"
)

// healthCmd is `carillon health`.
type healthCmd struct {
	adminFlags
}

// Run prints "ready" and succeeds if the broker serves everything; otherwise it fails and says why not.
func (c *healthCmd) Run(ctx context.Context, s streams) error {
	status, body, err := c.get(ctx, "/readyz")
	switch {
	case err != nil:
		return err
	case status == http.StatusOK:
		_, err = fmt.Fprintln(s.out, "ready")
		return err
	}
	return fmt.Errorf("not ready: %w", problem(status, body))
}
