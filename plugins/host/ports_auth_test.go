//go:build unix

package host

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
)

// powers is an auth plugin with both powers. It allows what the user's name begins with, and revokes the cursor that it is given.
type powers struct{ testAuth }

func (*powers) Authorize(_ context.Context, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	decisions := make([]broker.Decision, len(questions))
	for i, q := range questions {
		decisions[i] = broker.Decision{Allowed: strings.HasPrefix(q.Filter, who.User), TTL: time.Minute}
	}
	return decisions, nil
}

func (*powers) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	if err := on([]broker.Revocation{{Session: "after-" + string(cursor)}}, []byte("next")); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestThePowersOfAnAuthPluginAreCalledAcrossRestarts(t *testing.T) {
	h := newHost(t, patient())
	a := startAuth(t, h, bundled("a", "powers"))
	questions := []broker.Question{{Action: broker.ActionPublish, Filter: "ann.1"}, {Action: broker.ActionSubscribe, Filter: "bob.>"}}
	decisions, err := a.Authorize(t.Context(), broker.Principal{User: "ann"}, questions)
	if err != nil || len(decisions) != 2 || !decisions[0].Allowed || decisions[1].Allowed {
		t.Fatalf("got %v and %v", decisions, err)
	}
	var told []string
	var at []byte
	for range 2 {
		pid := a.Status().PID
		err := a.Revocations(t.Context(), at, func(batch []broker.Revocation, cursor []byte) error {
			told, at = append(told, batch[0].Session), cursor
			return syscall.Kill(pid, syscall.SIGKILL)
		})
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("the stream of a plugin that was killed ended with %v", err)
		}
		until(t, h, "a", restarted(pid))
	}
	if got := strings.Join(told, " "); got != "after- after-next" {
		t.Errorf("told of %s", got)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authorize(t.Context(), broker.Principal{}, questions); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	if err := a.Revocations(t.Context(), nil, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAPowerThatWasNotAnnouncedIsNotUsed(t *testing.T) {
	a := startAuth(t, newHost(t, patient()), bundled("a", "auth"))
	if _, err := a.Authorize(t.Context(), broker.Principal{}, []broker.Question{{Action: broker.ActionPublish, Filter: "a"}}); !errors.Is(err, broker.ErrNoPower) {
		t.Errorf("Authorize: %v", err)
	}
	if err := a.Revocations(t.Context(), nil, nil); !errors.Is(err, broker.ErrNoPower) {
		t.Errorf("Revocations: %v", err)
	}
}

func TestAKitPluginThatAnnouncesWhatItCannotDoIsRefused(t *testing.T) {
	h := newHost(t, patient())
	for _, power := range []string{"authorize", "revocations"} {
		a, err := h.Auth(bundled(power, "boast", power))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), `announces "`+power+`" and cannot do it`) {
			t.Errorf("%s: %v", power, err)
		}
	}
}
