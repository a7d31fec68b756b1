package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/protocol"
)

// told is how a door explained a mistake.
type told struct {
	code, detail, hint string
	status             int // of an HTTP answer; 0 over a WebSocket
}

const (
	mistakesSecret = "0123456789abcdef0123456789abcdef"
	mistakesConfig = `
origins: [https://app.example]
auth:
  plugin: auth-jwt
  cookie: session
  config:
    issuer: https://app.example
    audience: carillon
    keys:
      - {kid: main, alg: HS256, secret: ` + mistakesSecret + `}
`
)

// doors are a broker with auth-jwt, and the ways into it.
type doors struct {
	t      *testing.T
	b      *broker
	config string
}

func openDoors(t *testing.T, settings ...string) *doors {
	t.Helper()
	config := filepath.Join(t.TempDir(), "carillon.yaml")
	if err := os.WriteFile(config, []byte(mistakesConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, "-c", config)
	b.env = settings
	b.start()
	return &doors{t, b, config}
}

// with is d for another test.
func (d *doors) with(t *testing.T) *doors { return &doors{t, d.b, d.config} }

// token signs claims over good ones; a nil value takes one out.
func token(t *testing.T, kid, secret string, claims map[string]any) string {
	t.Helper()
	signer, err := authjwt.NewSigner(kid, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	all := map[string]any{
		"iss": "https://app.example", "aud": "carillon", "sub": "42", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"carillon": map[string]any{"publish": []string{"orders.*"}, "subscribe": []string{"orders.>"}},
	}
	for k, v := range claims {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	signed, err := signer.Sign(all)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// request sends an HTTP request. Each of headers is "Name: value"; "Host: x" sets the host.
func (d *doors) request(method, path, body string, headers ...string) told {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.b.listen+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.problem(resp)
}

func (d *doors) problem(resp *http.Response) told {
	d.t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		d.t.Fatal(err)
	}
	var p struct {
		Code, Detail, Hint string
		Status             int
	}
	if err := json.Unmarshal(text, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != resp.StatusCode {
		d.t.Fatalf("status %d is no problem document: %q", resp.StatusCode, text)
	}
	if resp.StatusCode == http.StatusUnauthorized && !strings.Contains(resp.Header.Get("WWW-Authenticate"), p.Code) {
		d.t.Errorf("WWW-Authenticate does not say why: %q", resp.Header.Get("WWW-Authenticate"))
	}
	return told{p.Code, p.Detail, p.Hint, resp.StatusCode}
}

// upgrade asks for a WebSocket, as a client does, with more headers, and is refused.
func (d *doors) upgrade(path string, headers ...string) told {
	d.t.Helper()
	usual := []string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	if !strings.Contains(strings.Join(headers, "\n"), "Sec-WebSocket-Protocol: ") {
		usual = append(usual, "Sec-WebSocket-Protocol: carillon.v1")
	}
	return d.request("GET", path, "", append(usual, headers...)...)
}

// dial opens a WebSocket without credentials.
func (d *doors) dial() *websocket.Conn {
	d.t.Helper()
	c, _, err := websocket.Dial(d.t.Context(), d.b.url(), &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.CloseNow() })
	return c
}

// send sends bytes as one message and returns how the broker explains what is wrong with them. A Connect goes in front when
// there is a token.
func (d *doors) send(token string, kind websocket.MessageType, message []byte) told {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	c := d.dial()
	if token != "" {
		hello := (&protocol.Connect{Version: protocol.Version, Token: token}).Append(nil)
		if err := c.Write(ctx, websocket.MessageBinary, hello); err != nil {
			d.t.Fatal(err)
		}
	}
	if message != nil {
		if err := c.Write(ctx, kind, message); err != nil {
			d.t.Fatal(err)
		}
	}
	c.SetReadLimit(1 << 20)
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			d.t.Fatalf("no explanation came: %v", err)
		}
		for len(b) > 0 {
			raw, rest, err := protocol.Next(b)
			if err != nil {
				d.t.Fatal(err)
			}
			p, err := protocol.DecodePacket(raw)
			if err != nil {
				d.t.Fatal(err)
			}
			switch p := p.(type) {
			case *protocol.ErrorPacket:
				return told{code: p.Name, detail: p.Detail, hint: p.Hint}
			case *protocol.Disconnect:
				if _, _, err := c.Read(ctx); int(websocket.CloseStatus(err)) != int(p.Code) {
					d.t.Errorf("the close frame has another code than the Disconnect %s: %v", p.Name, err)
				}
				return told{code: p.Name, detail: p.Detail, hint: p.Hint}
			}
			b = rest
		}
	}
}

func (d *doors) packet(token string, p protocol.Packet) told {
	d.t.Helper()
	return d.send(token, websocket.MessageBinary, p.Append(nil))
}

// inspect is `carillon token inspect`, which has to fail with exit code 1.
func (d *doors) inspect(token string) told {
	d.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(d.t.Context(), carillonBinary, "token", "inspect", "-c", d.config, token)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		d.t.Fatalf("exit code %d: %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
	m := regexp.MustCompile(`^carillon: a broker would refuse this token: ([a-z_]+): (.*)\n    (.*)\n$`).FindStringSubmatch(stderr.String())
	if m == nil {
		d.t.Fatalf("inspect said %q", stderr.String())
	}
	return told{code: m[1], detail: m[2], hint: m[3]}
}

// check fails unless what was told has the code and is a sentence of what was found, and says what to do.
func (got told) check(t *testing.T, code, detail string, status int) {
	t.Helper()
	if got.code != code || !regexp.MustCompile(`^(`+detail+`)$`).MatchString(got.detail) {
		t.Errorf("told %q: %q\nwant %q: %s", got.code, got.detail, code, detail)
	}
	if got.hint == "" {
		t.Errorf("%s does not say what to do", code)
	}
	if got.status != 0 && got.status != status {
		t.Errorf("%s has status %d, want %d", code, got.status, status)
	}
}
