package authhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/webclient"
	"github.com/carillon-mq/carillon/protocol"
)

const maxAnswerBytes = 64 << 10

// asker asks the application. It is safe for concurrent use.
type asker struct {
	cfg    Config
	client *http.Client
	places chan struct{} // one for each question under way
	asked  string        // method and URL for errors, which are logged: without the query, in which applications keep a key
}

// newAsker reads the files of c.
func newAsker(c Config) (*asker, error) {
	client, err := webclient.New(webclient.Options{CA: c.CA, Cert: c.Cert, Key: c.Key, Handshake: c.Timeout, Conns: c.Concurrency})
	if err != nil {
		return nil, err
	}
	shown, _, hasQuery := strings.Cut(c.URL, "?")
	if hasQuery {
		shown += "?…"
	}
	return &asker{cfg: c, places: make(chan struct{}, c.Concurrency), client: client, asked: c.Method + " " + shown}, nil
}

// ask is one question. A *protocol.Error is the application's refusal; any other error means that it has not decided.
func (a *asker) ask(ctx context.Context, c broker.Credentials) (*broker.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	select {
	case a.places <- struct{}{}:
		defer func() { <-a.places }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%d questions to the application are under way (concurrency), and none has been answered in time: %w", a.cfg.Concurrency, context.Cause(ctx))
	}
	request, err := a.request(ctx, c)
	if err != nil {
		return nil, err
	}
	answer, err := a.client.Do(request)
	if failed, is := errors.AsType[*url.Error](err); is {
		err = failed.Err // what it names is the whole URL
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.asked, err)
	}
	defer answer.Body.Close()
	id, err := a.read(answer, c.Token != "")
	if refusal, is := errors.AsType[*protocol.Error](err); is {
		return nil, refusal
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.asked, err)
	}
	return id, nil
}

// hopHeaders are never handed on: they are about the connection or the body, not about who it is.
var hopHeaders = map[string]bool{
	"Connection": true, "Upgrade": true, "Host": true, "Content-Length": true, "Content-Type": true, "Transfer-Encoding": true, "Te": true,
	"Trailer": true, "Keep-Alive": true, "Proxy-Connection": true, "Accept-Encoding": true, "Expect": true,
}

// headerName is a token of RFC 9110; what is none can't be sent, and says nothing.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (a *asker) request(ctx context.Context, c broker.Credentials) (*http.Request, error) {
	var body io.Reader
	if a.cfg.Method == http.MethodPost {
		b, err := json.Marshal(map[string]string{"transport": c.Transport, "remote": c.Remote})
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, a.cfg.Method, a.cfg.URL, body)
	if err != nil {
		return nil, err
	}
	for name, values := range c.Header {
		if !hopHeaders[name] && headerName.MatchString(name) {
			request.Header[name] = values
		}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		if request.Header["Idempotency-Key"] == nil { // not sent: net/http is told that it may ask again when the server has closed an idle connection
			request.Header["Idempotency-Key"] = []string{}
		}
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Carillon-Transport", clip(c.Transport))
	request.Header.Set("Carillon-Remote", clip(c.Remote))
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "carillon-auth-http")
	}
	return request, nil
}

func (a *asker) read(answer *http.Response, withToken bool) (*broker.Identity, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes+1))
	switch status := answer.StatusCode; { // which says all but who it is: the page that comes with a 500 may be of any length, or break off
	case status == http.StatusOK && err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case status == http.StatusOK && len(body) > maxAnswerBytes:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswerBytes)
	case status == http.StatusOK:
		return readAnswer(body, a.cfg.Grants, time.Now())
	case status == http.StatusUnauthorized && withToken:
		return nil, refusal(protocol.CodeTokenBadClaims, body, "the application does not accept the token").
			WithHint("Sign in again, and connect with a fresh token.")
	case status == http.StatusUnauthorized:
		return nil, refusal(protocol.CodeTokenMissing, body, "the application says that nobody is logged in").
			WithHint("Sign in to the application, and connect again.")
	case status == http.StatusForbidden:
		return nil, refusal(protocol.CodeKicked, body, "the application does not let this user in").
			WithHint("Ask whoever runs the application.")
	case status >= 300 && status < 400:
		return nil, fmt.Errorf("it redirects (%d) to %q: say 401 where nobody is logged in", status, clip(answer.Header.Get("Location")))
	default:
		return nil, fmt.Errorf("status %d, want 200, 401 or 403", status)
	}
}

// refusal has the words of a body {"detail": "…"}, or else these.
func refusal(code protocol.Code, body []byte, otherwise string) *protocol.Error {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		return protocol.Errorf(code, "%s", clip(problem.Detail))
	}
	return protocol.Errorf(code, "%s", otherwise)
}

func (a *asker) close() { a.client.CloseIdleConnections() }
