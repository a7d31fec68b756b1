package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/testcert"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// front is a proxy in front of a broker.
type front struct {
	addr string // localhost:PORT, with TLS
	ca   *x509.CertPool
	b    *broker

	alone bool // it drops what a proxy before it wrote
}

// setting is what a proxy's configuration stands in for a test.
type setting struct {
	dir, port, text string // text is the documentation's, with this machine's names
	cert, key       string
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// runs are the proxies of docs/proxies.md: the need's name, the program, and how to run it in the foreground.
var runs = []struct {
	need, program string
	command       func(t *testing.T, program string, s setting) *exec.Cmd
}{
	{"nginx", "nginx", func(t *testing.T, program string, s setting) *exec.Cmd {
		var folders strings.Builder
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&folders, "%s_temp_path %s/%[1]s; ", kind, s.dir)
		}
		conf := write(t, filepath.Join(s.dir, "nginx.conf"), "worker_processes 1; pid "+s.dir+"/pid; error_log stderr; daemon off;\n"+
			"events {}\nhttp {\naccess_log off; "+folders.String()+"\n"+s.text+"}\n")
		return exec.Command(program, "-c", conf, "-p", s.dir, "-e", "stderr")
	}},
	{"caddy", "caddy", func(t *testing.T, program string, s setting) *exec.Cmd {
		text := strings.Replace(s.text, "localhost {", "https://localhost:"+s.port+" {\n\ttls "+s.cert+" "+s.key, 1)
		conf := write(t, filepath.Join(s.dir, "Caddyfile"), "{\n\tadmin off\n\tauto_https off\n}\n"+text)
		cmd := exec.Command(program, "run", "--adapter", "caddyfile", "--config", conf)
		cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
		return cmd
	}},
	{"apache", "apache2", func(t *testing.T, program string, s setting) *exec.Cmd {
		modules := ""
		for _, m := range []string{"mpm_event", "authz_core", "ssl", "headers", "proxy", "proxy_http"} {
			modules += "LoadModule " + m + "_module /usr/lib/apache2/modules/mod_" + m + ".so\n"
		}
		conf := write(t, filepath.Join(s.dir, "apache.conf"), modules+"ServerRoot "+s.dir+"\nServerName localhost\nPidFile "+s.dir+"/pid\n"+
			"DefaultRuntimeDir "+s.dir+"\nErrorLog /dev/stderr\nUser www-data\nGroup www-data\nListen "+s.port+"\n"+s.text)
		return exec.Command(program, "-f", conf, "-DFOREGROUND")
	}},
}

// openFront starts a broker and the proxy in front of it.
func openFront(t *testing.T, program, snippet string, command func(*testing.T, string, setting) *exec.Cmd) *front {
	t.Helper()
	authority := testcert.New(t)
	s := setting{dir: t.TempDir()}
	s.cert, s.key = authority.Files(t, s.dir, testcert.Request{})
	config := write(t, filepath.Join(s.dir, "carillon.yaml"), mistakesConfig+`
trusted_proxies: [127.0.0.1]
trusted_header: x-forwarded-for
limits: {sessions_per_address: 2}
`)
	b := newBroker(t, "-c", config)
	b.start()
	addr := freeAddr(t)
	_, s.port, _ = net.SplitHostPort(addr)
	s.text = strings.NewReplacer("/etc/letsencrypt/live/push.example.com/fullchain.pem", s.cert,
		"/etc/letsencrypt/live/push.example.com/privkey.pem", s.key, "push.example.com", "localhost", "443", s.port,
		"127.0.0.1:8080", b.listen).Replace(snippet)
	startProxy(t, command(t, program, s), addr)
	f := &front{addr: "localhost:" + s.port, b: b, ca: x509.NewCertPool()}
	ca, err := os.ReadFile(authority.File)
	if err != nil || !f.ca.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	return f
}

func startProxy(t *testing.T, cmd *exec.Cmd, addr string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its workers go with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // that it ended is what matters
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(3 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("the proxy said:\n%s", said.String())
		}
	})
	eventually(t, 20*time.Second, "the proxy listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("the proxy ended: %s", said.String())
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// client is an HTTP client of the proxy, whose own address is from.
func (f *front) client(t *testing.T, from string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(addr)
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			return d.DialContext(ctx, "tcp4", "127.0.0.1:"+port)
		},
		TLSClientConfig: &tls.Config{RootCAs: f.ca, ServerName: "localhost"},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// connect is a client through the proxy, with what a proxy before this one would have said.
func (f *front) connect(t *testing.T, forwarded string) (*carillon.Client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := carillon.Dial(ctx, "wss://"+f.addr+"/ws", carillon.WithHTTPClient(f.client(t, "127.0.0.1")),
		carillon.WithToken(token(t, "main", mistakesSecret, nil)), carillon.WithHTTPHeader(http.Header{"X-Forwarded-For": {forwarded}}))
	if err == nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := c.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return c, err
}

// post publishes to orders.1 and returns the answer.
func (f *front) post(t *testing.T, from, path string, headers ...string) told {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+f.addr+path, strings.NewReader("1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := f.client(t, from).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Code, Detail, Hint string }
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("status %d: %q", resp.StatusCode, body)
	}
	return told{p.Code, p.Detail, p.Hint, resp.StatusCode}
}
