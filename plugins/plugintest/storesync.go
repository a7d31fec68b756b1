package plugintest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// The loss of power can't be had without root. What it would show is seen from outside with strace, which needs none: whether the plugin
// has the disk sync before it answers, and what it does when the disk refuses.

// durable is the capability of a store whose commits survive the loss of power.
const durable = "durability:fsync"

// syncCalls are what a process asks the system to sync by.
const syncCalls = "fsync,fdatasync,msync,sync_file_range,syncfs,sync"

var synced = regexp.MustCompile(`(?:fsync|fdatasync|msync|sync_file_range|syncfs|sync)(?:\(| resumed>).*= 0`)

// strace is where it is, or the case is skipped.
func (t *T) strace() string {
	if !slices.Contains(t.about.Capabilities, durable) {
		t.Skipf("the plugin does not announce %q", durable)
	}
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skipf("strace is not installed, which shows when a process has the disk sync")
	}
	return path
}

func testSyncs(t *T) {
	strace := t.strace()
	s := &store{dir: t.dataDir(), run: protocol.NewRunID()}
	trace := filepath.Join(t.TempDir(), "trace")
	wrapper := []string{strace, "-f", "-qq", "-o", trace, "-e", "signal=none", "-e", "trace=" + syncCalls + ",open,openat,io_uring_setup"}
	in, err := start(t.ctx, t.plugin, launch{wrapper: wrapper}, t.about, s.dir)
	if in != nil {
		defer t.closed(in)
	}
	if err != nil {
		t.Skipf("the plugin does not start under strace, which may not be allowed here: %v", err)
	}
	s.process, s.StoreClient = in, in.store
	before := t.syncs(trace, s.dir)
	for i := range 30 {
		batch := []broker.Record{s.retained("a", fmt.Sprint(i))}
		committed(t, batch, s.append(t, batch...))
		after := t.syncs(trace, s.dir)
		if after == before {
			t.Fatalf("append %d was answered, and since the one before (%d syncs) the process has not had the disk sync anything", i+1, before)
		}
		before = after
	}
	t.Logf("%d syncs up to the answer of append 30", before)
}

// syncs counts in a trace; what can't be seen that way ends the case.
func (t *T) syncs(trace, dir string) int {
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	n, files := 0, false
	for line := range bytes.Lines(text) {
		switch {
		case synced.Match(line):
			n++
		case bytes.Contains(line, []byte("io_uring_setup")):
			t.Skipf("it uses io_uring, whose syncs strace does not show")
		case bytes.Contains(line, []byte(dir)) && (bytes.Contains(line, []byte("O_WRONLY")) || bytes.Contains(line, []byte("O_RDWR"))):
			files = true
			if bytes.Contains(line, []byte("O_SYNC")) || bytes.Contains(line, []byte("O_DSYNC")) {
				t.Skipf("it has files open with O_SYNC or O_DSYNC: every write of it is a sync")
			}
		}
	}
	if !files {
		t.Skipf("it has no file open for writing in its folder: where it keeps its records nobody can look from here")
	}
	return n
}

// testRefusedSyncs has the disk refuse every sync from some moment on, with strace between.
func testRefusedSyncs(t *T) {
	strace := t.strace()
	s := startStore(t)
	var all []broker.Record
	for i := range 5 {
		batch := []broker.Record{s.retained("a", fmt.Sprint(i))}
		all = append(all, committed(t, batch, s.append(t, batch...))...)
	}
	cmd := exec.Command(strace, "-f", "-o", "/dev/null", "-e", "signal=none", "-e", "trace="+syncCalls, //nolint:noctx // ends with the process that it follows
		"-e", "inject="+syncCalls+":error=EIO", "-p", fmt.Sprint(s.process.cmd.Process.Pid))
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Skipf("strace: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if words := firstLine(said); !strings.Contains(words, "attached") {
		t.Skipf("strace may not look into the process: %s", words)
	}
	acknowledged := 0
	for i := range 20 {
		batch := []broker.Record{s.retained("b", fmt.Sprint(i))}
		answers := make(chan outcome, 1)
		s.Append(batch, func(r []broker.AppendResult, err error) { answers <- outcome{batch, r, err} })
		o := t.await(answers)
		if o.err != nil {
			break
		}
		if o.results[0].Err == nil {
			acknowledged++
		}
	}
	if acknowledged > 0 {
		t.Errorf("expected that nothing is acknowledged when the disk refuses to sync, %d records were", acknowledged)
	}
	grace := stopTime
	if t.Failed() {
		grace = time.Second
	}
	if !s.process.wait(grace) {
		t.Errorf("expected that the process ends when the disk refuses to sync, it is still there after %v", grace)
	}
	_ = cmd.Process.Kill()
	s.crash(t)
	got, _ := s.feed(t, broker.FollowFrom{})
	same(t, "feed of what was acknowledged before", all, got[:min(len(got), len(all))])
}

// firstLine waits for a line, for a while.
func firstLine(r interface{ Read([]byte) (int, error) }) string {
	line := make(chan string, 1)
	go func() { // ends with the reader's process
		text, _ := bufio.NewReader(r).ReadString('\n')
		line <- text
	}()
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case text := <-line:
		return strings.TrimSpace(text)
	case <-timer.C:
		return "it said nothing for 5 s"
	}
}
