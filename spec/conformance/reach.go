package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// ErrUnreachable is that nothing answers at the server's address.
var ErrUnreachable = errors.New("not reachable")

// Reach opens a session and leaves it: whether there is something to test at all. A refusal is a *protocol.Error.
func (v *Server) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p := &play{script: &Script{}, vars: variables{"token": v.Token}, conns: map[string]*conn{}, log: &transcript{began: time.Now()}}
	if v.Token == "" {
		p.vars["token"] = nil
	}
	defer p.close()
	run := &serverPlay{play: p, server: v}
	step := &Step{}
	if err := run.open(ctx, step, &Open{}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c := p.conns[step.by()]
	if err := p.send(ctx, c, &Step{Send: map[string]any{"Connect": map[string]any{"version": 1, "token": "$token"}}}); err != nil {
		return err
	}
	r, err := c.next(ctx, false)
	if err != nil {
		return fmt.Errorf("%w, wanted Connected", err)
	}
	if code, ok := integer(r.values["code"]); ok && r.name == "Disconnect" {
		return &protocol.Error{Code: protocol.Code(code), Detail: fmt.Sprint(r.values["detail"])}
	}
	return p.matchPacket(map[string]any{"Connected": nil}, r.packet)
}
