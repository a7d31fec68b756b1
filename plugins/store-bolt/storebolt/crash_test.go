package storebolt

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// crashDir names the folder in the environment of a child that is crashWriter.
const crashDir = "STOREBOLT_CRASH_DIR"

// crashHistory is how many records of a topic its history has.
const crashHistory = 40

func crashKey(topic string, n uint64) (key, digest []byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", topic, n))
	return sum[:16], sum[16:]
}

// crashWriter appends from 8 publishers for ever, sets a key, and prints a line for each acknowledgement: publisher or key, number,
// offset or revision. It is killed, or ends when nobody reads the lines any more.
func crashWriter(dir string) {
	s, err := Open(Config{Dir: dir, KeepRecords: 1 << 20, KeepBytes: 1 << 30, segmentRecords: 100, hotSegments: 2})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := s.SetRetention(context.Background(), []broker.RetentionRule{{Match: ">", Count: crashHistory}}); err != nil {
		os.Exit(1)
	}
	run := protocol.NewRunID()
	var mu sync.Mutex // over order of refs and over stdout
	var ref uint64
	var publishers sync.WaitGroup
	publishers.Go(func() {
		crashKeys(s, keyOfRun+run.String(), func(line string) {
			mu.Lock()
			defer mu.Unlock()
			if _, err := os.Stdout.WriteString(line); err != nil {
				os.Exit(1)
			}
		})
	})
	for p := range 8 {
		publishers.Go(func() {
			done := make(chan string)
			for n := uint64(1); ; n++ {
				mu.Lock()
				ref++
				r := broker.Record{
					Origin: run, Ref: ref, Topic: fmt.Sprintf("run.%s.p%d", run, p), Retain: true,
					Payload: fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", rand.IntN(2000))),
				}
				r.Key, r.Digest = crashKey(r.Topic, n)
				s.Append([]broker.Record{r}, func(got []broker.AppendResult, err error) {
					if err != nil || got[0].Err != nil {
						os.Exit(1)
					}
					done <- fmt.Sprintf("%s %d %d\n", r.Topic, n, got[0].Offset)
				})
				mu.Unlock()
				line := <-done
				mu.Lock()
				_, err := os.Stdout.WriteString(line)
				mu.Unlock()
				if err != nil {
					os.Exit(1)
				}
			}
		})
	}
	publishers.Wait()
}

// keyOfRun begins the keys that crashWriters set.
const keyOfRun = "runs/"

// crashKeys counts in a key under a lease, for ever.
func crashKeys(s *Store, key string, acknowledge func(string)) {
	ctx, lease, revision := context.Background(), broker.NewLeaseID(), uint64(0)
	if s.GrantLease(ctx, lease, time.Hour) != nil {
		os.Exit(1)
	}
	for n := 1; ; n++ {
		e, err := s.PutKey(ctx, broker.KeyPut{
			Key: key, Value: fmt.Append(nil, n), Expect: revision, Lease: lease, Write: broker.NewWriteID(),
		})
		if err != nil {
			os.Exit(1)
		}
		revision = e.Revision
		acknowledge(fmt.Sprintf("%s %d %d\n", key, n, revision))
	}
}

// verifyKey holds a key against the last acknowledgement of it.
func verifyKey(t *testing.T, s *Store, key string, a acknowledged) {
	t.Helper()
	e, err := s.GetKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.ParseUint(string(e.Value), 10, 64)
	if n < a.n || n == a.n && e.Revision != a.offset || n > a.n+1 || s.RenewLease(t.Context(), e.Lease) != nil {
		t.Errorf("%s is %d at revision %d, and %d at %d was acknowledged", key, n, e.Revision, a.n, a.offset)
	}
}

// campaign is how often a test repeats itself: as said first in the gate, as said second in `make campaign`.
func campaign(gate, full int) int {
	if os.Getenv("CARILLON_CAMPAIGN") != "" {
		return full
	}
	return gate
}

// acknowledged is the last number that a topic's publisher was told is durable, and its offset.
type acknowledged struct{ n, offset uint64 }

func TestKilledAtAnyInstantNothingAcknowledgedIsLost(t *testing.T) {
	rounds := campaign(5, 1000)
	dir := t.TempDir()
	acks := make(map[string]acknowledged)
	total := 0
	for range rounds {
		n := killWriter(t, dir, acks)
		if n < 100 {
			t.Errorf("a round with %d acknowledgements is none", n)
		}
		total += n
		verifyAcknowledged(t, dir, acks)
	}
	t.Logf("0 of %d acknowledged records lost in %d kills", total, rounds)
}

// killWriter runs a writer, kills it after some hundred acknowledgements, and notes all that were printed.
func killWriter(t *testing.T, dir string, acks map[string]acknowledged) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after, count := 100+rand.IntN(2000), 0
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		var topic string
		var a acknowledged
		if _, err := fmt.Sscanf(line, "%s %d %d", &topic, &a.n, &a.offset); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		acks[topic] = a
		if count++; count == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, lines)
	_ = cmd.Wait()
	return count
}

func verifyAcknowledged(t *testing.T, dir string, acks map[string]acknowledged) {
	t.Helper()
	s := open(t, Config{Dir: dir, KeepRecords: 1 << 20, KeepBytes: 1 << 30})
	all, _ := mustLoadRetained(t, s)
	last := make(map[string]uint64)
	for i, r := range mustReadFeed(t, s, broker.FollowFrom{}) {
		var n uint64
		if _, err := fmt.Sscan(string(r.Payload[:strings.IndexByte(string(r.Payload), ' ')]), &n); err != nil {
			t.Fatal(err)
		}
		if r.Offset != uint64(i+1) || n != last[r.Topic]+1 {
			t.Fatalf("offset %d at place %d, %s: %d after %d", r.Offset, i, r.Topic, n, last[r.Topic])
		}
		last[r.Topic] = n
		if a := acks[r.Topic]; a.n == n && a.offset != r.Offset {
			t.Errorf("%s: %d was acknowledged at offset %d and is at %d", r.Topic, n, a.offset, r.Offset)
		}
	}
	verifyHistory(t, s, last)
	for topic, a := range acks {
		if strings.HasPrefix(topic, keyOfRun) {
			verifyKey(t, s, topic, a)
			continue
		}
		r := record(topic, "")
		r.Key, r.Digest = crashKey(topic, a.n)
		if got := appendAll(t, s, r)[0]; !got.Repeats || got.Offset != a.offset {
			t.Errorf("%s: %d again is answered with %+v, it is at offset %d", topic, a.n, got, a.offset)
		}
		if last[topic] < a.n {
			t.Errorf("%s: %d is acknowledged, the log ends with %d", topic, a.n, last[topic])
		}
		if all[topic].Offset < a.offset {
			t.Errorf("%s: offset %d is acknowledged, retained is %d", topic, a.offset, all[topic].Offset)
		}
	}
	closeStore(t, s)
}

// verifyHistory holds each topic's history against its newest record in the feed.
func verifyHistory(t *testing.T, s *Store, last map[string]uint64) {
	t.Helper()
	for topic, newest := range last {
		p := readHistory(t, s, broker.HistoryQuery{Filters: []string{topic}})
		if len(p.Records) != int(min(newest, crashHistory)) || newest > crashHistory && p.TrimmedThrough == 0 {
			t.Fatalf("%s has %d records, its history %d, trimmed through %d", topic, newest, len(p.Records), p.TrimmedThrough)
		}
		for i, r := range p.Records {
			if want := newest - uint64(len(p.Records)) + uint64(i) + 1; !strings.HasPrefix(string(r.Payload), fmt.Sprintf("%d ", want)) {
				t.Fatalf("%s: place %d of the history is not %d", topic, i, want)
			}
		}
	}
}
