package plugintest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
)

func (a *About) authorizes() bool {
	return slices.Contains(a.Capabilities, string(broker.PowerAuthorize))
}

func (a *About) revokes() bool {
	return slices.Contains(a.Capabilities, string(broker.PowerRevocations))
}

// testAuthorize asks about an accepted client, and about one that nobody has let in.
func testAuthorize(t *T, a *auth) {
	questions := []broker.Question{
		{Action: broker.ActionPublish, Filter: "a.b"},
		{Action: broker.ActionSubscribe, Filter: "a.>"},
		{Action: broker.ActionHistory, Filter: "*"},
		{Action: broker.ActionPresence, Filter: "a.*"},
		{Action: broker.ActionExclude, Filter: strings.Repeat("x", 255)},
		{Action: broker.ActionSubscribe, Filter: ">"},
	}
	many := make([]broker.Question, broker.MaxQuestions)
	for i := range many {
		many[i] = broker.Question{Action: broker.ActionPublish, Filter: strings.Repeat("x", i%200+1) + ".y" + strings.Repeat("z", i/200)}
	}
	who := []broker.Principal{{User: "nobody-has-let-in", Session: "0123456789abcdef"}, {}}
	for _, l := range a.logins {
		if !l.accepted() {
			continue
		}
		ctx, cancel := context.WithTimeout(t.ctx, t.plugin.within(authTime))
		if id, err := a.Authenticate(ctx, l.Credentials); err == nil {
			who = append(who, broker.Principal{User: id.User, TokenID: id.TokenID, Attributes: id.Attributes, Session: "0123456789abcdef"})
		}
		cancel()
	}
	for _, p := range who {
		for _, batch := range [][]broker.Question{questions, many, questions[:1]} {
			ctx, cancel := context.WithTimeout(t.ctx, t.plugin.within(authTime))
			decisions, err := a.Authorize(ctx, p, batch)
			cancel()
			if !t.about.authorizes() {
				if !errors.Is(err, broker.ErrNoPower) {
					t.Errorf("not announced: expected UNIMPLEMENTED, got %d decisions, %v", len(decisions), err)
				}
				return
			}
			if err != nil || len(decisions) != len(batch) {
				t.Errorf("user %q, %d questions: expected as many decisions within %v, got %d, %v", p.User, len(batch), authTime, len(decisions), err)
			}
		}
	}
}

// testRevocations holds the call open, as a broker does, and asks as one that comes back.
func testRevocations(t *T, a *auth) {
	const look = 500 * time.Millisecond
	for _, cursor := range [][]byte{nil, []byte("of another plugin")} {
		ctx, cancel := context.WithTimeout(t.ctx, look)
		told := 0
		err := a.Revocations(ctx, cursor, func(batch []broker.Revocation, _ []byte) error {
			told += len(batch)
			return nil
		})
		ended := ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded // whichever side notices first
		cancel()
		switch {
		case !t.about.revokes():
			if !errors.Is(err, broker.ErrNoPower) {
				t.Errorf("not announced: expected UNIMPLEMENTED, got %v", err)
			}
			return
		case !ended:
			t.Errorf("cursor %q: expected that the call stays open, it ended with %v after %d revocations", cursor, err, told)
		}
	}
	a.all(t, "afterwards")
}
