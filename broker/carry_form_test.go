package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// What does not hold a log makes a new epoch, and the operator is told why.
func TestALogThatDoesNotFitIsGivenUp(t *testing.T) {
	version := func(log []byte) []byte { log[15] = 9; return log }
	same := func(log []byte) []byte { return log }
	for name, test := range map[string]struct {
		change func(log []byte) []byte
		away   time.Duration
		stored bool
		want   string
	}{
		"another version": {change: version, want: "it is of version 9, this broker reads version 2"},
		"no log":          {change: func([]byte) []byte { return []byte("something else altogether") }, want: "it does not begin like a log"},
		"nothing":         {change: func([]byte) []byte { return nil }, want: "it ends too early"},
		"cut":             {change: func(log []byte) []byte { return log[:len(log)-1] }, want: "it ends too early"},
		"appended to":     {change: func(log []byte) []byte { return append(log, 0) }, want: "it goes on behind its end"},
		"damaged":         {change: func(log []byte) []byte { log[40]++; return log }, want: "it is damaged: checksum mismatch"},
		"too old":         {change: same, away: 61 * time.Minute, want: "it was written more than 1h0m0s ago"},
		"a store now":     {change: same, stored: true, want: "it was written by a broker without a store"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, broker.Options{})
				publish(t, b, "a", "1")
				token := b.Position().Append(nil)
				publish(t, b, "a", "2")
				epoch := b.Epoch()
				var said bytes.Buffer
				opt := broker.Options{Log: bytes.NewReader(test.change(logOf(t, b))), Logger: slog.New(slog.NewTextHandler(&said, nil))}
				if test.stored {
					opt.Store = brokertest.NewStore()
				}
				time.Sleep(test.away)
				b = start(t, opt)
				if err := b.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				if b.Epoch() == epoch || b.Position().Seq != 0 {
					t.Errorf("found position %+v, wanted a new epoch", b.Position())
				}
				if !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), test.want) {
					t.Errorf("found %q, wanted %q", said.String(), test.want)
				}
				c := brokertest.Dial(t, b, nil)
				c.Send(&protocol.Subscribe{ID: 1, Filter: "a", Position: token})
				wantArrived(t, c, "subscribed 1 @0", "gap 1 epoch 1..0", "end 1 reset", "resumed 1 @0")
			})
		})
	}
}

func TestARestoredLogIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, broker.Options{})
		publish(t, b, "a", "1")
		publish(t, b, "a", "2")
		log := logOf(t, b)
		time.Sleep(3 * time.Second)
		var said bytes.Buffer
		start(t, broker.Options{Log: bytes.NewReader(log), Logger: slog.New(slog.NewTextHandler(&said, nil))})
		for _, want := range []string{"level=INFO", "count=2", "bytes=", "age=3s"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("found %q, wanted %s", said.String(), want)
			}
		}
	})
}

// smallLog is the log of a broker with a bit of everything, and large of one that has retained values beyond the ring, and blocks.
func smallLog(t testing.TB, large bool) []byte {
	b := start(t, broker.Options{RingBytes: 64 << 10, Shards: 1, Topics: withLive.Topics})
	retain(t, b, "old", "1")
	for i := 0; large && i < 3; i++ {
		publish(t, b, "a", kib(30))
	}
	publish(t, b, "live.x", "5")
	retain(t, b, "live.x", "6")
	publishAs(t, b, broker.PublishRequest{Topic: "b", Payload: []byte("7"), ContentType: "text/plain", Headers: map[string]string{"k": "v"}})
	retain(t, b, "c", "8")
	return logOf(t, b)
}

// G16: whatever byte is another one, and wherever the log ends, it is refused.
func TestADamagedLogIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := broker.Options{RingBytes: 64 << 10}
		for log, step := range map[string]int{string(smallLog(t, false)): 1, string(smallLog(t, true)): 997} {
			refused(t, []byte(log), step, opt)
		}
	})
}

// refused fails the test if the log is taken with another byte, or cut, at any multiple of step.
func refused(t *testing.T, log []byte, step int, opt broker.Options) {
	t.Helper()
	if err := broker.CheckLog(bytes.NewReader(log), opt); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(log); i += step {
		if err := broker.CheckLog(bytes.NewReader(log[:i]), opt); err == nil {
			t.Errorf("a log cut to %d bytes of %d is taken", i, len(log))
		}
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			log[i] ^= flip
			if err := broker.CheckLog(bytes.NewReader(log), opt); err == nil {
				t.Errorf("a log with another byte %d is taken", i)
			}
			log[i] ^= flip
		}
	}
}

// An error of the file is not the end of the log.
func TestALogThatCannotBeReadIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := smallLog(t, true)
		broken := errors.New("input/output error")
		for _, n := range []int{0, 5, 100, len(log)} {
			r := io.MultiReader(bytes.NewReader(log[:n]), failing{broken})
			if err := broker.CheckLog(r, broker.Options{}); !errors.Is(err, broken) {
				t.Errorf("found %v after %d bytes, wanted the error of the file", err, n)
			}
		}
		b := start(t, broker.Options{})
		if err := b.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteLog(failing{broken}); !errors.Is(err, broken) {
			t.Errorf("found %v, wanted the error of the file", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// What was written is read as it was, whatever it was.
func TestALogIsReadAsItWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			opt := broker.Options{RingBytes: 64 << 10, Shards: 1, Topics: withLive.Topics}
			b, err := broker.New(opt)
			if err != nil {
				rt.Fatal(err)
			}
			b.Start()
			defer func() { b.Close() }() // the last one
			for range rapid.IntRange(1, 3).Draw(rt, "runs") {
				for range rapid.IntRange(0, 60).Draw(rt, "publishes") {
					r := broker.PublishRequest{
						Topic:   rapid.SampledFrom([]string{"a", "b.x", "live.x", "live.y"}).Draw(rt, "topic"),
						Payload: bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{0, 1, 300, 5000}).Draw(rt, "size")),
						Retain:  rapid.Bool().Draw(rt, "retain"),
					}
					if _, err := b.Publish(t.Context(), broker.Everybody(), r); err != nil {
						rt.Fatal(err)
					}
					time.Sleep(time.Duration(rapid.IntRange(0, 5).Draw(rt, "pause")) * time.Millisecond)
				}
				synctest.Wait()
				want := b.LogLines()
				log := logOf(t, b)
				opt.Log = bytes.NewReader(log)
				if b, err = broker.New(opt); err != nil {
					rt.Fatal(err)
				}
				b.Start()
				if diff := cmp.Diff(want, b.LogLines()); diff != "" {
					rt.Fatalf("(-written +read):\n%s", diff)
				}
				if charged, held := b.RingBytes(); charged != held {
					rt.Fatalf("found %d bytes charged, %d held", charged, held)
				}
			}
		})
	})
}

// FuzzLog reads anything: as a file, and as what stands in the blocks of one. What is taken is a log that can be written and read again.
func FuzzLog(f *testing.F) {
	f.Add(smallLog(f, true))
	log := smallLog(f, false)
	f.Add(log)
	f.Add(broker.OpenLog(log))
	f.Add(binary.AppendUvarint(broker.OpenLog(log)[:16], math.MaxUint64))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, log := range [][]byte{data, broker.SealLog(data)} {
			opt := broker.Options{RingBytes: 64 << 10, Shards: 1, Log: bytes.NewReader(log)}
			b := start(t, opt)
			if charged, held := b.RingBytes(); charged != held {
				t.Fatalf("found %d bytes charged, %d held", charged, held)
			}
			want := b.LogLines()
			again := broker.Options{RingBytes: 64 << 10, Shards: 1, Log: bytes.NewReader(logOf(t, b))}
			if found := start(t, again).LogLines(); len(found) != len(want) {
				t.Fatalf("(-taken +read again):\n%s", cmp.Diff(want, found))
			}
		}
	})
}

// Writing a log takes next to no memory beside it.
func TestWritingALogTakesLittleMemory(t *testing.T) {
	b := start(t, broker.Options{RingBytes: 64 << 20})
	for i := range 70_000 {
		b.AppendOne(fmt.Sprintf("t.%d", i%1000), []byte(kib(1)))
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var size counter
	if err := b.WriteLog(&size); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 || size < 40<<20 {
		t.Errorf("found %d bytes taken for a log of %d bytes", took, size)
	}
}

type counter int

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }
