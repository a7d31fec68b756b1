package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carillon-mq/carillon/internal/testcert"
)

// scriptTime bounds every wait in a script.
const scriptTime = 60 * time.Second

// brokers are the brokers of one script, by name.
type brokers struct {
	byName map[string]*brokerProcess
}

// brokerProcess is one `carillon dev` or `carillon serve`.
type brokerProcess struct {
	cmd   *exec.Cmd
	ready chan string // the ready line
	ended chan error
	mu    sync.Mutex
	text  strings.Builder // its standard error
}

type brokersKey struct{}

// raceOptions keep each process that the race detector watches from sleeping a second at its end.
const raceOptions = "atexit_sleep_ms=10"

func setupScript(env *testscript.Env) error {
	all := &brokers{byName: map[string]*brokerProcess{}}
	env.Values[brokersKey{}] = all
	short, err := os.MkdirTemp("", "c") // sockets have short paths
	if err != nil {
		return err
	}
	env.Setenv("TEMP_DATA", short)
	env.Setenv("GORACE", raceOptions)
	env.Defer(func() {
		for _, b := range all.byName {
			_ = b.cmd.Process.Kill() // most have ended
			if err := <-b.ended; err != nil {
				env.T().Log(err)
			}
		}
		_ = os.RemoveAll(short) // in the system's folder for temporary files anyway
	})
	return nil
}

func brokersOf(ts *testscript.TestScript) *brokers {
	all, ok := ts.Value(brokersKey{}).(*brokers)
	if !ok {
		ts.Fatalf("no brokers")
	}
	return all
}

func (all *brokers) get(ts *testscript.TestScript, name string) *brokerProcess {
	b := all.byName[name]
	if b == nil {
		ts.Fatalf("no broker %q was started", name)
	}
	return b
}

var readyLine = regexp.MustCompile(`^carillon: ready listen=(\S+) admin=(\S+)$`)

// brokerCommand is `broker NAME dev|serve ARGS…`: it starts a broker on free ports, waits until it is ready, and points the
// client verbs at it.
func brokerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: broker NAME dev|serve ARGS")
	}
	self, err := os.Executable()
	ts.Check(err)
	b := &brokerProcess{ready: make(chan string, 1), ended: make(chan error, 1)}
	b.cmd = exec.Command(self, append(args[1:len(args):len(args)], "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")...)
	b.cmd.Args[0] = "carillon"
	b.cmd.Dir = ts.MkAbs(".")
	b.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "CARILLON_") })
	b.cmd.Env = append(b.cmd.Env, "TMPDIR="+ts.Getenv("TEMP_DATA"), "GORACE="+raceOptions)
	stderr, err := b.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(b.cmd.Start())
	brokersOf(ts).byName[args[0]] = b
	go func() {
		b.read(stderr)
		b.ended <- b.cmd.Wait()
	}()
	select {
	case line := <-b.ready:
		m := readyLine.FindStringSubmatch(line)
		if m == nil {
			ts.Fatalf("not a ready line: %q\n%s", line, b.log())
		}
		ts.Setenv("CARILLON_SERVER", "ws://"+m[1]+"/ws")
		ts.Setenv("HTTP", "http://"+m[1])
		ts.Setenv("LISTEN", m[1])
		ts.Setenv("CARILLON_ADMIN", "http://"+m[2])
		ts.Setenv("ADMIN", m[2])
		ts.Setenv("PID", strconv.Itoa(b.cmd.Process.Pid))
	case <-time.After(scriptTime):
		ts.Fatalf("broker %s was not ready in time:\n%s", args[0], b.log())
	}
}

// read keeps what the broker says until it ends.
func (b *brokerProcess) read(r io.Reader) {
	defer close(b.ready)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		b.mu.Lock()
		b.text.WriteString(lines.Text() + "\n")
		b.mu.Unlock()
		if strings.HasPrefix(lines.Text(), "carillon: ready") {
			b.ready <- lines.Text()
		}
	}
}

func (b *brokerProcess) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// signalCommand is `signal NAME TERM|KILL|HUP`.
func signalCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: signal NAME TERM|KILL|HUP")
	}
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}
	ts.Check(brokersOf(ts).get(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// endedCommand is `[!] ended NAME`: it waits for the broker's end, which has to be exit code 0, and prints its log.
func endedCommand(ts *testscript.TestScript, neg bool, args []string) {
	b := brokersOf(ts).get(ts, args[0])
	select {
	case err := <-b.ended:
		b.ended <- err
		fmt.Fprint(ts.Stdout(), b.log())
		if (err != nil) != neg {
			ts.Fatalf("broker %s: %v\n%s", args[0], err, b.log())
		}
	case <-time.After(scriptTime):
		ts.Fatalf("broker %s did not end in time:\n%s", args[0], b.log())
	}
}

// awaitCommand is `await METRIC VALUE`: it waits until the metric has the value.
func awaitCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: await METRIC VALUE")
	}
	poll(ts, fmt.Sprintf("%s is not %s", args[0], args[1]), func(ctx context.Context) bool {
		_, body := fetch(ctx, "GET", ts.Getenv("CARILLON_ADMIN")+"/metrics", "", nil)
		return strings.Contains(body, "\n"+args[0]+" "+args[1]+"\n")
	})
}

// holdsCommand is `holds NAME TEXT`: it waits until the broker's log holds the text.
func holdsCommand(ts *testscript.TestScript, _ bool, args []string) {
	b := brokersOf(ts).get(ts, args[0])
	poll(ts, fmt.Sprintf("the log of %s does not hold %q", args[0], args[1]), func(context.Context) bool {
		return strings.Contains(b.log(), args[1])
	})
}

func poll(ts *testscript.TestScript, what string, done func(context.Context) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s within %v", what, scriptTime)
		}
	}
}

// certificateCommand is `certificate NAME [DURATION]`: it makes NAME.crt and NAME.key for this machine, good for the duration or for
// three months, and ca.pem with the authority that signed them.
func certificateCommand(t *testing.T) func(*testscript.TestScript, bool, []string) {
	authority := testcert.New(t)
	return func(ts *testscript.TestScript, _ bool, args []string) {
		var r testcert.Request
		if len(args) > 1 {
			good, err := time.ParseDuration(args[1])
			ts.Check(err)
			r = testcert.Request{NotBefore: time.Now().AddDate(0, -3, 0), NotAfter: time.Now().Add(good)}
		}
		cert, key := authority.Issue(t, r)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".crt"), cert, 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
		ca, err := os.ReadFile(authority.File)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), ca, 0o600))
	}
}

// stallCommand is `stall`: it begins a request whose body does not come, and leaves it open.
func stallCommand(ts *testscript.TestScript, _ bool, _ []string) {
	c, err := net.Dial("tcp", ts.Getenv("LISTEN"))
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	_, err = fmt.Fprint(c, "POST /v1/topics/stalled HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	ts.Check(err)
	line, err := bufio.NewReader(c).ReadString('\n') // the broker waits for the body now
	ts.Check(err)
	if !strings.Contains(line, "100") {
		ts.Fatalf("unexpected answer %q", line)
	}
}

// httpCommand is `http METHOD PATH [BODY [HEADER…]]`: it sends a request and prints status and body. A path that does not start
// with http goes to the public listener.
func httpCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: http METHOD PATH [BODY [HEADER…]]")
	}
	args = append(args, "")
	url := args[1]
	if !strings.HasPrefix(url, "http") {
		url = ts.Getenv("HTTP") + url
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	status, body := fetch(ctx, args[0], url, args[2], args[3:])
	fmt.Fprintf(ts.Stdout(), "%d %s\n", status, body)
}

// scriptClient takes any certificate: what a client has to trust is what the verbs are tested for.
var scriptClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

func fetch(ctx context.Context, method, url, body string, headers []string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	resp, err := scriptClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

func TestTheExampleAtTheRootStarts(t *testing.T) {
	root, err := filepath.Abs("../../carillon.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/example.txtar"},
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", root)
			return setupScript(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"broker": brokerCommand, "signal": signalCommand, "ended": endedCommand, "http": httpCommand,
		},
	})
}
