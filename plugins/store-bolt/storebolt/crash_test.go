package storebolt

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// crashDir names the folder in the environment of a child that is crashWriter.
const crashDir = "STOREBOLT_CRASH_DIR"

// crashWriter appends from 8 publishers for ever and prints a line for each acknowledgement: publisher, number, offset. It
// is killed, or ends when nobody reads the lines any more.
func crashWriter(dir string) {
	s, err := Open(Config{Dir: dir, KeepRecords: 1 << 20, KeepBytes: 1 << 30})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	run := protocol.NewRunID()
	var mu sync.Mutex // over order of refs and over stdout
	var ref uint64
	var publishers sync.WaitGroup
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
	for topic, a := range acks {
		if last[topic] < a.n {
			t.Errorf("%s: %d is acknowledged, the log ends with %d", topic, a.n, last[topic])
		}
		if all[topic].Offset < a.offset {
			t.Errorf("%s: offset %d is acknowledged, retained is %d", topic, a.offset, all[topic].Offset)
		}
	}
	closeStore(t, s)
}
