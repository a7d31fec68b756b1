package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// expect takes the packets of the step, one after the other, and nothing between them.
func (p *play) expect(ctx context.Context, c *conn, s *Step) error {
	message := 0
	for _, want := range listed(s.Expect) {
		found, err := c.next(ctx, isPing(want))
		if err != nil {
			return fmt.Errorf("%w, wanted %s", err, show(want))
		}
		if err := p.matchPacket(want, found.packet); err != nil {
			return err
		}
		if s.Together && message != 0 && message != found.message {
			return fmt.Errorf("%s came in a WebSocket message of its own, wanted all in one", found)
		}
		message = found.message
	}
	return nil
}

// isPing reports whether a packet of a script is a Ping, or may be one.
func isPing(want any) bool {
	m, _ := want.(map[string]any)
	_, yes := m["Ping"]
	return yes
}

// matchPacket reports how a packet differs from what is wanted.
func (p *play) matchPacket(want any, found packet) error {
	m, _ := want.(map[string]any)
	inner, named := m[found.name]
	if !named || len(m) != 1 {
		return fmt.Errorf("found %s, wanted %s", found, show(want))
	}
	values, _ := inner.(map[string]any)
	if err := p.vars.matchMap(values, found.values); err != nil {
		return fmt.Errorf("%s.%w, in %s", found.name, err, found)
	}
	return nil
}

// unordered takes as many packets as there are in want, each of which one of those still left has to fit. Variables that a packet sets while
// it is held against the wrong one are forgotten.
func (p *play) unordered(ctx context.Context, c *conn, want []any) error {
	left := slices.Clone(want)
	for len(left) > 0 {
		found, err := c.next(ctx, slices.ContainsFunc(left, isPing))
		if err != nil {
			return fmt.Errorf("%w, wanted %s", err, show(left))
		}
		i := slices.IndexFunc(left, func(w any) bool { return p.tryMatch(w, found.packet) })
		if i < 0 {
			return fmt.Errorf("found %s, wanted one of %s", found, show(left))
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// replayed takes the messages behind Replay packets.
func (p *play) replayed(ctx context.Context, c *conn, r *Replayed) error {
	left := slices.Clone(r.Messages)
	replay := map[string]any{"Replay": map[string]any{"subscription": r.Subscription, "kind": r.Kind}}
	announced := int64(0)
	for len(left) > 0 || announced > 0 {
		found, err := c.next(ctx, false)
		if err != nil {
			return fmt.Errorf("%w, wanted %d more messages", err, len(left))
		}
		if announced == 0 {
			if err := p.matchPacket(replay, found.packet); err != nil {
				return err
			}
			if announced, _ = integer(found.values["count"]); announced > int64(len(left)) {
				return fmt.Errorf("%s announces more than the %d messages that are wanted", found, len(left))
			}
			continue
		}
		announced--
		i := 0
		if r.Kind == 1 {
			i = slices.IndexFunc(left, func(w any) bool { return p.tryMatch(map[string]any{"Message": w}, found.packet) })
		} else if err := p.matchPacket(map[string]any{"Message": left[0]}, found.packet); err != nil {
			return err
		}
		if i < 0 {
			return fmt.Errorf("found %s, wanted one of %s", found, show(left))
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// tryMatch is matchPacket that changes no variable when it fails.
func (p *play) tryMatch(want any, found packet) bool {
	before := maps.Clone(p.vars)
	if p.matchPacket(want, found) == nil {
		return true
	}
	p.vars = before
	return false
}

func (p *play) until(ctx context.Context, c *conn, want any) error {
	passed := 0
	for {
		found, err := c.next(ctx, isPing(want))
		if err != nil {
			return fmt.Errorf("%w behind %d others, wanted %s", err, passed, show(want))
		}
		if p.tryMatch(want, found.packet) {
			return nil
		}
		passed++
	}
}

func (p *play) none(ctx context.Context, c *conn, s *Step) error {
	ctx, cancel := context.WithTimeout(ctx, s.None)
	defer cancel()
	found, err := c.next(ctx, false)
	if errors.Is(err, errLate) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w, wanted nothing for %s", err, s.None)
	}
	return fmt.Errorf("found %s, wanted nothing for %s", found, s.None)
}

// disconnected takes a Disconnect and the close frame behind it, which repeats its code and name ([DIS-2]). want is the name of the code, or
// fields of the packet.
func (p *play) disconnected(ctx context.Context, c *conn, want any) error {
	if name, ok := want.(string); ok {
		want = map[string]any{"name": name}
	}
	found, err := c.next(ctx, false)
	if err != nil {
		return fmt.Errorf("%w, wanted Disconnect %s", err, show(want))
	}
	if err := p.matchPacket(map[string]any{"Disconnect": want}, found.packet); err != nil {
		return err
	}
	code, _ := integer(found.values["code"])
	return p.closed(ctx, c, int(code), fmt.Sprint(found.values["name"]))
}

// closed takes the end of a connection with a close code, and a reason if one is wanted.
func (p *play) closed(ctx context.Context, c *conn, code int, reason string) error {
	found, err := c.next(ctx, false)
	if err == nil {
		return fmt.Errorf("found %s, wanted the close code %d", found, code)
	}
	var end *endError
	if !errors.As(err, &end) {
		return fmt.Errorf("%w, wanted the close code %d", err, code)
	}
	if status, text := end.status(); status != code || reason != "" && text != reason {
		return fmt.Errorf("%w; wanted the close code %d %s", err, code, reason)
	}
	return nil
}
