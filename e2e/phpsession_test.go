package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// phpApp is an application with PHP's own sessions, and a broker that asks it who is logged in.
type phpApp struct {
	t    *testing.T
	b    *broker
	addr string
	hold string // as long as this file is there, slow.php does not answer
	php  *exec.Cmd

	settings []string
}

const shopToken = "0123456789abcdef0123456789abcdef"

// newPHPApp starts both; settings are for PHP's environment.
func newPHPApp(t *testing.T, settings ...string) *phpApp {
	t.Helper()
	require.Program(t, "php", "php")
	a := &phpApp{t: t, addr: freeAddr(t), hold: filepath.Join(t.TempDir(), "hold"), settings: settings}
	config := write(t, filepath.Join(t.TempDir(), "carillon.yaml"), fmt.Sprintf(`
origins: ["https://app.example"]
auth:
  plugin: auth-http
  headers: [Cookie]
  config:
    url: http://%s/slow.php
    remember: none
    services:
      - {user: shop, secret: %s, grants: {publish: [">", "$user.>"]}}
limits: {auth_timeout: 1m}
`, a.addr, shopToken))
	a.b = newBroker(t, "-c", config)
	a.b.start()
	a.run()
	return a
}

// run starts PHP, and returns when it answers.
func (a *phpApp) run() {
	a.t.Helper()
	a.php = exec.Command("php", "-d", "session.save_path="+a.t.TempDir(), "-S", a.addr, "-t", "testdata/phpsession")
	a.php.Env = append(append(os.Environ(), "CARILLON="+a.b.listen, "SHOP_TOKEN="+shopToken, "HOLD="+a.hold), a.settings...)
	var said bytes.Buffer
	a.php.Stdout, a.php.Stderr = &said, &said
	if err := a.php.Start(); err != nil {
		a.t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = a.php.Process.Kill()
		_ = a.php.Wait()
	})
	a.t.Cleanup(func() {
		stop()
		if a.t.Failed() {
			a.t.Logf("PHP said:\n%s", said.String())
		}
	})
	eventually(a.t, 20*time.Second, "PHP listens", func() bool {
		conn, err := net.Dial("tcp", a.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (a *phpApp) post(page string, form url.Values) (body string, cookie string) {
	a.t.Helper()
	resp, err := http.PostForm("http://"+a.addr+"/"+page, form)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %s %s %v", page, resp.Status, b, err)
	}
	for _, c := range resp.Cookies() {
		cookie = c.Name + "=" + c.Value // the last one: the session has got a new id
	}
	return string(b), cookie
}

// logIn is the session cookie of a user who has logged in.
func (a *phpApp) logIn(user string) string {
	a.t.Helper()
	_, cookie := a.post("login.php", url.Values{"user": {user}})
	if !strings.HasPrefix(cookie, "PHPSESSID=") {
		a.t.Fatalf("PHP set %q", cookie)
	}
	return cookie
}

// push has PHP publish an order to a user.
func (a *phpApp) push(user, order string) {
	a.t.Helper()
	if body, _ := a.post("push.php", url.Values{"user": {user}, "order": {order}}); !strings.Contains(body, `"durability"`) {
		a.t.Fatalf("the push was answered with %s", body)
	}
}

// publish does the same without PHP.
func (a *phpApp) publish(user, order string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, "http://"+a.b.listen+"/v1/topics/$user."+user+".orders", strings.NewReader(`{"order":"`+order+`"}`))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("publish: %s", resp.Status)
	}
}

// page is a browser's page with a session cookie, connected by WebSocket.
func (a *phpApp) page(ctx context.Context, cookie string, opts ...carillon.Option) (*carillon.Client, error) {
	return carillon.Dial(ctx, a.b.url(), append(opts, carillon.WithHTTPHeader(browser(cookie)))...)
}

func (a *phpApp) open(cookie string) *carillon.Client {
	a.t.Helper()
	c, err := a.page(a.t.Context(), cookie)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { leave(c) })
	return c
}

// orders are the pushes to a user, as its page gets them.
func (a *phpApp) orders(c *carillon.Client, user string) <-chan string {
	a.t.Helper()
	got := make(chan string, 100)
	sub := c.Subscribe("$user." + user + ".>")
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range sub.Messages(context.WithoutCancel(a.t.Context())) {
			if err != nil {
				return // the client has ended, or what is missing is waited for in vain
			}
			got <- string(m.Payload)
		}
	})
	a.t.Cleanup(func() {
		leave(c)
		reading.Wait()
	})
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	if err := sub.Ready(ctx); err != nil {
		a.t.Fatal(err)
	}
	return got
}

func (a *phpApp) wantOrder(got <-chan string, order string) {
	a.t.Helper()
	select {
	case text := <-got:
		if !strings.Contains(text, `"`+order+`"`) {
			a.t.Errorf("got %s, want order %s and nothing before it", text, order)
		}
	case <-time.After(20 * time.Second):
		a.t.Fatalf("order %s did not arrive", order)
	}
}

func TestAPHPSessionIsALogin(t *testing.T) {
	a := newPHPApp(t)
	ada, zoe := a.logIn("42"), a.logIn("43")
	adasPage, zoesPage := a.open(ada), a.open(zoe)
	adasOrders, zoesOrders := a.orders(adasPage, "42"), a.orders(zoesPage, "43")
	a.push("42", "first")
	a.wantOrder(adasOrders, "first")
	a.push("43", "hers")
	a.wantOrder(zoesOrders, "hers") // and nothing of Ada's before it

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := zoesPage.Subscribe("$user.42.>").Ready(ctx); protocol.CodeOf(err) != protocol.CodeForbidden {
		t.Errorf("Zoe subscribes to what is Ada's: %v", err)
	}
	if _, err := zoesPage.Publish(ctx, "chat.43", 1); err != nil {
		t.Errorf("a right that PHP gives: %v", err)
	}
	for name, cookie := range map[string]string{"nobody's session": "PHPSESSID=0123456789abcdef0123456789", "another cookie": "a=b"} {
		if _, err := a.page(ctx, cookie); protocol.CodeOf(err) != protocol.CodeTokenMissing {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.foreignPages(ada)
	a.whenThePHPIsSlow(adasPage, adasOrders, zoe)
	a.whenThePHPIsAway(adasPage, adasOrders, zoe)
	for _, secret := range []string{strings.TrimPrefix(ada, "PHPSESSID="), strings.TrimPrefix(zoe, "PHPSESSID="), shopToken} {
		if strings.Contains(a.b.said(), secret) {
			t.Error("what a client has shown is in the broker's log")
		}
	}
}

// foreignPages come with a visitor's cookie, because browsers send it (J28).
func (a *phpApp) foreignPages(cookie string) {
	a.t.Helper()
	for name, header := range map[string]http.Header{
		"of another origin":  {"Cookie": {cookie}, "Origin": {"https://evil.test"}},
		"without an origin":  {"Cookie": {cookie}, "Sec-Fetch-Site": {"cross-site"}},
		"of a null origin":   {"Cookie": {cookie}, "Origin": {"null"}},
		"of the same domain": {"Cookie": {cookie}, "Origin": {"https://evil.app.example"}},
	} {
		if _, err := carillon.Dial(a.t.Context(), a.b.url(), carillon.WithHTTPHeader(header)); protocol.CodeOf(err) != protocol.CodeBadOrigin {
			a.t.Errorf("J28: a page %s: %v", name, err)
		}
		for kind, way := range waysIn {
			if status, text := a.enter(way, "42", header); status != http.StatusForbidden || !strings.Contains(text, `"bad_origin"`) {
				a.t.Errorf("J28: %s by a page %s: %d %s", kind, name, status, text)
			}
		}
	}
}

// whenThePHPIsSlow a login waits for it, and nothing else does.
func (a *phpApp) whenThePHPIsSlow(page *carillon.Client, orders <-chan string, other string) {
	a.t.Helper()
	write(a.t, a.hold, "")
	late := make(chan error, 1)
	go func() {
		c, err := a.page(a.t.Context(), other, carillon.WithDialRetry(), carillon.WithBackoff(10*time.Millisecond, 100*time.Millisecond))
		if err == nil {
			leave(c)
		}
		late <- err
	}()
	for i := range 20 {
		order := fmt.Sprintf("while it is slow %d", i)
		a.publish("42", order)
		a.wantOrder(orders, order)
	}
	select {
	case err := <-late:
		a.t.Errorf("the login did not wait for PHP: %v", err)
	default:
	}
	if page.Status().State != carillon.StateConnected {
		a.t.Errorf("the page is %v", page.Status().State)
	}
	if err := os.Remove(a.hold); err != nil {
		a.t.Fatal(err)
	}
	select {
	case err := <-late:
		if err != nil {
			a.t.Errorf("the login, when PHP answers again: %v", err)
		}
	case <-time.After(30 * time.Second):
		a.t.Error("the login did not come through")
	}
}

// whenThePHPIsAway nobody new is let in and nobody is refused, the operator is told why, and who is connected stays.
func (a *phpApp) whenThePHPIsAway(page *carillon.Client, orders <-chan string, cookie string) {
	a.t.Helper()
	_ = a.php.Process.Kill()
	_ = a.php.Wait()
	if _, err := a.page(a.t.Context(), cookie); protocol.CodeOf(err) != protocol.CodeUnavailable {
		a.t.Errorf("a login: %v, want unavailable", err)
	}
	eventually(a.t, 10*time.Second, "the log says what is wrong", func() bool {
		said := a.b.said()
		return strings.Contains(said, "no authentication decision") && strings.Contains(said, "/slow.php") && strings.Contains(said, "connection refused")
	})
	a.publish("42", "while it is away")
	a.wantOrder(orders, "while it is away")
	if page.Status().State != carillon.StateConnected {
		a.t.Errorf("the page is %v", page.Status().State)
	}
}

func TestTheDocsShowThePHPThatWasTested(t *testing.T) {
	docs, err := os.ReadFile("../docs/auth-http.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/phpsession/carillon-auth.php")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(docs, append([]byte("```php\n"), script...)) {
		t.Error("docs/auth-http.md does not have testdata/phpsession/carillon-auth.php in it")
	}
}
