package apidocs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/apidoc"
	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/rawws"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/protocol"
)

// carillonBinary is the product under test, built by TestMain.
var carillonBinary string

func TestMain(m *testing.M) { os.Exit(built.Run(m, &carillonBinary)) }

const (
	secret  = "0123456789abcdef0123456789abcdef"
	issuer  = "https://app.example"
	patient = 30 * time.Second
)

var config = built.Config(issuer, secret) + `
topics:
  - {match: "live.>", class: live}
  - {match: "kept.>", class: stored}
`

// stand is a broker whose answers are held against the document.
type stand struct {
	listen, admin string
	file          string // its configuration
	doc           *apidoc.Document

	cmd    *exec.Cmd
	exited chan struct{}
	log    strings.Builder // complete once exited is closed
	auth   string          // header of a client that may do everything
}

// open starts a broker with the configuration and settings.
func open(t *testing.T, doc *apidoc.Document, settings ...string) *stand {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "carillon.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stand{file: file, doc: doc, exited: make(chan struct{}), auth: bearer(token(t, nil))}
	s.cmd = exec.Command(carillonBinary, "serve", "-c", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"))
	s.cmd.Env = built.Environ()
	s.cmd.Env = append(s.cmd.Env, settings...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	go s.read(stderr, ready)
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.exited
		if t.Failed() {
			t.Logf("the broker said:\n%s", &s.log)
		}
	})
	select {
	case ok := <-ready:
		if !ok {
			t.Fatal("the broker has ended")
		}
	case <-time.After(patient):
		t.Fatal("the broker was not ready in time")
	}
	return s
}

func (s *stand) read(stderr io.Reader, ready chan<- bool) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		s.log.WriteString(lines.Text() + "\n")
		if n, _ := fmt.Sscanf(lines.Text(), "carillon: ready listen=%s admin=%s", &s.listen, &s.admin); n == 2 {
			ready <- true
		}
	}
	_ = s.cmd.Wait() // it is killed
	close(s.exited)
	select {
	case ready <- false:
	default:
	}
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// token is one that may do everything, but for the claims given; nil takes one out.
func token(t *testing.T, claims map[string]any) string {
	t.Helper()
	return tokenOf(t, "main", secret, claims)
}

func tokenOf(t *testing.T, kid, secret string, claims map[string]any) string {
	t.Helper()
	signer, err := authjwt.NewSigner(kid, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	now, all := time.Now(), []string{">"}
	c := map[string]any{
		"iss": issuer, "aud": "carillon", "sub": "42", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"carillon": map[string]any{"publish": all, "subscribe": all, "history": all, "exclude": all, "presence": all},
	}
	for k, v := range claims {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	signed, err := signer.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// answer is one that the document has.
type answer struct {
	status int
	code   string
	header http.Header
	body   string
}

// wire is a connection that has not asked yet.
type wire struct {
	s  *stand
	nc net.Conn
	in *bufio.Reader
}

func (s *stand) dial(t *testing.T, addr string) *wire {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patient))
	return &wire{s, nc, bufio.NewReader(nc)}
}

// request is one of HTTP/1.1, its body with a length. A Host among the headers goes before localhost.
func request(method, target, body string, headers ...string) string {
	host := "Host: localhost"
	if i := slices.IndexFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Host: ") }); i >= 0 {
		host, headers = headers[i], slices.Delete(slices.Clone(headers), i, i+1)
	}
	lines := append([]string{method + " " + target + " HTTP/1.1", host}, headers...)
	if body != "" || method == http.MethodPost {
		lines = append(lines, fmt.Sprint("Content-Length: ", len(body)))
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// ask sends a request and holds the answer against the document.
func (s *stand) ask(t *testing.T, method, target, body string, headers ...string) answer {
	t.Helper()
	w := s.dial(t, s.listen)
	defer w.nc.Close()
	return w.ask(t, method, target, request(method, target, body, headers...))
}

// ask is ask with a request byte by byte.
func (w *wire) ask(t *testing.T, method, target, raw string) answer {
	t.Helper()
	if _, err := io.WriteString(w.nc, raw); err != nil {
		t.Fatal(err)
	}
	return w.answer(t, method, target)
}

func (w *wire) answer(t *testing.T, method, target string) answer {
	t.Helper()
	resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %.200s: %v", method, target, err)
	}
	var body []byte
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		err = w.s.doc.Check(method, target, resp, body)
	}
	if err != nil {
		t.Errorf("%s %.200s: %v", method, target, err)
	}
	var p struct{ Code string }
	if resp.Header.Get("Content-Type") == "application/problem+json" && method != http.MethodHead {
		if err := json.Unmarshal(body, &p); err != nil {
			t.Error(err)
		}
	}
	return answer{resp.StatusCode, p.Code, resp.Header, string(body)}
}

// upgrade are the headers that ask for a WebSocket.
func upgrade() []string {
	lines := strings.Split(strings.TrimSpace(rawws.Request("localhost", protocol.Subprotocol)), "\r\n")
	return lines[2:] // behind the request line and Host
}

// stops has a plugin stand still until the test ends. On a machine with much to do it goes on for a while after the signal.
func (s *stand) stops(t *testing.T, plugin string) {
	t.Helper()
	pid := built.PluginPID(t, s.admin, plugin)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	path := "/v1/admin/plugins/" + plugin
	s.until(t, plugin+" stands still", func() bool {
		w := s.dial(t, s.admin)
		defer w.nc.Close()
		return w.ask(t, "GET", path, request("GET", path, "")).decoded(t)["state"] != "ready"
	})
}

// until waits until what is so.
func (s *stand) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patient); !so(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after %s it is still not so that %s", patient, what)
		}
	}
}
