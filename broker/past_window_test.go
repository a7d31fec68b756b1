package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
)

// R6, [RES-5]: who may not read back, and comes from another run with everything that the store has, is not sent what this run has in its log
// from before the resume window: neither as a subscription nor as a stream.
func TestAResumeWithoutHistoryJoinsTheLogWithinTheResumeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		one := run(t, store, broker.Options{})
		publish(t, one, "kept.a", "1")
		at := one.Position()
		one.Close()
		two := run(t, store, broker.Options{})
		publish(t, two, "plain", "old")
		time.Sleep(11 * time.Minute)
		publish(t, two, "plain", "new")

		mayNot := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}}
		c := resume(t, two, mayNot, ">", at)
		wantLines(t, unpinged(c), "subscribed 1 @1/1", "gap 1 not_stored 1/1..2/1", "end 1 reset", "replay 1 log 1", `message 3 plain "new"`, "resumed 1 @3/1")
		c = brokertest.Follow(t, two, mayNot, broker.FollowRequest{Filters: []string{">"}, After: &at, NoRetained: true})
		wantLines(t, unpinged(c), "gap 0 not_stored 1/1..2/1", `message 3 plain "new"`, "resumed 1 @3/1")

		c = resume(t, two, nil, ">", at)
		wantLines(t, unpinged(c), "subscribed 1 @1/1", "gap 1 not_stored 1/1..1/1", "end 1 reset", "replay 1 log 2",
			`message 2 plain "old"`, `message 3 plain "new"`, "resumed 1 @3/1")
	})
}

// R6: it is the same in one run, when the log has moved on.
func TestAResumeWithoutHistoryJoinsALogThatHasMovedOnWithinTheResumeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10})
		publish(t, b, "kept.a", "1")
		at := b.Position()
		for range 100 {
			publish(t, b, "plain", kib(1))
		}
		time.Sleep(11 * time.Minute)
		publish(t, b, "plain", "new")
		mayNot := &broker.Identity{User: "u", Grants: []broker.Grant{{Actions: broker.ActionSubscribe, Filter: ">"}}}
		c := resume(t, b, mayNot, ">", at)
		wantLines(t, unpinged(c), "subscribed 1 @1/1", "gap 1 not_stored 1/1..101/1", "end 1 reset", "replay 1 log 1", `message 102 plain "new"`, "resumed 1 @102/1")
	})
}
