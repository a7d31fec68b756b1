package broker_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
)

// late is a store that comes while it is asked what it can do.
type late struct {
	*brokertest.Store
	asked atomic.Int32
}

func (s *late) Has(p broker.Power) bool { return s.asked.Add(1) > 3 && s.Store.Has(p) }

// P2, P3, U2: a store is used for all that it can do, also when it came at the wrong moment.
func TestAStoreThatComesWhileItIsAskedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &late{Store: brokertest.NewStore()}
		one := run(t, store, broker.Options{RingBytes: 64 << 10})
		if rules := store.Retention(); len(rules) == 0 {
			t.Error("found that the store was told no rules")
		}
		at := one.Position()
		for range 100 {
			publish(t, one, "kept.a", kib(1))
		}
		c := resume(t, one, nil, "kept.a", at)
		messages := 0
		for _, line := range unpinged(c) {
			if line[:3] == "gap" {
				t.Errorf("found %q", line)
			}
			if line[:3] == "mes" {
				messages++
			}
		}
		if messages != 100 {
			t.Errorf("found %d messages, wanted 100", messages)
		}
	})
}
