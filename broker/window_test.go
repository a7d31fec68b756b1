package broker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// R2: a session lags when more waits for its socket than Limits.Pending, and not before.
func TestASessionLagsBeyondWhatMayWaitForIt(t *testing.T) {
	for name, tt := range map[string]struct{ pending, lagging int }{
		"more than the window": {4 << 10, 1},
		"less than the window": {64 << 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{Limits: broker.Limits{Pending: tt.pending}})
				c := brokertest.Dial(t, b, nil)
				c.Subscribe(1, "a")
				c.Shut()
				for range 10 {
					publish(t, b, "a", kib(1))
					synctest.Wait() // each is a batch of its own
				}
				if n := b.Stats().Lagging; int(n) != tt.lagging {
					t.Errorf("found %d lagging sessions with 10 KiB waiting and a window of %d bytes, wanted %d", n, tt.pending, tt.lagging)
				}
				c.Open()
				wantSeqs(t, c, 1, 10)
			})
		})
	}
}

// hung is an authenticator that answers when it is told to give up.
type hung struct{}

func (hung) Authenticate(ctx context.Context, _ broker.Credentials) (*broker.Identity, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// CON-10: who is not told in Limits.AuthTimeout whether it may come in is told to come back.
func TestALoginThatIsNotDecidedInTimeIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{Authenticator: hung{}, Limits: broker.Limits{AuthTimeout: 700 * time.Millisecond}})
		began := time.Now()
		_, err := b.Authenticate(t.Context(), broker.Credentials{Token: "x"})
		if took := time.Since(began); code(err) != protocol.CodeUnavailable || took != 700*time.Millisecond {
			t.Errorf("found %v after %s, wanted unavailable after 700 ms", err, took)
		}
	})
}
