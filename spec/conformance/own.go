package conformance

import (
	"bufio"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/carillon-mq/carillon/internal/freeport"
)

// Own is a carillon that was started to be tested, with tokens, stored topics and everything else that scripts need.
type Own struct {
	Server

	executable string
	dir        string
	log        io.Writer
	process    *exec.Cmd
	secret     []byte
	pings      time.Duration

	mu   sync.Mutex
	rare *Own // the one that pings less often, once it has been asked for
}

const (
	ownAudience = "conformance"
	ownStored   = "stored"
	ownCookie   = "conformance"
	ownWindow   = 8 * time.Second  // long enough for what is resumed at once, on a slow machine too
	ownStart    = 30 * time.Second // until it is ready

	often  = 2 * time.Second
	rarely = 50 * time.Second
)

// ownConfig is its configuration. It lets in clients without a token, who may do next to nothing, and one user has many sessions. What rules give
// minutes for has seconds.
const ownConfig = `
listen: %[1]s
admin: {listen: none}
data_dir: %[2]s
log: {level: error}
auth:
  plugin: auth-jwt
  cookie: %[4]s
  anonymous: allow
  anonymous_publish: ["conformance.>"]
  anonymous_subscribe: ["conformance.>"]
  config:
    issuer: conformance
    audience: conformance
    revoked: %[7]s
    keys: [{kid: main, alg: HS256, secret: %[3]s}]
topics: [{match: "stored.>", class: stored}, {match: "conformance.*.live.>", class: live}]
limits: {sessions_per_user: 10000, sessions_per_address: 10000, ping_every: %[5]s, resume_window: %[6]s}
`

// StartOwn starts the executable, which is a carillon, on a port of its own with its data in a folder that goes with it. What it says goes to log.
// Stop ends it.
func StartOwn(ctx context.Context, executable string, log io.Writer) (*Own, error) {
	return startOwn(ctx, executable, log, often)
}

// startOwn starts one with so much time between its pings.
func startOwn(ctx context.Context, executable string, log io.Writer, pings time.Duration) (*Own, error) {
	dir, err := os.MkdirTemp("", "carillon-conformance-")
	if err != nil {
		return nil, err
	}
	o := &Own{executable: executable, dir: dir, log: log, secret: []byte(rand.Text() + rand.Text()), pings: pings}
	address, err := freeport.Address()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	config := fmt.Sprintf(ownConfig, address, filepath.Join(dir, "data"), o.secret, ownCookie, pings, ownWindow, o.revoked())
	err = errors.Join(os.WriteFile(o.config(), []byte(config), 0o600), os.WriteFile(o.revoked(), nil, 0o600))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	all := []string{"conformance.>", ownStored + ".>"}
	o.Token = o.sign(TokenRequest{User: "conformance", Publish: all, Subscribe: all, History: all, Presence: all, TTL: time.Hour})
	o.Server = Server{
		URL: "ws://" + address + "/ws", Token: o.Token, Anonymous: true, Stored: ownStored, Restart: o.restart,
		Cookie: ownCookie, ResumeWindow: ownWindow, Rare: o.rarely, Revoke: o.revoke,
		Tokens: func(_ context.Context, r TokenRequest) (string, error) { return o.sign(r), nil },
	}
	if err := o.start(ctx); err != nil {
		o.Stop()
		return nil, err
	}
	return o, nil
}

func (o *Own) config() string { return filepath.Join(o.dir, "carillon.yaml") }

// revoked is the file that lists the tokens that are.
func (o *Own) revoked() string { return filepath.Join(o.dir, "revoked") }

// revoke has what the token allowed taken back: by its id, as an operator would.
func (o *Own) revoke(_ context.Context, token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("found no token of this server's, wanted one")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var id struct {
		JTI string `json:"jti"`
	}
	if err := json.Unmarshal(claims, &id); err != nil {
		return err
	}
	list, err := os.OpenFile(o.revoked(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(list, "{\"jti\": %q}\n", id.JTI) // in one write: scripts play at the same time
	return errors.Join(err, list.Close())
}

// start runs the executable until it says that it is ready.
func (o *Own) start(ctx context.Context) error {
	o.process = exec.Command(o.executable, "serve", "-c", o.config())
	out, err := o.process.StderrPipe()
	if err != nil {
		return err
	}
	if err := o.process.Start(); err != nil {
		o.process = nil
		return err
	}
	ready := make(chan bool, 1)
	go func() { // ends with the process, which Stop waits for
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "carillon: ready") {
				ready <- true
				continue
			}
			fmt.Fprintln(o.log, lines.Text())
		}
		close(ready)
	}()
	timeout := time.NewTimer(ownStart)
	defer timeout.Stop()
	select {
	case ok := <-ready:
		if !ok {
			return errors.New("the broker did not start")
		}
		return nil
	case <-timeout.C:
		return fmt.Errorf("the broker was not ready in %s", ownStart)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// rarely starts another one that pings less often, the first time that it is wanted.
func (o *Own) rarely(ctx context.Context) (*Server, error) {
	if o.pings == rarely {
		return &o.Server, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rare == nil {
		rare, err := startOwn(context.WithoutCancel(ctx), o.executable, o.log, rarely)
		if err != nil {
			return nil, err
		}
		o.rare = rare
	}
	return &o.rare.Server, nil
}

func (o *Own) restart(ctx context.Context) error {
	o.kill()
	return o.start(ctx)
}

func (o *Own) kill() {
	if o.process != nil {
		_ = o.process.Process.Kill() // it may have ended by itself
		_ = o.process.Wait()         // its end is all that matters
		o.process = nil
	}
}

// Stop ends the broker and removes its data.
func (o *Own) Stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rare != nil {
		o.rare.Stop()
	}
	o.kill()
	os.RemoveAll(o.dir)
}

// sign makes a JWT of the kind HS256.
func (o *Own) sign(r TokenRequest) string {
	text := base64.RawURLEncoding
	now := time.Now()
	claims, _ := json.Marshal(map[string]any{ // strings and numbers only
		"iss": ownAudience, "aud": ownAudience, "sub": r.User, "jti": rand.Text(), "exp": now.Add(cmp.Or(r.TTL, time.Hour)).Unix(),
		"carillon": map[string][]string{
			"publish": nonNil(r.Publish), "subscribe": nonNil(r.Subscribe), "history": nonNil(r.History),
			"presence": nonNil(r.Presence), "exclude": nonNil(r.Exclude),
		},
	})
	signed := text.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT","kid":"main"}`)) + "." + text.EncodeToString(claims)
	mac := hmac.New(sha256.New, o.secret)
	mac.Write([]byte(signed))
	return signed + "." + text.EncodeToString(mac.Sum(nil))
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
