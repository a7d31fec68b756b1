package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// isolation is a load at a steady rate, with subscribers that read and others that stop.
type isolation struct {
	readers, stalled int
	rate             int // messages of 1 KiB a second
	lasts            time.Duration
	least            uint32 // messages, however long they take
	settings         []string
}

const (
	isolationTopic  = "isolation.topic"
	isolationAhead  = 1000               // the publisher waits for the slowest reader beyond this
	sendBuffer      = 2*128<<10 + 64<<10 // SO_SNDBUF, which the kernel doubles, and a segment more
	stalledOverhead = 64 << 10           // what is being written, and the reckoning of what is missed
)

// isolationFigures are what a run has measured.
type isolationFigures struct {
	messages uint32
	p50, p99 time.Duration // from when a message should have been sent to when a reader had it
	heap     float64       // what a stalled session holds in the broker
	kernel   int64         // bytes that the socket of a stalled session holds, the most of any
	told     int64         // messages that stalled sessions were told they had missed
}

// G8: 1, 10 and 100 of 500 subscribers do not read for a minute while 1,000 messages of 1 KiB are published a second. None of them is cut; each
// costs no more than its window and its socket; then each gets everything or is told what not. The others get everything, and, which only a
// campaign looks at, hardly later than without those that stall: p99 is higher by no more than a fifth, or 5 ms.
func TestStalledSubscribersHarmNobody(t *testing.T) {
	if times := count(0, 1); times > 0 {
		for range times {
			for _, n := range []int{1, 10, 100} {
				compareIsolation(t, 500, n)
			}
		}
		return
	}
	// A small log, so that those that stall are passed by it, and a heap that is collected often.
	small := []string{"CARILLON_LIMITS_RING=2MiB", "GOGC=10"}
	figures := isolation{readers: 50, stalled: 10, rate: 4000, least: 4000, settings: small}.run(t)
	t.Logf("%+v", figures)
	if figures.told == 0 {
		t.Error("nobody was told of a gap: the log was not passed, and the run is invalid")
	}
}

// compareIsolation has so many of all subscribers stall, and compares with a run in which these are not there.
func compareIsolation(t *testing.T, all, stalled int) {
	t.Helper()
	const rate = 1000
	without := isolation{readers: all - stalled, rate: rate, lasts: 20 * time.Second}.run(t)
	with := isolation{readers: all - stalled, rate: rate, stalled: stalled, lasts: time.Minute}.run(t)
	t.Logf("%d of %d stalled: %d messages, p50 %s, p99 %s (without: %d messages, p50 %s, p99 %s); a stalled session holds %.0f bytes of the broker and at most %d of the kernel; %d messages told missing",
		stalled, all, with.messages, with.p50, with.p99, without.messages, without.p50, without.p99, with.heap, with.kernel, with.told)
	if with.messages < 60*rate*9/10 || without.messages < 20*rate*9/10 {
		t.Error("the rate was not reached: the run is invalid")
	}
	if most := without.p99 + max(without.p99/5, 5*time.Millisecond); with.p99 > most {
		t.Errorf("p99 of the others is %s, wanted at most %s", with.p99, most)
	}
}

// isolationRun is a load under way.
type isolationRun struct {
	isolation
	t        *testing.T
	b        *broker
	messages atomic.Uint32 // published so far
	ended    atomic.Bool   // there will be no more
	began    time.Time
	had      []atomic.Uint32 // by each reader
	late     latencies
}

func (i isolation) run(t *testing.T) (figures isolationFigures) {
	t.Helper()
	r := &isolationRun{isolation: i, t: t, b: newBroker(t), had: make([]atomic.Uint32, i.readers)}
	r.b.env = i.settings
	r.b.start()
	var reading sync.WaitGroup
	defer reading.Wait()
	defer r.b.kill()
	r.late.counts = make([]atomic.Uint64, latencySteps)
	readers, stalled := r.subscribe(i.readers, 0), r.subscribe(i.stalled, 256<<10) // a window near the size of the large segments of loopback would be probed for minutes
	for n, w := range readers {
		reading.Go(func() { r.read(w, n) })
	}
	r.publish()
	for _, w := range readers {
		w.conn.Close()
	}
	reading.Wait()
	figures.messages, figures.p50, figures.p99 = r.messages.Load(), r.late.percentile(50), r.late.percentile(99)
	if i.stalled == 0 {
		return figures
	}
	for _, w := range stalled {
		figures.kernel = max(figures.kernel, queued(t, w.conn))
	}
	if figures.kernel == 0 || figures.kernel > sendBuffer {
		t.Errorf("the socket of a stalled session holds %d bytes, wanted some and at most %d", figures.kernel, sendBuffer)
	}
	if lagging := r.b.metric("carillon_sessions_lagging"); lagging != float64(i.stalled) {
		t.Errorf("found %v lagging sessions, wanted %d", lagging, i.stalled)
	}
	figures.heap = r.b.heap()
	var told atomic.Int64
	for _, w := range stalled {
		reading.Go(func() { told.Add(r.catchUp(w)) })
	}
	reading.Wait()
	figures.told = told.Load()
	figures.heap = (figures.heap - r.b.heap()) / float64(i.stalled)
	if i.stalled >= 10 && figures.heap > pendingWindow+stalledOverhead { // of fewer it is below what the heap moves by itself
		t.Errorf("a stalled session holds %.0f bytes of the broker, wanted at most %d", figures.heap, pendingWindow+stalledOverhead)
	}
	return figures
}

// heap is what is live in the broker: it is asked for its metrics, which makes garbage, until it has collected twice.
func (b *broker) heap() float64 {
	b.t.Helper()
	var m map[string]float64
	collected := func() float64 {
		m = b.metrics()
		return m["go_memstats_last_gc_time_seconds"]
	}
	for range 2 {
		last := collected()
		eventually(b.t, 30*time.Second, "the broker has collected its garbage", func() bool { return collected() > last })
	}
	return m["go_memstats_next_gc_bytes"] / (1 + m["go_gc_gogc_percent"]/100)
}

// subscribe opens so many sessions. Their connections end with the broker.
func (r *isolationRun) subscribe(sessions, receive int) (all []*wire) {
	r.t.Helper()
	for range sessions {
		w, err := dialWire(r.t.Context(), r.b.listen, receive)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { w.conn.Close() })
		if _, err := w.subscribe(&protocol.Subscribe{Filter: isolationTopic, NoRetained: true}); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

// numbered is a payload with a number and the time, since the load began, at which it should be sent.
func numbered(n uint32, at time.Duration) []byte {
	payload := append(make([]byte, 0, 1024), isolationMark...)
	payload = binary.BigEndian.AppendUint32(payload, n)
	payload = binary.BigEndian.AppendUint64(payload, uint64(at))
	return payload[:1024]
}

var isolationMark = []byte("\x00isolate")

// publish sends each message when it is due, or, if readers are far behind, later: its time counts from when it was due.
func (r *isolationRun) publish() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 80*time.Second) // a session that does not read is cut after 90 s
	defer cancel()
	c := client(r.t, r.b)
	r.began = time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n, last := uint32(0), false; !last || r.slowest() < n; {
		late := time.Since(r.began)
		last = last || late > r.lasts && n >= r.least
		for due := uint32(late.Seconds() * float64(r.rate)); !last && n < due && n < r.slowest()+isolationAhead; n++ {
			if _, err := c.PublishAsync(ctx, isolationTopic, numbered(n, time.Duration(n)*time.Second/time.Duration(r.rate))); err != nil {
				r.t.Fatal(err)
			}
		}
		r.messages.Store(n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("only %d of %d messages were read in time", r.slowest(), n)
		}
	}
	r.ended.Store(true)
}

// slowest is how many messages every reader has had.
func (r *isolationRun) slowest() uint32 {
	least := r.had[0].Load()
	for i := range r.had {
		least = min(least, r.had[i].Load())
	}
	return least
}

// read reads every message, in order and without a gap, until the connection ends behind the last one.
func (r *isolationRun) read(w *wire, reader int) {
	for next := uint32(0); ; {
		err := w.read(func(raw protocol.Raw, packet []byte) error {
			switch raw.Type {
			case protocol.TypeMessage:
				n, at := numberIn(packet)
				if n != next {
					return fmt.Errorf("found message %d, wanted %d", n, next)
				}
				r.late.add(time.Since(r.began) - at)
				next++
			case protocol.TypeGap, protocol.TypeDisconnect:
				p, _ := protocol.DecodePacket(raw)
				return fmt.Errorf("found %+v", p)
			default:
			}
			return nil
		})
		if err != nil && r.ended.Load() && next == r.messages.Load() {
			return
		}
		if err != nil {
			r.t.Errorf("reader %d, behind message %d: %v", reader, next, err)
			return
		}
		r.had[reader].Store(next)
	}
}

// numberIn is what numbered has put into a packet.
func numberIn(packet []byte) (n uint32, at time.Duration) {
	_, b, ok := bytes.Cut(packet, isolationMark)
	if !ok {
		return 0, 0
	}
	return binary.BigEndian.Uint32(b), time.Duration(binary.BigEndian.Uint64(b[4:]))
}

// catchUp reads what a stalled session has missed, and returns how much of it it was told is gone.
func (r *isolationRun) catchUp(w *wire) (told int64) {
	if err := errors.Join(w.conn.SetReadBuffer(1<<20), w.conn.SetReadDeadline(time.Now().Add(time.Minute))); err != nil {
		r.t.Error(err)
	}
	all := int64(r.messages.Load())
	for next := int64(0); next < all; {
		err := w.read(func(raw protocol.Raw, packet []byte) error {
			switch raw.Type {
			case protocol.TypeMessage:
				if n, _ := numberIn(packet); int64(n) != next {
					return fmt.Errorf("found message %d, wanted %d", n, next)
				}
				next++
			case protocol.TypeGap:
				var gap protocol.Gap
				if err := gap.Decode(raw); err != nil || gap.Count <= 0 {
					return fmt.Errorf("found %+v, %w", gap, err)
				}
				next, told = next+gap.Count, told+gap.Count
			case protocol.TypeDisconnect:
				p, _ := protocol.DecodePacket(raw)
				return fmt.Errorf("it was cut: %+v", p)
			default:
			}
			return nil
		})
		if err != nil {
			r.t.Errorf("a stalled session, behind message %d of %d: %v", next, all, err)
			break
		}
	}
	return told
}

// queued is what the broker's end of a connection has sent and the other end has not taken, by the kernel.
func queued(t *testing.T, c *net.TCPConn) int64 {
	t.Helper()
	address := func(a net.Addr) string { return fmt.Sprintf("0100007F:%04X", a.(*net.TCPAddr).Port) }
	ends := " " + address(c.RemoteAddr()) + " " + address(c.LocalAddr()) + " "
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, behind, ok := strings.Cut(lines.Text(), ends); ok {
			queue, _, _ := strings.Cut(strings.Fields(behind)[1], ":")
			n, err := strconv.ParseInt(queue, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Errorf("the connection%sis gone", ends)
	return 0
}

const (
	latencyStep  = 50 * time.Microsecond
	latencySteps = 100_000
)

// latencies count how often each latency was seen, to a step.
type latencies struct{ counts []atomic.Uint64 }

func (l *latencies) add(d time.Duration) {
	l.counts[min(max(int(d/latencyStep), 0), latencySteps-1)].Add(1)
}

func (l *latencies) percentile(p uint64) time.Duration {
	all := uint64(0)
	for i := range l.counts {
		all += l.counts[i].Load()
	}
	seen := uint64(0)
	for i := range l.counts {
		if seen += l.counts[i].Load(); seen*100 >= all*p {
			return time.Duration(i+1) * latencyStep
		}
	}
	return 0
}
