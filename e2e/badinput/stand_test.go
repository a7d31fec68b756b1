package badinput

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/require"
)

// carillonBinary is the product under test, built by TestMain.
var carillonBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atATime()); err != nil {
		panic(err)
	}
	os.Exit(built.Run(m, &carillonBinary))
}

func count(gate, campaign int) int { return require.Rounds(gate, campaign) }

// stand is a broker that bad input is sent to, with a client that must not notice.
type stand struct {
	listen, admin, dir string

	cmd    *exec.Cmd
	exited chan struct{}
	canary *canary

	mu  sync.Mutex
	log strings.Builder
}

// openStand starts a broker with the configuration. Its canary lives until the test ends.
func openStand(t *testing.T, config string) *stand {
	t.Helper()
	return openStandIn(t, config, "")
}

// openStandIn is openStand with a folder for the data, in place of a new one, and started by a command, if there is one.
func openStandIn(t *testing.T, config, data string, by ...string) *stand {
	t.Helper()
	s := &stand{dir: t.TempDir(), exited: make(chan struct{})}
	data = cmp.Or(data, filepath.Join(s.dir, "data"))
	file := filepath.Join(s.dir, "carillon.yaml")
	config = strings.ReplaceAll(strings.ReplaceAll(config, "KEYFILE", publicKey(t, s.dir)), "REVOKED", s.revoked())
	if err := os.WriteFile(s.revoked(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append(by, carillonBinary, "serve", "-c", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data)
	s.cmd = exec.Command(command[0], command[1:]...)
	s.cmd.Env = built.Environ()
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go s.readLog(stderr, ready)
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("the broker said:\n%s", s.said(0))
		}
	})
	select {
	case <-ready:
	case <-s.exited:
		t.Fatalf("the broker exited: %s", s.said(0))
	case <-time.After(30 * time.Second):
		t.Fatalf("the broker was not ready in time: %s", s.said(0))
	}
	s.canary = startCanary(t, s)
	return s
}

// revoked is the file that lists tokens that are.
func (s *stand) revoked() string { return filepath.Join(s.dir, "revoked") }

func (s *stand) readLog(from io.Reader, ready chan struct{}) {
	lines := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		s.mu.Lock()
		s.log.WriteString(line)
		s.mu.Unlock()
		if ready != nil && strings.HasPrefix(line, "carillon: ready") {
			_, _ = fmt.Sscanf(line, "carillon: ready listen=%s admin=%s", &s.listen, &s.admin)
			close(ready)
			ready = nil
		}
		if err != nil {
			break
		}
	}
	_ = s.cmd.Wait() // what it exits with is told by the log
	close(s.exited)
}

// said is the log from a byte on.
func (s *stand) said(from int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()[from:]
}

func (s *stand) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// figures are the broker's metrics, by their names with labels.
type figures map[string]float64

const (
	goroutines  = "go_goroutines"
	descriptors = "process_open_fds"
	resident    = "process_resident_memory_bytes"
	retained    = "carillon_retained_topics"
	sessions    = "carillon_sessions"
	rejected    = `carillon_rejected_total{code="`
)

func (s *stand) figures(t *testing.T) figures {
	t.Helper()
	resp, err := http.Get("http://" + s.admin + "/metrics") //nolint:noctx // of a broker of this test
	if err != nil {
		t.Fatalf("the metrics: %v", err)
	}
	defer resp.Body.Close()
	all := figures{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(lines.Text(), " ")
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(name, "#") {
			all[name] = n
		}
	}
	if _, has := all[goroutines]; !has {
		t.Fatal("the metrics have no goroutines")
	}
	return all
}

// accepted is how many messages the log has been given, but for those of the canary, which have a class of their own.
func (f figures) accepted() int {
	return int(f[`carillon_messages_published_total{class="memory"}`] + f[`carillon_messages_published_total{class="stored"}`])
}

// refusals are the counters of refusals that have grown since before, by code.
func (f figures) refusals(before figures) map[string]int {
	grown := map[string]int{}
	for name, n := range f {
		if code, ok := strings.CutPrefix(name, rejected); ok && n > before[name] {
			grown[strings.TrimSuffix(code, `"}`)] = int(n - before[name])
		}
	}
	return grown
}

// eventually waits until what is so, and returns what is still not when that takes longer than most.
func eventually(t *testing.T, most time.Duration, wrong func() string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), most)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		what := wrong()
		if what == "" {
			return ""
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Sprintf("after %s %s", most, what)
		}
	}
}

// percentile is of times that are not sorted.
func percentile(times []time.Duration, p float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(times), cmp.Compare)
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}
