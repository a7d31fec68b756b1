package conformance

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-mq/carillon/protocol"
)

//go:embed clients/*.yaml
var clientFiles embed.FS

// Clients returns the scripts that SDKs are tested with, those whose file and name, `reconnect/at-once`, the pattern matches.
func Clients(pattern string) ([]*Script, error) { return load(clientFiles, "clients", pattern) }

// drivers is how many run at once. Each is a process, which has its own start to do.
const drivers = 8

// PlaySDK plays the scripts with an SDK, whose driver is the program that command starts, once for each script. Each script is a broker of its
// own for it. Results are as those of Play.
func PlaySDK(ctx context.Context, command []string, scripts []*Script, tell func(*Result)) []*Result {
	never := func(*Script) bool { return false }
	return playAll(ctx, scripts, drivers, never, tell, func(ctx context.Context, s *Script, log *transcript) error {
		return playSDK(ctx, command, s, log)
	})
}

func playSDK(ctx context.Context, command []string, s *Script, log *transcript) error {
	ctx, cancel := context.WithTimeout(ctx, scriptTime)
	defer cancel()
	p := &play{script: s, vars: variables{}, conns: map[string]*conn{}, log: log}
	broker, err := newFake(ctx)
	if err != nil {
		return err
	}
	defer broker.close()
	defer p.close()
	driver, err := startDriver(ctx, command, log)
	if err != nil {
		return err
	}
	defer driver.close()
	if err := driver.ready(ctx, s); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	p.vars["soon"], p.vars["later"] = now+soon.Milliseconds(), now+time.Hour.Milliseconds()
	run := &sdkPlay{play: p, broker: broker, driver: driver}
	run.nextRun()
	p.do = run.step
	p.pass = func(c *conn, name string, packet []byte) []byte { return run.faults.pass(ctx, c, name, packet) }
	defer run.faults.late.Wait()
	defer cancel() // which ends what is late
	return p.run(ctx, s.Steps, "")
}

// soon is how long a token that expires soon is good, $soon: four fifths of it are what a script waits for ([REF-6]).
const soon = 5 * time.Second

// fake is where an SDK connects: a listener whose requests wait for the script to say what becomes of them.
type fake struct {
	url      string
	server   *http.Server
	attempts chan *attempt
	serving  sync.WaitGroup

	ctx  context.Context // ends with the script
	stop context.CancelFunc
}

// attempt is one request for an upgrade.
type attempt struct {
	w       http.ResponseWriter
	r       *http.Request
	at      time.Time
	settled chan struct{} // closed when the request has been answered
}

func newFake(ctx context.Context) (*fake, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fake{url: "ws://" + l.Addr().String() + "/ws", attempts: make(chan *attempt)}
	f.ctx, f.stop = context.WithCancel(ctx)
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: patience}
	f.serving.Go(func() { _ = f.server.Serve(l) }) // its end is close's doing
	return f, nil
}

// ServeHTTP hands a request to the script.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &attempt{w: w, r: r, at: time.Now(), settled: make(chan struct{})}
	select {
	case f.attempts <- a:
		<-a.settled
	case <-r.Context().Done():
	case <-f.ctx.Done():
	}
}

func (f *fake) close() {
	f.stop()
	_ = f.server.Close() // nothing is to be kept
	f.serving.Wait()
}

// sdkPlay has the actions that are the player's of SDKs.
type sdkPlay struct {
	*play
	broker *fake
	driver *driver
	faults faults
	runs   int       // of the broker
	lost   time.Time // when the last connection ended, or the last attempt was refused
}

// nextRun is the next run of the broker: it has an epoch of its own, and opens the store anew. Its seqs are as those of any other.
func (p *sdkPlay) nextRun() {
	p.runs++
	p.vars["epoch"], p.vars["term"] = fmt.Sprintf("%02x02030405060708", p.runs), fmt.Sprintf("%02x12131415161718", 0x10+p.runs)
}

// restart cuts every connection. Who connects again finds another run.
func (p *sdkPlay) restart() error {
	for _, c := range p.conns {
		c.leave()
		c.log.add(c.name, "cut", "by a restart")
		c.close()
	}
	p.nextRun()
	return nil
}

func (p *sdkPlay) step(ctx context.Context, s *Step) error {
	switch action := s.actions()[0]; action {
	case "do":
		return p.command(s.Do)
	case "event":
		return p.driver.event(ctx, p.vars, s.Event)
	case "no_event":
		return p.driver.silent(ctx, s.NoEvent)
	case "accept":
		return p.accept(ctx, s)
	case "upgrade":
		return p.upgrade(ctx, s)
	case "no_attempt":
		return p.noAttempt(ctx, s.NoAttempt)
	case "faults":
		return p.faults.change(s.Faults)
	case "restart":
		return p.restart()
	default:
		return fmt.Errorf("%s is nothing that is done to an SDK", action)
	}
}

// command has the driver do something. The address that it is to connect to is the fake broker's.
func (p *sdkPlay) command(do map[string]any) error {
	filled, err := p.vars.fill(do)
	if err != nil {
		return err
	}
	for name, args := range filled.(map[string]any) { // fill keeps the kind
		line := map[string]any{"do": name}
		if m, ok := args.(map[string]any); ok {
			maps.Copy(line, m)
		}
		if name == "connect" {
			line["url"] = p.broker.url
		}
		return p.driver.send(line)
	}
	return errors.New("do: nothing is said")
}

// attempt waits for the next attempt to connect, and checks when it comes and what it asks for.
func (p *sdkPlay) attempt(ctx context.Context, s *Step) (*attempt, error) {
	var a *attempt
	select {
	case a = <-p.broker.attempts:
	case <-ctx.Done():
		return nil, errors.New("no attempt to connect came in time")
	}
	waited, atLeast := time.Duration(0), time.Duration(0)
	if told, lost := p.lastLoss(); !lost.IsZero() {
		waited, atLeast = a.at.Sub(told), a.at.Sub(lost)
	}
	p.log.add(s.by(), "attempt", fmt.Sprintf("%.3f s after the last loss", waited.Seconds()))
	var err error
	switch {
	case s.After > 0 && waited < s.After:
		err = fmt.Errorf("the attempt came %s after the loss, wanted %s at the earliest", waited, s.After)
	case s.Before > 0 && atLeast > s.Before:
		err = fmt.Errorf("the attempt came %s after the loss, wanted %s at the latest", atLeast, s.Before)
	case a.r.Header.Get("Sec-WebSocket-Protocol") != Subprotocol:
		err = fmt.Errorf("the SDK asks for the subprotocol %q [TRA-1]", a.r.Header.Get("Sec-WebSocket-Protocol"))
	case strings.Contains(a.r.URL.RawQuery, "token"):
		err = fmt.Errorf("the URL is %s [TRA-6]", a.r.URL)
	}
	if err != nil {
		p.refuse(a, &Refused{Status: http.StatusServiceUnavailable})
	}
	return a, err
}

// lastLoss is when the last connection ended: told is when the SDK may have known of it at the earliest, lost when it was over.
func (p *sdkPlay) lastLoss() (told, lost time.Time) {
	told, lost = p.lost, p.lost
	for _, c := range p.conns {
		select {
		case <-c.ended:
		default:
			continue
		}
		if c.lost.Before(lost) {
			continue
		}
		told, lost = c.lost, c.lost
		if !c.farewell.IsZero() {
			told = c.farewell
		}
	}
	return told, lost
}

func (p *sdkPlay) refuse(a *attempt, r *Refused) {
	for name, value := range r.Headers {
		a.w.Header().Set(name, value)
	}
	a.w.Header().Set("Content-Type", "application/problem+json")
	p.lost = time.Now()
	a.w.WriteHeader(r.Status)
	if r.Code != "" {
		fmt.Fprintf(a.w, `{"code":%q,"detail":"by the script"}`, r.Code)
	}
	close(a.settled)
}

// upgrade takes an attempt: grants it without a Connected, or refuses it.
func (p *sdkPlay) upgrade(ctx context.Context, s *Step) error {
	a, err := p.attempt(ctx, s)
	if err != nil {
		return err
	}
	if s.Upgrade.Refused != nil {
		p.refuse(a, s.Upgrade.Refused)
		return nil
	}
	return p.grant(a, s)
}

func (p *sdkPlay) grant(a *attempt, s *Step) error {
	defer close(a.settled)
	ws, err := websocket.Accept(a.w, a.r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	name := s.by()
	if before := p.conns[name]; before != nil {
		before.close()
		if before.lost.After(p.lost) {
			p.lost = before.lost
		}
	}
	p.conns[name] = newConn(p.broker.ctx, name, ws, s.Pongs == nil || *s.Pongs, false, p.log)
	return nil
}

// usualConnected is what an SDK is told unless the script says otherwise.
var usualConnected = map[string]any{"session": "s1", "position": "$epoch 5 $term 2", "ping": 25000}

// accept takes an attempt, its Connect, and answers with Connected.
func (p *sdkPlay) accept(ctx context.Context, s *Step) error {
	a, err := p.attempt(ctx, s)
	if err != nil {
		return err
	}
	if err := p.grant(a, s); err != nil {
		return err
	}
	c := p.conns[s.by()]
	if err := p.expect(ctx, c, &Step{Expect: map[string]any{"Connect": s.Accept}}); err != nil {
		return err
	}
	connected := maps.Clone(usualConnected)
	maps.Copy(connected, s.With)
	return p.send(ctx, c, &Step{Send: map[string]any{"Connected": connected}})
}

func (p *sdkPlay) noAttempt(ctx context.Context, d time.Duration) error {
	select {
	case a := <-p.broker.attempts:
		told, _ := p.lastLoss()
		waited := a.at.Sub(told)
		p.refuse(a, &Refused{Status: http.StatusServiceUnavailable})
		return fmt.Errorf("an attempt to connect came %s after the loss, wanted none for %s", waited, d)
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closeReason is what a close frame of a script says: the name of its code ([DIS-2]).
func closeReason(code int) string {
	if code < 4000 {
		return ""
	}
	return protocol.Code(code).String()
}
