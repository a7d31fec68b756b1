package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/freeport"
	"github.com/carillon-mq/carillon/internal/require"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// carillonBinary is the product under test, built by TestMain.
var carillonBinary string

func TestMain(m *testing.M) { os.Exit(built.Run(m, &carillonBinary)) }

func count(gate, campaign int) int { return require.Rounds(gate, campaign) }

// broker is a `carillon serve` process on fixed addresses, so that clients find it again after a kill.
type broker struct {
	t      *testing.T
	listen string
	admin  string
	dir    string
	args   []string
	env    []string // settings

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    strings.Builder
}

func newBroker(t *testing.T, args ...string) *broker {
	t.Helper()
	b := &broker{t: t, listen: freeAddr(t), admin: freeAddr(t), dir: t.TempDir(), args: args}
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("the broker said:\n%s", b.said())
		}
	})
	return b
}

func freeAddr(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// start runs the broker and waits until it says that it is ready.
func (b *broker) start() {
	b.t.Helper()
	if err := b.tryStart(); err != nil {
		b.t.Fatal(err)
	}
}

// tryStart is start for tests in which the broker may refuse.
func (b *broker) tryStart() error {
	ready, exited, err := b.launch()
	if err != nil {
		return err
	}
	select {
	case <-ready:
		return nil
	case <-exited:
		return fmt.Errorf("the broker exited: %s", b.said())
	case <-time.After(20 * time.Second):
		b.dump()
		return fmt.Errorf("the broker was not ready in time: %s", b.said())
	}
}

// launch starts the process. The channels are closed when it says that it is ready, and when it has ended.
func (b *broker) launch() (ready, exited chan struct{}, err error) {
	cmd := exec.Command(carillonBinary, append([]string{"serve", "--listen", b.listen, "--admin-listen", b.admin, "--data-dir", b.dir}, b.args...)...)
	cmd.Env = built.Environ()
	cmd.Env = append(cmd.Env, b.env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	ready, exited = make(chan struct{}), make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stderr)
		told := false
		for lines.Scan() {
			b.mu.Lock()
			b.log.WriteString(lines.Text() + "\n")
			b.mu.Unlock()
			if !told && strings.HasPrefix(lines.Text(), "carillon: ready") {
				told = true
				close(ready)
			}
		}
		cmd.Wait()
		close(exited)
	}()
	b.mu.Lock()
	b.cmd, b.exited = cmd, exited
	b.mu.Unlock()
	return ready, exited, nil
}

// dump ends the plugins and the broker so that they say what each of their goroutines was doing.
func (b *broker) dump() {
	b.mu.Lock()
	pid, exited := b.cmd.Process.Pid, b.exited
	b.mu.Unlock()
	select {
	case <-exited:
		return
	default:
	}
	for _, child := range processesOf(b.t, pid) {
		syscall.Kill(child, syscall.SIGQUIT)
	}
	wait(b.t, time.Second) // for the broker to pass on what the plugins say
	syscall.Kill(pid, syscall.SIGQUIT)
	select {
	case <-exited:
	case <-time.After(5 * time.Second):
	}
}

func (b *broker) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func (b *broker) pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cmd.Process.Pid
}

// kill ends the broker with SIGKILL and waits for the end of the process.
func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	b.cmd.Process.Kill()
	<-b.exited
}

func (b *broker) url() string { return "ws://" + b.listen + "/ws" }

// status is one plugin as the admin address shows it.
type status struct {
	Name     string
	State    string
	PID      int
	Restarts int
	Reloads  int
	Since    time.Time
}

func (b *broker) plugins() []status {
	var out struct{ Plugins []status }
	resp, err := http.Get("http://" + b.admin + "/v1/admin/plugins")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if json.Unmarshal(body, &out) != nil && json.Unmarshal(body, &out.Plugins) != nil {
		return nil
	}
	return out.Plugins
}

// store is the store plugin, once it is ready.
func (b *broker) store() status {
	b.t.Helper()
	return b.plugin("store-bolt")
}

// plugin is the plugin of a name, once it is ready.
func (b *broker) plugin(name string) status {
	b.t.Helper()
	var found status
	eventually(b.t, 10*time.Second, name+" is ready", func() bool {
		found = b.find(name)
		return found.State == "ready" && found.PID > 0
	})
	return found
}

// find is the plugin of a name as it is now. The zero status: the broker did not tell.
func (b *broker) find(name string) status {
	for _, p := range b.plugins() {
		if p.Name == name {
			return p
		}
	}
	return status{}
}

func killProcess(pid int) { syscall.Kill(pid, syscall.SIGKILL) }

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// eventually waits until what is so, and fails the test when that takes longer than most.
func eventually(t *testing.T, most time.Duration, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), most) // while the test cleans up, too
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s it is still not so that %s", most, what)
		}
	}
}

// pause is between two things that somebody does again and again.
func pause(ctx context.Context) {
	select {
	case <-time.After(5 * time.Millisecond):
	case <-ctx.Done():
	}
}

// client connects to b, and keeps trying while the broker is away.
func client(t *testing.T, b *broker) *carillon.Client {
	t.Helper()
	return clientAt(t, b.url())
}

func clientAt(t *testing.T, url string, opts ...carillon.Option) *carillon.Client {
	t.Helper()
	opts = append([]carillon.Option{carillon.WithBackoff(10*time.Millisecond, 100*time.Millisecond), carillon.WithDialRetry()}, opts...)
	c, err := carillon.Dial(t.Context(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(c) })
	return c
}

// leave closes c at once: the broker may be gone.
func leave(c *carillon.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.Close(ctx)
}

// spread is what a test says of times.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "no time: there were none"
	}
	all = slices.Sorted(slices.Values(all))
	at := func(part float64) time.Duration {
		return all[int(part*float64(len(all)-1)+0.5)].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, most %v (%d)", at(0.5), at(0.99), at(1), len(all))
}

// quickest are so much of all times, without the longest.
func quickest(all []time.Duration, part float64) []time.Duration {
	return slices.Sorted(slices.Values(all))[:int(part*float64(len(all))+0.5)]
}

func within(t *testing.T, what string, all []time.Duration, most time.Duration) {
	t.Helper()
	if len(all) > 0 && slices.Max(all) > most {
		t.Errorf("%s after %v, wanted %v at most", what, slices.Max(all), most)
	}
}
