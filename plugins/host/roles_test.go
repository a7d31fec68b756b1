//go:build unix

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/protocol"
)

// actAs is the main function of this binary's other roles.
func actAs(role string, args []string) {
	switch role {
	case "auth":
		kit.Serve(kit.Plugin{Name: "test-auth", Version: "1.2.3", Kind: kit.KindAuth, Capabilities: []string{"test"}, ConfigSchema: authSchema, Auth: newTestAuth})
	case "powers":
		kit.Serve(kit.Plugin{
			Name: "test-powers", Kind: kit.KindAuth, Capabilities: []string{"authorize", "revocations"},
			Auth: func(json.RawMessage) (broker.Authenticator, error) { return &powers{}, nil },
		})
	case "boast": // of what it cannot do
		kit.Serve(kit.Plugin{
			Name: "test-boast", Kind: kit.KindAuth, Capabilities: []string{args[0]},
			Auth: func(json.RawMessage) (broker.Authenticator, error) { return &testAuth{}, nil },
		})
	case "store":
		kit.Serve(kit.Plugin{Name: "test-store", Kind: kit.KindStore, Store: newTestStore})
	case "shared-store":
		kit.Serve(kit.Plugin{Name: "shared-store", Kind: kit.KindStore, Capabilities: []string{CapabilityShared}, Store: newTestStore})
	case "slow-close":
		kit.Serve(kit.Plugin{Name: "slow-close", Kind: kit.KindStore, Store: func(json.RawMessage) (kit.Store, error) { return slowStore{}, nil }})
	case "say": // and end with the status
		fmt.Print(unquote(args[0]))
		status, _ := strconv.Atoi(args[1])
		os.Exit(status)
	case "say-and-hang": // $SOCKET is a socket that nobody serves
		says := unquote(args[0])
		if strings.Contains(says, "$SOCKET") {
			l, err := net.Listen("unix", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")+"/s")
			if err != nil {
				panic(err)
			}
			says = strings.ReplaceAll(says, "$SOCKET", l.Addr().String())
		}
		fmt.Print(says)
		forever()
	case "say-much":
		for b := []byte(strings.Repeat("x", 1<<20)); ; {
			if _, err := os.Stdout.Write(b); err != nil {
				forever()
			}
		}
	case "panic":
		panic("boom")
	case "watched": // by a deathWatch, and deaf to everything
		connectTo(args[0])
		forever()
	case "faulty":
		serveFaulty(args[0])
	case "fork-and-end":
		child := exec.Command("/proc/self/exe", "as:watched", args[0])
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
	case "foreign":
		serveForeign()
	case "host":
		hostPlugin(args[0], args[1:])
	}
}

// serveForeign is a plugin as another language would have it: gRPC and the handshake, nothing of go-plugin or the kit.
func serveForeign() {
	l, err := net.Listen("unix", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")+"/foreign")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	commonv1pb.RegisterPluginServiceServer(server, foreign{})
	wire.RegisterAuth(server, func() broker.Authenticator { return &testAuth{user: "u"} })
	fmt.Printf("1|1|unix|%s|grpc\n", l.Addr())
	go func() { _ = server.Serve(l) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Fprintln(os.Stderr, "foreign plugin ends")
}

type foreign struct {
	commonv1pb.UnimplementedPluginServiceServer
}

func (foreign) Describe(context.Context, *commonv1pb.DescribeRequest) (*commonv1pb.DescribeResponse, error) {
	return &commonv1pb.DescribeResponse{Name: "foreign", Kind: KindAuth, ContractVersions: []uint32{1, 2}}, nil
}

func (foreign) Configure(context.Context, *commonv1pb.ConfigureRequest) (*commonv1pb.ConfigureResponse, error) {
	return &commonv1pb.ConfigureResponse{}, nil
}

func (foreign) Health(context.Context, *commonv1pb.HealthRequest) (*commonv1pb.HealthResponse, error) {
	return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_SERVING}, nil
}

// unquote lets an argument hold any byte.
func unquote(arg string) string {
	text, err := strconv.Unquote(`"` + arg + `"`)
	if err != nil {
		panic(err)
	}
	return text
}

// forever is deaf to the lifeline and to signals that can be ignored.
func forever() {
	signals := make(chan os.Signal, 1)
	signal.Ignore(syscall.SIGTERM, syscall.SIGPIPE)
	signal.Notify(signals, syscall.SIGUSR1)
	<-signals
}

// connectTo lets a deathWatch know of this process for as long as it lives.
func connectTo(path string) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		panic(err)
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
}

// hostPlugin is a broker's side in a process of its own, to be killed.
func hostPlugin(role string, args []string) {
	h, err := New(Options{})
	if err != nil {
		panic(err)
	}
	spec := bundled("a", role, args...)
	if role == "watched-kit" {
		spec = bundled("a", "auth")
		spec.Config = []byte(`{"watch": "` + args[0] + `"}`)
	}
	if _, err := h.Auth(spec); err != nil {
		panic(err)
	}
	forever()
}

const authSchema = `{
	"type": "object",
	"additionalProperties": false,
	"properties": {
		"watch": {"type": "string"},
		"refuse": {"type": "string"},
		"fail": {"type": "string"},
		"flood": {"type": "boolean"},
		"fork": {"type": "string"},
		"orphan": {"type": "string"},
		"user": {"type": "string"},
		"slow": {"type": "integer"},
		"keys": {"type": "array", "items": {"type": "object", "required": ["kid"], "properties": {"alg": {"enum": ["HS256"]}, "secret": {"type": "string", "minLength": 32}}}}
	}
}`

// testAuth does what the token says.
type testAuth struct {
	user  string
	slow  int64 // every so many-th call is never answered
	asked atomic.Int64
	sick  sync.Mutex
}

func newTestAuth(raw json.RawMessage) (broker.Authenticator, error) {
	var config struct {
		Watch, Refuse, Fail, Fork, Orphan, User string
		Flood                                   bool
		Slow                                    int64
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	if config.User == "" {
		config.User = "u"
	}
	if config.Watch != "" {
		connectTo(config.Watch)
	}
	if config.Refuse != "" {
		return nil, kit.BadConfig("refuse: found %q, wanted nothing", config.Refuse)
	}
	if config.Fail != "" {
		return nil, errors.New(config.Fail)
	}
	if config.Flood {
		go flood(syscall.Stdout)
		go flood(syscall.Stderr)
	}
	if config.Fork != "" {
		child := exec.Command("/proc/self/exe", "as:watched", config.Fork)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			return nil, err
		}
	}
	if config.Orphan != "" {
		child := exec.Command("/proc/self/exe", "as:fork-and-end", config.Orphan)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Run(); err != nil {
			return nil, err
		}
	}
	return &testAuth{user: config.User, slow: config.Slow}, nil
}

// flood writes lines, and lines without end, to a descriptor for ever.
func flood(fd int) {
	line := []byte(strings.Repeat("\x1b[31mred\x1b[0m\r\n", 1000) + `{"level":"fatal","msg":"` + strings.Repeat("y", 100_000))
	for {
		if _, err := syscall.Write(fd, line); err != nil {
			return
		}
	}
}

func (a *testAuth) Authenticate(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	if n := a.asked.Add(1); a.slow > 0 && n%a.slow == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if path, ok := strings.CutPrefix(c.Token, "until "); ok { // the other end of path hangs up
		conn, err := net.Dial("unix", path)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, conn)
		return &broker.Identity{User: a.user}, nil
	}
	switch c.Token {
	case "who":
		return &broker.Identity{User: "u" + strconv.Itoa(os.Getpid()), Attributes: map[string]string{"env": strings.Join(os.Environ(), "\n")}}, nil
	case "expired":
		return nil, protocol.Errorf(protocol.CodeTokenExpired, "an hour ago")
	case "malformed":
		return &broker.Identity{User: "u", Expires: time.Now().Add(-time.Hour)}, nil
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "panic":
		panic("boom at " + c.Token)
	case "exit":
		os.Exit(0)
	case "sick":
		a.sick.Lock()
	case "well":
		a.sick.Unlock()
	case "limits":
		limits, err := os.ReadFile("/proc/self/limits")
		return &broker.Identity{User: a.user, Attributes: map[string]string{"limits": string(limits)}}, err
	case "open files":
		n := 0
		for ; n < 100_000; n++ {
			if _, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0); err != nil {
				break
			}
		}
		return &broker.Identity{User: strconv.Itoa(n)}, nil
	case "spin":
		go func() {
			for n := 0; ; n++ {
				a.asked.Add(int64(n % 2))
			}
		}()
	case "print":
		fmt.Println("printed by a library")
		fmt.Fprintln(os.Stderr, strings.Repeat("z", 200_000))
	case "bad lines":
		_, _ = syscall.Write(syscall.Stderr, []byte("{\"@message\": 5}\n{\"level\":\"WARN\",\"msg\":\"\\u001b[2Jclear\",\"n\":{\"a\":[1]},\"user\":\"eve\"}\n[ERROR] text\n"))
	}
	return &broker.Identity{User: a.user}, nil
}

// CheckHealth implements kit.HealthChecker.
func (a *testAuth) CheckHealth() error {
	if !a.sick.TryLock() {
		return errors.New("feels sick")
	}
	a.sick.Unlock()
	return nil
}

// newTestStore makes a store that needs a file alone, if it is told one.
func newTestStore(raw json.RawMessage) (kit.Store, error) {
	var config struct{ Lock, Fail string }
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	if config.Fail != "" {
		return nil, errors.New(config.Fail)
	}
	if config.Lock == "" {
		return &testStore{}, nil
	}
	lock, err := lockFile(config.Lock, os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("%s is open elsewhere: %w", config.Lock, err)
	}
	return &testStore{lock: lock}, nil
}

// testStore keeps records as long as its process lives. A record with the topic "never" is not answered.
type testStore struct {
	lock *os.File // held here, or the garbage collector would close it

	mu      sync.Mutex
	records []broker.Record
	changed chan struct{}
}

func (s *testStore) LoadRetained(_ context.Context, page func([]broker.Record) error) (uint64, error) {
	s.mu.Lock()
	records := append([]broker.Record{}, s.records...)
	s.mu.Unlock()
	return uint64(len(records)), page(records)
}

func (s *testStore) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	for next, caughtUp := int(from.After), false; ; caughtUp = true {
		s.mu.Lock()
		records := append([]broker.Record{}, s.records[min(next, len(s.records)):]...)
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		next += len(records)
		if err := on(broker.Feed{Records: records, CaughtUp: !caughtUp, Term: protocol.RunID{7}, Head: uint64(next)}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *testStore) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	if batch[0].Topic == "never" {
		return
	}
	s.mu.Lock()
	results := make([]broker.AppendResult, len(batch))
	for i, r := range batch {
		r.Offset = uint64(len(s.records) + 1)
		results[i].Offset = r.Offset
		s.records = append(s.records, r)
	}
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	s.mu.Unlock()
	done(results, nil)
}

func (s *testStore) Close() error { return nil }
