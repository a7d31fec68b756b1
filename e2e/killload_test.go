package e2e

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/workload"
)

// G1, G2, G4, G5, G9, G10: kill -9 of the broker, the store plugin or both, at any instant under load.
func TestKillsLoseNothing(t *testing.T) {
	rounds(t, 10*time.Second, 1000, func() *broker { return newLoadBroker(t) }, func(b *broker, name string) workload.Report {
		opt := workload.Options{
			URL: b.url(), Name: name, Pause: 4 * time.Millisecond, Subscriptions: everyKind(name), Readers: 1, Client: patient,
		}
		return load(t, b, opt, workload.Floor{Acked: 1500, Shown: 3000, Kept: 300, Reads: 10, Faults: 6}, func(ctx context.Context, l *workload.Load) {
			for _, what := range []string{"broker", "plugin", "both", "plugin", "broker", "both"} {
				await(ctx, t, l, 200)
				wait(t, time.Duration(rand.Int64N(int64(50*time.Millisecond))))
				fault(l, "kill "+what)
				kill(t, b, what)
				await(ctx, t, l, 50)
			}
			await(ctx, t, l, 200)
		})
	})
}
