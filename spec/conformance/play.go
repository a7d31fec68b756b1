package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// play is one run of one script. Its steps are done by one goroutine.
type play struct {
	script *Script
	vars   variables
	conns  map[string]*conn
	log    *transcript
	do     func(ctx context.Context, s *Step) error // the actions that a server's player and an SDK's do not share
	// pass is what goes out now in place of a packet; nil: the packet.
	pass func(c *conn, name string, packet []byte) []byte
}

// patience is how long an expected packet may take.
const patience = 5 * time.Second

// skip is why a script cannot be played here.
type skip struct{ reason string }

func (s *skip) Error() string { return s.reason }

// stepError is the failure of a step.
type stepError struct {
	path string // 3, or 3.2 in a repetition
	step *Step
	err  error
}

func (e *stepError) Error() string { return fmt.Sprintf("step %s: %v", e.path, e.err) }
func (e *stepError) Unwrap() error { return e.err }

func (p *play) run(ctx context.Context, steps []Step, above string) error {
	for i := range steps {
		s := &steps[i]
		path := fmt.Sprintf("%s%d", above, i+1)
		err := p.step(ctx, s, path)
		var inner *stepError
		if err != nil && !errors.As(err, &inner) {
			return &stepError{path, s, err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *play) close() {
	for _, c := range p.conns {
		c.close()
	}
}

// step does one step. It has exactly one action.
func (p *play) step(ctx context.Context, s *Step, path string) error {
	within := s.Within
	if within == 0 {
		within = patience
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	switch action := s.actions()[0]; action {
	case "wait":
		return p.wait(ctx, s.Wait)
	case "let":
		return p.let(s.Let)
	case "repeat":
		return p.repeated(s, func() error { return p.run(ctx, s.Repeat, path+".") })
	case "send", "raw", "text", "expect", "replayed", "unordered", "until", "none", "disconnect", "close", "closed", "drop":
		c := p.conns[s.by()]
		if c == nil {
			return fmt.Errorf("there is no connection %q", s.by())
		}
		return p.onConn(bounded, c, s, action)
	}
	return p.do(bounded, s)
}

func (s *Step) by() string {
	if s.By == "" {
		return "a"
	}
	return s.By
}

// wait does nothing for a time.
func (p *play) wait(ctx context.Context, written string) error {
	text, err := p.vars.text(written)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *play) let(names map[string]any) error {
	for name, written := range names {
		v, err := p.vars.fill(written)
		if err != nil {
			return err
		}
		p.vars[name] = v
	}
	return nil
}

// repeated calls f as often as the step says, once unless it says so, with $n from 1.
func (p *play) repeated(s *Step, f func() error) error {
	times := int64(1)
	if s.Times != nil {
		v, err := p.vars.fill(s.Times)
		if err != nil {
			return err
		}
		n, ok := integer(v)
		if !ok {
			return fmt.Errorf("times: %s is no number", show(v))
		}
		times = n
	}
	for n := range times {
		if s.Times != nil {
			p.vars["n"] = n + 1
		}
		if err := f(); err != nil {
			if s.Times != nil {
				return fmt.Errorf("time %d: %w", n+1, err)
			}
			return err
		}
	}
	return nil
}

// onConn does a step on a connection.
func (p *play) onConn(ctx context.Context, c *conn, s *Step, action string) error {
	switch action {
	case "send":
		return p.send(ctx, c, s)
	case "raw":
		b, err := parseHex(s.Raw)
		if err != nil {
			return err
		}
		p.log.add(c.name, "sent", s.Raw)
		return c.deliver(ctx, b, s)
	case "text":
		text, err := p.vars.text(s.Text)
		if err != nil {
			return err
		}
		if !strings.Contains(s.Text, "$token") {
			p.log.add(c.name, "sent text", text)
		}
		c.write(ctx, websocket.MessageText, []byte(text), 1)
		return nil
	case "expect":
		return p.repeated(s, func() error { return p.expect(ctx, c, s) })
	case "replayed":
		return p.replayed(ctx, c, s.Replayed)
	case "unordered":
		return p.unordered(ctx, c, s.Unordered)
	case "until":
		return p.until(ctx, c, s.Until)
	case "none":
		return p.none(ctx, c, s)
	case "disconnect":
		return p.disconnected(ctx, c, s.Disconnect)
	case "close":
		c.leave()
		p.log.add(c.name, "closed with", fmt.Sprint(s.Close))
		_ = c.ws.Close(websocket.StatusCode(s.Close), closeReason(s.Close)) // what the other side should do is a step of its own
		return nil
	case "closed":
		return p.closed(ctx, c, s.Closed, "")
	case "drop":
		c.leave()
		p.log.add(c.name, "cut", "")
		c.close()
		return nil
	}
	return fmt.Errorf("%s is nothing that is done on a connection", action)
}

// send writes the packets of the step, all of its times, in one WebSocket message.
func (p *play) send(ctx context.Context, c *conn, s *Step) error {
	var message []byte
	err := p.repeated(s, func() error {
		for _, written := range listed(s.Send) {
			filled, err := p.vars.fill(written)
			if err != nil {
				return err
			}
			one, ok := filled.(map[string]any)
			if !ok {
				return fmt.Errorf("%s is no packet", show(written))
			}
			b, err := encodePacket(one)
			if err != nil {
				return err
			}
			if _, last := one["Disconnect"]; last {
				c.leave()
			}
			p.log.add(c.name, "sent", show(hidden(filled)))
			if p.pass != nil {
				b = p.pass(c, slices.Collect(maps.Keys(one))[0], b)
			}
			message = append(message, b...)
		}
		return nil
	})
	if err != nil || len(message) == 0 && len(listed(s.Send)) > 0 { // all of them are lost, or late
		return err
	}
	return c.deliver(ctx, message, s)
}

// hidden is a packet without its token, which goes into no report.
func hidden(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	m = maps.Clone(m)
	for name, inner := range m {
		if text, ok := inner.(string); name == "token" && ok {
			m[name] = fmt.Sprintf("*** (%d bytes)", len(text))
			continue
		}
		m[name] = hidden(inner)
	}
	return m
}

// listed is v as a list, if it is not one.
func listed(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}
