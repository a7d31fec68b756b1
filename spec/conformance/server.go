package conformance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Subprotocol is the one that scripts ask for ([TRA-1]).
const Subprotocol = "carillon.v1"

// Server is what is tested, and what it gives beyond the protocol. Scripts that need more are skipped.
type Server struct {
	URL    string       // ws://HOST:PORT/ws
	Client *http.Client // for TLS settings; nil is the usual one
	// Token is what scripts connect with: it may publish to, subscribe to and read the history of the topics below conformance, and of Stored.
	// "" connects without one.
	Token string
	// Tokens makes tokens for scripts with users and rights of their own; nil: there are none.
	Tokens func(ctx context.Context, r TokenRequest) (string, error)
	// Anonymous says that clients without a token are let in.
	Anonymous bool
	// Stored is a topic below which everything is stored; "" if there is none.
	Stored string
	// Cookie is the cookie in which the server takes tokens; "": none is known.
	Cookie string
	// ResumeWindow is how far back a resume without the right to history reaches there; 0: it is not known.
	ResumeWindow time.Duration
	// Revoke takes back what was granted by a token, within a few seconds; nil: that cannot be done. It may be called by several scripts at once.
	Revoke func(ctx context.Context, token string) error
	// Rare is another server of the same kind, which pings less often, for the scripts that need that; nil: there is none. It may be called by
	// several scripts at once.
	Rare func(ctx context.Context) (*Server, error)
	// Restart ends the server at once, so that it loses what it has in memory, and starts it again at the same address; nil: that cannot be
	// done. It is called by one script at a time, with no other running.
	Restart func(ctx context.Context) error
}

// parallel is how many scripts play at once. They spend their time waiting.
const parallel = 16

// Play plays the scripts against the server, many at once and those that restart it at the end, and returns a result for each, in their
// order. Results are also told as they come, by one goroutine at a time, unless tell is nil.
func Play(ctx context.Context, server *Server, scripts []*Script, tell func(*Result)) []*Result {
	restarts := func(s *Script) bool { return slices.Contains(s.Needs, "restart") }
	return playAll(ctx, scripts, parallel, restarts, tell, func(ctx context.Context, s *Script, log *transcript) error {
		return server.play(ctx, s, log)
	})
}

// play runs one script.
func (v *Server) play(ctx context.Context, s *Script, log *transcript) error {
	bound := scriptTime
	if slices.Contains(s.Needs, "resume_window") {
		bound += 2 * v.ResumeWindow
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	var err error
	if s.Pings > 0 && v.Rare != nil {
		if v, err = v.Rare(ctx); err != nil {
			return err
		}
	}
	vars, err := v.variables(ctx, s)
	if err != nil {
		return err
	}
	p := &play{script: s, vars: vars, conns: map[string]*conn{}, log: log}
	defer p.close()
	run := &serverPlay{play: p, server: v}
	p.do = run.step
	return p.run(ctx, s.Steps, "")
}

// variables are what a script begins with, or the reason why it cannot be played.
func (v *Server) variables(ctx context.Context, s *Script) (variables, error) {
	for need, met := range map[string]bool{
		"stored": v.Stored != "", "anonymous": v.Anonymous, "tokens": v.Tokens != nil, "restart": v.Restart != nil,
		"cookie": v.Cookie != "", "revoke": v.Revoke != nil, "resume_window": v.ResumeWindow > 0,
	} {
		if slices.Contains(s.Needs, need) && !met {
			return nil, &skip{missing[need]}
		}
	}
	run := strings.ToLower(rand.Text()[:8])
	vars := variables{"token": v.Token, "run": run, "topic": "conformance." + run}
	if v.Token == "" {
		vars["token"] = nil
	}
	if v.Stored != "" {
		vars["stored"] = v.Stored + "." + run
	}
	if v.Cookie != "" {
		vars["cookie"] = v.Cookie
	}
	if v.ResumeWindow > 0 {
		vars["window"] = v.ResumeWindow
	}
	for _, name := range slices.Sorted(maps.Keys(s.Tokens)) {
		if v.Tokens == nil {
			return nil, &skip{missing["tokens"]}
		}
		r := s.Tokens[name]
		r.TTL = cmp.Or(r.TTL, time.Hour)
		for _, filters := range []*[]string{&r.Publish, &r.Subscribe, &r.History, &r.Presence, &r.Exclude} {
			*filters = slices.Clone(*filters)
			for i, f := range *filters {
				var err error
				if (*filters)[i], err = vars.text(f); err != nil {
					return nil, err
				}
			}
		}
		token, err := v.Tokens(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("token %s: %w", name, err)
		}
		vars[name] = token
	}
	return vars, nil
}

var missing = map[string]string{
	"stored":        "it needs stored topics, and it is not known which the server has",
	"anonymous":     "it needs a server that lets in clients without a token",
	"tokens":        "it needs tokens with users and rights of its own, and no way to make them is known",
	"restart":       "it restarts the server, which cannot be done here",
	"cookie":        "it needs a server that takes tokens from a cookie, and the name of that",
	"revoke":        "it has a token revoked, and no way to do that is known",
	"resume_window": "it waits until a resume without the right to history reaches back no further, 10 minutes where nothing else is known",
}

// serverPlay has the actions that are the player's of servers.
type serverPlay struct {
	*play
	server *Server
}

func (p *serverPlay) step(ctx context.Context, s *Step) error {
	switch action := s.actions()[0]; action {
	case "open":
		return p.open(ctx, s, s.Open)
	case "connect":
		return p.connect(ctx, s)
	case "http":
		return p.request(ctx, s.HTTP)
	case "restart":
		return p.server.Restart(ctx)
	case "revoke":
		token, err := p.vars.text(s.Revoke)
		if err != nil {
			return err
		}
		p.log.add(s.by(), "has revoked", s.Revoke)
		return p.server.Revoke(ctx, token)
	default:
		return fmt.Errorf("%s is nothing that is done to a server", action)
	}
}

// open makes a connection, or has it refused.
func (p *serverPlay) open(ctx context.Context, s *Step, o *Open) error {
	headers := http.Header{}
	for name, written := range o.Headers {
		value, err := p.vars.text(written)
		if err != nil {
			return err
		}
		headers.Set(name, value)
	}
	address := p.server.URL
	if o.Query != "" {
		address += "?" + o.Query
	}
	options := &websocket.DialOptions{HTTPClient: p.server.Client, HTTPHeader: headers, Subprotocols: []string{Subprotocol}}
	switch {
	case o.Subprotocol != nil && *o.Subprotocol == "":
		options.Subprotocols = nil
	case o.Subprotocol != nil:
		options.Subprotocols = []string{*o.Subprotocol}
	}
	name := s.by()
	p.log.add(name, "asks for", "the upgrade")
	ws, resp, err := websocket.Dial(ctx, address, options)
	if o.Refused != nil {
		if err == nil {
			ws.CloseNow()
			return errors.New("the upgrade was granted")
		}
		if resp == nil {
			return fmt.Errorf("the upgrade was not answered: %w", err)
		}
		return o.Refused.check(resp)
	}
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	if o.Subprotocol == nil && ws.Subprotocol() != Subprotocol {
		ws.CloseNow()
		return fmt.Errorf("the upgrade was granted with the subprotocol %q, wanted %s", ws.Subprotocol(), Subprotocol)
	}
	p.log.add(name, "opened", "")
	if before := p.conns[name]; before != nil {
		before.close()
	}
	p.conns[name] = newConn(context.WithoutCancel(ctx), name, ws, s.Pongs == nil || *s.Pongs, true, p.log)
	return nil
}

// check compares a refusal's status and the code in its body.
func (r *Refused) check(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	var problem struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(body, &problem); err != nil && r.Code != "" {
		return fmt.Errorf("refused with %s and %q, wanted a problem document: %w", resp.Status, body, err)
	}
	if r.Code != "" && problem.Code != r.Code || r.Status != 0 && resp.StatusCode != r.Status {
		return fmt.Errorf("refused with %s and the code %q, wanted %d and %q", resp.Status, problem.Code, r.Status, r.Code)
	}
	return nil
}

// connect opens a session.
func (p *serverPlay) connect(ctx context.Context, s *Step) error {
	if err := p.open(ctx, s, &Open{}); err != nil {
		return err
	}
	c := p.conns[s.by()]
	hello := map[string]any{"version": 1, "token": "$token", "client": "carillon-conformance/1"}
	maps.Copy(hello, s.With)
	if err := p.send(ctx, c, &Step{Send: map[string]any{"Connect": hello}}); err != nil {
		return err
	}
	r, err := c.next(ctx, false)
	if err != nil {
		return fmt.Errorf("%w, wanted Connected", err)
	}
	if r.name == "Connected" {
		if err := p.script.limitsIn(r.packet); err != nil {
			return err
		}
		_, compress := s.With["compress"]
		if err := p.script.givenBy(r.packet, compress); err != nil {
			return err
		}
	}
	return p.matchPacket(map[string]any{"Connected": s.Connect}, r.packet)
}

// limitsIn reports as a skip that the server does not tell a limit that the script needs, or a higher one than it copes with.
func (s *Script) limitsIn(connected packet) error {
	told, _ := connected.values["limits"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(s.Limits)) {
		n, ok := integer(told[name])
		if !ok {
			return &skip{fmt.Sprintf("it needs the limit %s, which the server does not tell", name)}
		}
		if n > s.Limits[name] {
			return &skip{fmt.Sprintf("it needs a limit %s of at most %d, the server's is %d", name, s.Limits[name], n)}
		}
	}
	return nil
}

// givenBy reports as a skip what Connected shows that the server does not do. compress says that the session has asked for that.
func (s *Script) givenBy(connected packet, compress bool) error {
	if n, _ := integer(connected.values["ping"]); n > 0 && time.Duration(n)*time.Millisecond < s.Pings {
		return &skip{fmt.Sprintf("it needs %s between the server's pings, which come every %d ms", s.Pings, n)}
	}
	if compress && slices.Contains(s.Needs, "compress") && connected.values["compress"] == nil {
		return &skip{"it needs a server that compresses payloads"}
	}
	return nil
}

// request does a step of HTTP.
func (p *serverPlay) request(ctx context.Context, h *HTTP) error {
	u, err := url.Parse(p.server.URL)
	if err != nil {
		return err
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	written, err := p.vars.text(h.Path)
	if err != nil {
		return err
	}
	path, err := url.Parse(written)
	if err != nil {
		return err
	}
	body, err := p.vars.text(h.Body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, h.Method, u.ResolveReference(path).String(), strings.NewReader(body))
	if err != nil {
		return err
	}
	if p.server.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.server.Token)
	}
	for name, written := range h.Headers {
		value, err := p.vars.text(written)
		if err != nil {
			return err
		}
		req.Header.Set(name, value)
	}
	client := cmp.Or(p.server.Client, http.DefaultClient)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return p.answer(h, resp)
}

// answer compares a response with what the step wants.
func (p *serverPlay) answer(h *HTTP, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return err
	}
	p.log.add("http", h.Method, resp.Status+" "+string(text[:min(len(text), maxShown)]))
	if resp.StatusCode != h.Status {
		return fmt.Errorf("found the status %s and %q, wanted %d", resp.Status, text[:min(len(text), maxShown)], h.Status)
	}
	if h.Answer == nil {
		return nil
	}
	var found map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&found); err != nil {
		return fmt.Errorf("found %q, wanted a JSON object: %w", text, err)
	}
	return p.vars.matchMap(h.Answer, found)
}
