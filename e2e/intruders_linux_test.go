package e2e

import (
	"context"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/workload"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// G6: while the auth plugin is killed or stands still, again and again, nobody is let in who has no right to it. Those who are connected go on.
func TestABrokenAuthenticatorLetsNobodyIn(t *testing.T) {
	fresh := func() *broker {
		d := openDoors(t, append(slices.Clone(loadSettings), "CARILLON_LIMITS_AUTH_TIMEOUT=150ms")...)
		return d.b
	}
	rights := func(filter string) map[string]any {
		return map[string]any{"carillon": map[string]any{"publish": []string{filter}, "subscribe": []string{filter}, "history": []string{filter}}}
	}
	rounds(t, 3*time.Second, 500, fresh, func(b *broker, name string) workload.Report {
		opt := workload.Options{
			URL: b.url(), Name: name, Pause: 4 * time.Millisecond, Subscriptions: everyKind(name), Inflight: 2,
			Client: append(slices.Clone(patient), carillon.WithToken(token(t, "main", mistakesSecret, rights(">")))),
			Intruders: []workload.Intruder{
				{Token: token(t, "main", "fedcba9876543210fedcba9876543210", rights(">"))},
				{Token: token(t, "main", mistakesSecret, rights("orders.>"))},
				{Token: ""},
			},
		}
		why := map[string]int{}
		report := load(t, b, opt, workload.Floor{Acked: 200, Shown: 400, Denied: 30, Faults: 4}, func(ctx context.Context, l *workload.Load) {
			for i := range 4 {
				await(ctx, t, l, 40)
				disturbAuth(ctx, t, b, l, i%2 == 0)
				if err := l.Await(ctx, workload.Denied, 5); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range l.Log.Events() {
				if e.Kind == workload.Denied {
					why[e.Why]++
				}
			}
		})
		for _, code := range []string{"token_bad_signature", "token_missing", "forbidden", "unavailable"} {
			if why[code] == 0 {
				t.Errorf("nobody was told %s: the run is invalid: found %v", code, slices.Sorted(maps.Keys(why)))
			}
		}
		return report
	})
}

// disturbAuth kills the auth plugin, or has it stand still for longer than anybody waits for it.
func disturbAuth(ctx context.Context, t *testing.T, b *broker, l *workload.Load, kills bool) {
	t.Helper()
	plugin := b.plugin("auth-jwt").PID
	if kills {
		fault(l, "kill auth")
		killProcess(plugin)
		return
	}
	fault(l, "stop auth")
	syscall.Kill(plugin, syscall.SIGSTOP)
	defer syscall.Kill(plugin, syscall.SIGCONT)
	if err := l.Await(ctx, workload.Denied, 5); err != nil {
		t.Fatal(err)
	}
}
