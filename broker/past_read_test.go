package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// R4: a lagging session that the log has passed goes on from the store; what was in the log alone is counted.
func TestALaggingSessionGoesOnFromTheStore(t *testing.T) {
	for name, test := range map[string]struct {
		filter string
		gaps   []string
	}{
		"stored alone": {"kept.>", nil},
		"and others":   {">", []string{"trimmed"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := run(t, brokertest.NewStore(), broker.Options{RingBytes: 64 << 10})
				c := brokertest.Dial(t, b, nil)
				c.Subscribe(1, test.filter)
				c.Shut()
				for i := range 500 {
					publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
					publish(t, b, "plain", fmt.Sprint(i+1))
				}
				c.Open()
				synctest.Wait()
				var gaps []string
				var missing int64
				next, plain := uint64(1), 0
				for _, p := range c.Packets() {
					switch p := p.(type) {
					case *protocol.Gap:
						gaps = append(gaps, string(p.Reason))
						missing += p.Count
					case *protocol.Message:
						if p.Topic == "plain" {
							plain++
							continue
						}
						if p.Offset != next {
							t.Fatalf("found offset %d, wanted %d", p.Offset, next)
						}
						next++
					}
				}
				if next != 501 || !slices.Equal(gaps, test.gaps) {
					t.Errorf("found messages up to %d and gaps %v, wanted 500 and %v", next-1, gaps, test.gaps)
				}
				if len(test.gaps) > 0 && plain+int(missing) != 500 {
					t.Errorf("found %d messages and %d told missing of 500", plain, missing)
				}
				if n := b.Stats().Lagging; n != 0 {
					t.Errorf("found %d sessions lagging in the end", n)
				}
			})
		})
	}
}

// P3, [RES-7]: a store that fails while it is read is asked again, and the rest of the session goes on; one that is away beforehand is
// an answer.
func TestAStoreThatFailsHoldsUpOnlyWhatIsReadFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		opt := broker.Options{RingBytes: 64 << 10}
		b := run(t, store, opt)
		at := b.Position()
		for i := range 200 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
		}
		store.FailReads(3)
		c := resume(t, b, nil, "kept.>", at)
		c.Send(&protocol.Subscribe{ID: 2, Filter: "plain", NoRetained: true})
		wantArrived(t, c, "subscribed 1 @0", "subscribed 2 @200/200")
		publish(t, b, "plain", "meanwhile")
		wantArrived(t, c, `message 201 plain "meanwhile"`)
		time.Sleep(time.Second)
		wantOffsets(t, unpinged(c), 1, 200)
		store.GoAway()
		synctest.Wait()
		c = resume(t, b, nil, "kept.>", at)
		wantArrived(t, c, "error 1 store_unavailable")
	})
}

// P3, P5: a session that follows, as over SSE, goes on after a restart like any other, and is told positions on its way.
func TestAStreamGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		opt := broker.Options{RingBytes: 64 << 10}
		one := run(t, store, opt)
		at := one.Position()
		for i := range 300 {
			publish(t, one, "kept.a", kib(1)+fmt.Sprint(i+1))
		}
		one.Close()
		two := run(t, store, opt)
		publish(t, two, "plain", "1")
		c := brokertest.Follow(t, two, broker.Everybody(), broker.FollowRequest{Filters: []string{"kept.>"}, After: &at})
		lines := arrived(c)
		wantOffsets(t, lines, 1, 300)
		if first, last := lines[0], lines[len(lines)-1]; first != "ping @0" || !strings.HasPrefix(last, "resumed 1 @") {
			t.Errorf("found %q first and %q last", first, last)
		}
		c = brokertest.Follow(t, two, broker.Everybody(), broker.FollowRequest{Filters: []string{">"}, After: &at, NoRetained: true})
		lines = arrived(c)
		wantOffsets(t, lines, 1, 300)
		gaps := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "gap") })
		if len(gaps) != 1 || !strings.HasPrefix(gaps[0], "gap 0 not_stored") {
			t.Errorf("found %q, wanted one gap not_stored", gaps)
		}
		if !strings.Contains(strings.Join(lines, "\n"), ` plain "1"`) {
			t.Errorf("found no message of this run among\n%s", strings.Join(lines, "\n"))
		}
	})
}

// P7: what may match stored topics waits until they are loaded; what may not goes on.
func TestStoredTopicsWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		store.GoAway()
		b := start(t, broker.Options{Store: store, Topics: keptTopics})
		c := brokertest.Dial(t, b, nil)
		c.Send(&protocol.Subscribe{ID: 1, Filter: ">", NoRetained: true})
		wantArrived(t, c, "error 1 not_ready")
		c.Send(&protocol.Subscribe{ID: 2, Filter: "plain.>", NoRetained: true})
		wantArrived(t, c, "subscribed 2 @0")
	})
}

// P2: a store that was put back while the broker runs is not asked over and over until the feed finds out.
func TestAStoreThatHasLessIsNotAskedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := brokertest.NewStore()
		b := run(t, store, broker.Options{RingBytes: 64 << 10})
		at := b.Position()
		older := store.Copy()
		for i := range 200 {
			publish(t, b, "kept.a", kib(1)+fmt.Sprint(i+1))
		}
		store.HoldReads()
		c := resume(t, b, nil, "kept.>", at)
		synctest.Wait()
		store.Restore(older)
		before := len(store.Reads())
		store.ReleaseReads()
		time.Sleep(10 * time.Second)
		if n := len(store.Reads()) - before; n > 100 {
			t.Errorf("found %d reads in 10 s", n)
		}
		if lines := arrived(c); !slices.Contains(lines, "disconnect unavailable") {
			t.Errorf("found %q, wanted the session sent away: the log begins anew", lines)
		}
	})
}
