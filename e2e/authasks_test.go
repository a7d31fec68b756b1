package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// granted is the answer to what was done.
const granted = "granted"

// answers are how often those who ask were told what.
type answers struct {
	Wrong       int64 // granted to who has no right to it
	Refused     int64 // to those, in whatever words
	Granted     int64 // to who has the right
	Unavailable int64 // to those
}

func (a answers) less(b answers) answers {
	return answers{a.Wrong - b.Wrong, a.Refused - b.Refused, a.Granted - b.Granted, a.Unavailable - b.Unavailable}
}

// asks are clients that connect, subscribe and publish, over WebSocket and HTTP, with the right to it and without.
type asks struct {
	t       *testing.T
	b       *broker
	askers  []*asker
	topics  atomic.Int64
	last    atomic.Int64                     // a topic that was asked about during the fault
	errorf  func(format string, args ...any) // of what must not be
	answers struct{ wrong, refused, granted, unavailable atomic.Int64 }
}

// asker does one thing after the other. Its two sessions stay, whatever happens.
type asker struct {
	*asks
	right, other *wire
}

func newAsks(t *testing.T, b *broker, n int) *asks {
	t.Helper()
	a := &asks{t: t, b: b, errorf: t.Errorf}
	for range n {
		one := &asker{asks: a}
		for token, session := range map[string]**wire{"right": &one.right, "other": &one.other} {
			w, told, err := a.connect(token)
			if err != nil || told != granted {
				t.Fatalf("%s was told %s: %v", token, told, err)
			}
			t.Cleanup(func() { _ = w.close() })
			*session = w
		}
		a.askers = append(a.askers, one)
	}
	return a
}

func (a *asks) told() answers {
	c := &a.answers
	return answers{c.wrong.Load(), c.refused.Load(), c.granted.Load(), c.unavailable.Load()}
}

// all has n connects, n subscribes and n publishes tried by those without the right, and as many by those with it.
func (a *asks) all(n int) {
	var todo atomic.Int64
	var group sync.WaitGroup
	for _, one := range a.askers {
		group.Go(func() {
			for i := todo.Add(1); i <= int64(n); i = todo.Add(1) {
				if i%3 == 0 {
					one.overHTTP()
				} else {
					one.overWebSocket()
				}
			}
		})
	}
	group.Wait()
}

// overWebSocket connects, and has the sessions that stay subscribe and publish.
func (a *asker) overWebSocket() {
	n := a.topics.Add(1)
	ok, secret := fmt.Sprintf("ok.%d", n), fmt.Sprintf("secret.%d", n)
	a.rightful("connect", a.comeAndGo("right"))
	a.wrongful("connect", a.comeAndGo([]string{"", "forged"}[n%2]))
	a.rightful("publish", a.on(a.right, &protocol.Publish{Topic: ok}))
	a.rightful("subscribe", a.on(a.right, &protocol.Subscribe{Filter: ok}))
	without := []*wire{a.right, a.other}[n%2] // who is asked about, or is not
	a.wrongful("publish", a.on(without, &protocol.Publish{Topic: secret}))
	a.wrongful("subscribe", a.on(without, &protocol.Subscribe{Filter: secret}))
	if a.asks.askers[0] == a {
		a.last.Store(n)
	}
}

// overHTTP does the same. Who connects there says at once what for.
func (a *asker) overHTTP() {
	n := a.topics.Add(1)
	ok, secret := fmt.Sprintf("ok.%d", n), fmt.Sprintf("secret.%d", n)
	a.rightful("connect and publish", a.post("right", ok))
	a.wrongful("connect and publish", a.post([]string{"", "forged"}[n%2], ok))
	a.rightful("publish", a.post("right", ok))
	a.rightful("subscribe", a.stream("right", ok))
	without := []string{"right", "other"}[n%2]
	a.wrongful("publish", a.post(without, secret))
	a.wrongful("subscribe", a.stream(without, secret))
}

// rightAgain returns when everybody is told what is right, about topics that were asked about during the fault, too.
func (a *asks) rightAgain() {
	a.t.Helper()
	one, n := a.askers[0], a.last.Load()
	ok, secret := fmt.Sprintf("ok.%d", n), fmt.Sprintf("secret.%d", n)
	until := func(what, want string, ask func() string) {
		a.t.Helper()
		told := ""
		eventually(a.t, 30*time.Second, what+" is right again", func() bool {
			if told = ask(); want == granted {
				a.rightful(what, told)
			} else {
				a.wrongful(what, told)
			}
			return told == want || a.t.Failed()
		})
	}
	until("connect with the right", granted, func() string { return one.comeAndGo("right") })
	until("connect with a forged token", "token_bad_signature", func() string { return one.comeAndGo("forged") })
	until("connect without a token", "token_missing", func() string { return one.comeAndGo("") })
	until("publish with the right", granted, func() string { return one.on(one.right, &protocol.Publish{Topic: ok}) })
	until("publish without", "forbidden", func() string { return one.on(one.right, &protocol.Publish{Topic: secret}) })
	until("subscribe with the right", granted, func() string { return one.on(one.right, &protocol.Subscribe{Filter: ok}) })
	until("subscribe without", "forbidden", func() string { return one.on(one.right, &protocol.Subscribe{Filter: secret}) })
	until("publish over HTTP with the right", granted, func() string { return one.post("right", ok) })
	until("publish over HTTP without", "forbidden", func() string { return one.post("right", secret) })
}

var unavailable = []string{"unavailable", "auth_unavailable"}

// rightful notes what somebody was told who has the right: yes, or to come back.
func (a *asks) rightful(what, told string) {
	switch {
	case told == granted:
		a.answers.granted.Add(1)
	case slices.Contains(unavailable, told):
		a.answers.unavailable.Add(1)
	default:
		a.errorf("%s: who has the right was told %s", what, told)
	}
}

// wrongful notes what somebody was told who has not: no, or to come back.
func (a *asks) wrongful(what, told string) {
	switch {
	case told == granted:
		a.answers.wrong.Add(1)
		a.errorf("%s was granted to somebody without the right", what)
	case slices.Contains(unavailable, told), slices.Contains([]string{"token_missing", "token_bad_signature", "forbidden"}, told):
		a.answers.refused.Add(1)
	default:
		a.errorf("%s: who has no right was told %s", what, told)
	}
}

// connect opens a session, which is nil if that is not granted.
func (a *asks) connect(token string) (session *wire, told string, err error) {
	w, err := dialWire(a.t.Context(), a.b.listen, 0)
	if err != nil {
		return nil, "", err
	}
	if told, err = w.ask(&protocol.Connect{Version: protocol.Version, Token: token}); err != nil || told != granted {
		return nil, told, w.close()
	}
	return w, told, nil
}

func (a *asker) comeAndGo(token string) string {
	w, told, err := a.connect(token)
	if err != nil {
		return err.Error()
	}
	if w != nil {
		_ = w.close()
	}
	return told
}

// on asks for something in a session.
func (a *asker) on(session *wire, p protocol.Packet) string {
	session.sub++
	switch p := p.(type) {
	case *protocol.Publish:
		p.ID = session.sub
	case *protocol.Subscribe:
		p.ID = session.sub
	}
	told, err := session.ask(p)
	if err != nil {
		return err.Error()
	}
	return told
}

// ask sends a packet, and returns the code of the answer.
func (w *wire) ask(p protocol.Packet) (told string, err error) {
	if err := w.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if err := w.send(p); err != nil {
		return "", err
	}
	for told == "" {
		err := w.read(func(r protocol.Raw, _ []byte) error {
			switch r.Type {
			case protocol.TypeConnected, protocol.TypeSubscribed, protocol.TypePublished:
				told = granted
			case protocol.TypeError, protocol.TypeDisconnect:
				p, err := protocol.DecodePacket(r)
				if err != nil {
					return err
				}
				if refusal, ok := p.(*protocol.ErrorPacket); ok {
					told = refusal.Name
				} else {
					told = p.(*protocol.Disconnect).Name
				}
			default: // a message of what is subscribed
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return told, nil
}

func (a *asker) post(token, topic string) string {
	return a.do(token, http.MethodPost, "/v1/topics/"+topic)
}

func (a *asker) stream(token, topic string) string {
	return a.do(token, http.MethodGet, "/v1/subscribe?filter="+url.QueryEscape(topic))
}

// do sends a request and returns the code of its answer.
func (a *asker) do(token, method, path string) string {
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.b.listen+path, nil)
	if err != nil {
		return err.Error()
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return granted
	}
	var problem struct{ Code string }
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(text, &problem) != nil {
		return fmt.Sprintf("%d %s", resp.StatusCode, text)
	}
	return problem.Code
}

// canary is a client that was connected before all faults, and publishes to itself.
type canary struct {
	end           context.CancelFunc
	all           sync.WaitGroup
	dropped, lost atomic.Int64
	sent, came    atomic.Int64
}

func startCanary(t *testing.T, b *broker) *canary {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &canary{end: cancel}
	client := clientAt(t, b.url(), carillon.WithToken("right"), carillon.WithStatus(func(s carillon.Status) {
		if s.State == carillon.StateReconnecting && ctx.Err() == nil {
			c.dropped.Add(1)
		}
	}))
	c.all.Go(func() {
		for _, err := range client.Subscribe("canary.>").Messages(ctx) {
			if err != nil && ctx.Err() == nil {
				c.lost.Add(1)
			}
			c.came.Add(1)
		}
	})
	eventually(t, 10*time.Second, "the canary is heard", func() bool {
		_, err := client.Publish(ctx, "canary.first", "x")
		return err == nil && c.came.Load() > 0
	})
	c.all.Go(func() {
		for ; ctx.Err() == nil; pause(ctx) {
			if _, err := client.Publish(ctx, "canary.more", "x"); err == nil {
				c.sent.Add(1)
			} else if ctx.Err() == nil {
				c.lost.Add(1)
			}
		}
	})
	return c
}

func (c *canary) stop(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "the canary is heard to its end", func() bool { return c.came.Load() > c.sent.Load() })
	c.end()
	c.all.Wait()
	t.Logf("who was connected published %d times", c.sent.Load())
	if c.dropped.Load() > 0 || c.lost.Load() > 0 || c.sent.Load() == 0 {
		t.Errorf("who was connected was dropped %d times, and lost %d of %d messages", c.dropped.Load(), c.lost.Load(), c.sent.Load())
	}
}

// buildFaultyAuth makes the plugin, and a broker that is to ask it.
func buildFaultyAuth(t *testing.T) *faultyAuth {
	t.Helper()
	dir := t.TempDir()
	f := &faultyAuth{t: t, plugin: filepath.Join(dir, "faulty"), spare: filepath.Join(dir, "spare"), control: filepath.Join(dir, "fault")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", f.spare, "-ldflags", "-X main.control="+f.control,
		"github.com/carillon-mq/carillon/plugins/internal/faultyauth")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f.putBack()
	program, err := os.ReadFile(f.plugin)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	config := write(t, filepath.Join(dir, "carillon.yaml"), strings.Join([]string{
		"auth:", "  path: " + f.plugin, "  sha256: " + hex.EncodeToString(sum[:]), "  start_timeout: 2s", "",
	}, "\n"))
	f.b = newBroker(t, "-c", config)
	return f
}
