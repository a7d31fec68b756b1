package broker_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "120", "rapid.steps": "60"} { // unless the command line has others
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				panic(err)
			}
		}
	}
	goleak.VerifyTestMain(m)
}

// start runs a broker until the test ends.
func start(t testing.TB, opt broker.Options) *broker.Broker {
	t.Helper()
	b, err := broker.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// startStored runs a broker on a store, once it is ready.
func startStored(t testing.TB, opt broker.Options) (*broker.Broker, *brokertest.Store) {
	t.Helper()
	store := brokertest.NewStore()
	opt.Store = store
	b := start(t, opt)
	if err := b.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, store
}

// arrived is what has arrived at c when nothing moves any more. Only in a bubble.
func arrived(c *brokertest.Client) []string {
	synctest.Wait()
	return brokertest.Describe(c.Packets()...)
}

// wantArrived fails the test if something else has arrived at c, when nothing moves any more, than the lines of want.
func wantArrived(t *testing.T, c *brokertest.Client, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, arrived(c), cmp.Transformer("lines", func(l []string) []string { return append([]string{}, l...) })); diff != "" {
		t.Fatalf("arrived (-wanted +found):\n%s", diff)
	}
}

// unpinged are what has arrived but for the positions that a session is told when the store opens again.
func unpinged(c *brokertest.Client) []string {
	return slices.DeleteFunc(arrived(c), func(line string) bool { return strings.HasPrefix(line, "ping @") })
}

// publish publishes for everybody and fails the test if that fails.
func publish(t testing.TB, b *broker.Broker, topic, payload string) protocol.Published {
	t.Helper()
	return publishAs(t, b, broker.PublishRequest{Topic: topic, Payload: []byte(payload)})
}

func retain(t testing.TB, b *broker.Broker, topic, payload string) {
	t.Helper()
	publishAs(t, b, broker.PublishRequest{Topic: topic, Payload: []byte(payload), Retain: true})
}

func publishAs(t testing.TB, b *broker.Broker, r broker.PublishRequest) protocol.Published {
	t.Helper()
	ack, err := b.Publish(t.Context(), broker.Everybody(), r)
	if err != nil {
		t.Fatalf("publish to %q: %v", r.Topic, err)
	}
	return ack
}

// kib is a payload of n KiB.
func kib(n int) string { return strings.Repeat("0123456789abcdef", 64*n) }

// code is the code of err, for comparing.
func code(err error) protocol.Code { return protocol.CodeOf(err) }

func wantLines(t *testing.T, found []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, found); diff != "" {
		t.Fatalf("(-wanted +found):\n%s", diff)
	}
}

// wantNumbers fails the test unless the messages of topic a among lines are numbered from first to last.
func wantNumbers(t *testing.T, lines []string, first, last uint64) {
	t.Helper()
	next := first
	for _, l := range lines {
		var seq uint64
		if _, err := fmt.Sscanf(l, "message %d a ", &seq); err != nil {
			continue
		}
		if seq != next {
			t.Fatalf("found message %d, wanted %d", seq, next)
		}
		next++
	}
	if next != last+1 {
		t.Fatalf("found messages %d to %d, wanted up to %d", first, next-1, last)
	}
}
