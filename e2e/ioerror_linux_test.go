package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/internal/workload"
)

// G3: when a system call of the store fails, what was under way has an unknown outcome, is repeated with its id, and is stored once;
// nothing acknowledged is lost. The store ends, since a file is not to be trusted after that, and is started anew.
func TestErrorsOfTheDiskLoseNothing(t *testing.T) {
	require.Root(t)
	strace := require.Program(t, "strace", "strace")
	ended := time.Duration(0)
	rounds(t, 6*time.Second, 240, func() *broker { return newLoadBroker(t) }, func(b *broker, name string) workload.Report {
		const faults = 6
		opt := workload.Options{
			URL: b.url(), Name: name, Classes: []workload.Class{workload.Stored, workload.Retained}, Pause: 2 * time.Millisecond, Client: patient,
			Subscriptions: []workload.Subscription{{Filter: name + ".stored.>", NoRetained: true}, {}},
		}
		return load(t, b, opt, workload.Floor{Acked: 500, Shown: 500, Kept: 200, Faults: faults}, func(ctx context.Context, l *workload.Load) {
			for done := 0; done < faults; {
				if done%3 == 0 {
					kill(t, b, "broker") // else it would wait longer and longer before it starts the store again
				}
				await(ctx, t, l, 50)
				what := [...]string{"fdatasync", "pwrite64"}[rand.IntN(2)] // the file grows too seldom for ftruncate
				errno := [...]string{"EIO", "ENOSPC"}[rand.IntN(2)]
				took, hit := failCall(t, strace, b, l, what, errno)
				if hit {
					done++
					ended = max(ended, took)
				}
			}
			await(ctx, t, l, 100)
		})
	})
	t.Logf("the store had ended %s after the fault at the latest", ended.Round(time.Millisecond))
}

// failCall makes one of the next calls of the store plugin fail, and reports whether it came to that and how long after it the process
// ended.
func failCall(t *testing.T, strace string, b *broker, l *workload.Load, call, errno string) (took time.Duration, hit bool) {
	t.Helper()
	pid := b.store().PID
	when := 1 + rand.IntN(20)
	trace := exec.Command(strace, "-f", "-qq", "-p", strconv.Itoa(pid), "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call, errno, when), "-e", "status=failed")
	out := &firstWrite{at: make(chan time.Time, 1)}
	trace.Stderr = out
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		trace.Wait()
	}()
	defer func() {
		trace.Process.Kill()
		<-exited
	}()
	select {
	case at := <-out.at:
		fault(l, call+" "+errno)
		eventually(t, 20*time.Second, "the store has ended after "+call+" failed with "+errno, func() bool { return !alive(pid) })
		return time.Since(at), true
	case <-time.After(1500 * time.Millisecond): // the call was not made so often
		return 0, false
	case <-exited:
		return 0, false
	}
}

// firstWrite tells when something is written first: strace prints the call that it has made fail.
type firstWrite struct{ at chan time.Time }

func (w *firstWrite) Write(b []byte) (int, error) {
	select {
	case w.at <- time.Now():
	default:
	}
	return len(b), nil
}
