// Command conformance drives the SDK for `carillon conformance --sdk`: commands come on standard input and events go to standard output, a JSON
// object a line, as spec/conformance/README.md says.
//
//	carillon conformance --sdk "go run ./sdk/go/internal/conformance"
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// command is a line of the input. Do says which; the other members are its.
type command struct {
	Do   string `json:"do"`
	Name string `json:"name"` // of a subscription or a publish

	URL   string  `json:"url"`
	Token *string `json:"token"` // of connect: a fixed one; of token: what was asked for
	Ask   bool    `json:"ask"`   // of connect: tokens are asked for

	Compress *bool `json:"compress"` // of connect: false takes no compressed payloads

	Filter   string `json:"filter"`
	Retained *bool  `json:"retained"`
	Since    string `json:"since"`
	Last     int    `json:"last"`
	Latest   bool   `json:"latest"`
	MaxRate  int    `json:"max_rate"`

	Topic  string `json:"topic"`
	Data   byte   `json:"data"` // an integer below 128
	Retain bool   `json:"retain"`

	Timeout int `json:"timeout"` // of publish: milliseconds that the application waits; 0: for ever
}

// event is a line of the output.
type event map[string]any

func main() {
	fault := flag(os.Args[1:])
	if err := newDriver(os.Stdout, fault).run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// flag is the fault that the driver is to have, `-fault NAME`: for the proof that the scripts find it.
func flag(args []string) string {
	if len(args) == 2 && args[0] == "-fault" && faults[args[1]] != "" {
		return args[1]
	}
	return ""
}

// driver does what it is told. Its goroutines end with ctx, and run waits for them.
type driver struct {
	ctx    context.Context
	stop   context.CancelFunc
	group  sync.WaitGroup
	tokens chan string
	token1 string // the last one; there is one call of token at a time
	fault  string

	client *carillon.Client

	lost atomic.Bool // the message that a fault loses

	mu   sync.Mutex
	subs map[string]*carillon.Subscription
	out  *json.Encoder

	seed // what faults remember
}

func newDriver(out io.Writer, fault string) *driver {
	d := &driver{out: json.NewEncoder(out), tokens: make(chan string, 1), subs: map[string]*carillon.Subscription{}, fault: fault}
	d.confirmed = map[*carillon.Subscription]bool{}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

func (d *driver) tell(e event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.out.Encode(e) // the player has gone
}

// run does commands until there are no more. Tokens are taken at once: connect may be waiting for one.
func (d *driver) run(in io.Reader) error {
	defer d.group.Wait()
	defer d.stop()
	d.tell(event{"event": "ready"})
	commands := make(chan *command, 64)
	defer close(commands)
	d.group.Go(func() {
		for c := range commands {
			if err := d.do(c); err != nil {
				d.tell(event{"event": "broken", "why": err.Error()})
			}
		}
	})
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c := new(command)
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			return err
		}
		if c.Do != "token" {
			commands <- c
		} else if c.Token != nil {
			d.tokens <- *c.Token
		}
	}
	return lines.Err()
}

func (d *driver) do(c *command) error {
	if c.Do != "connect" && d.client == nil {
		return fmt.Errorf("%s without a client", c.Do)
	}
	switch c.Do {
	case "connect":
		return d.connect(c)
	case "subscribe":
		d.subscribe(c)
	case "unsubscribe":
		if s := d.subscription(c.Name); s != nil {
			s.Close()
		}
	case "publish":
		return d.publish(c)
	case "presence":
		d.presence(c)
	case "watch":
		d.watch(c)
	case "close":
		d.group.Go(func() {
			ctx, cancel := context.WithTimeout(d.ctx, 5*time.Second)
			defer cancel()
			_ = d.client.Close(ctx) // what is left is told by itself
		})
	default:
		return fmt.Errorf("there is no command %q", c.Do)
	}
	return nil
}

// connect makes the client. Dial goes on trying, so that the first attempt is like every other.
func (d *driver) connect(c *command) error {
	options := []carillon.Option{carillon.WithStatus(d.status), carillon.WithClientName("conformance"), carillon.WithDialRetry()}
	if c.Ask {
		options = append(options, carillon.WithTokenFunc(d.token))
	} else if c.Token != nil {
		options = append(options, carillon.WithToken(*c.Token))
	}
	if c.Compress != nil && !*c.Compress && d.fault != "compressed-anyway" {
		options = append(options, carillon.WithoutCompression())
	}
	options = append(options, d.faulty()...)
	client, err := carillon.Dial(d.ctx, d.address(c.URL), options...)
	if err != nil { // the status has told a refusal
		return nil
	}
	d.client = client
	d.group.Go(func() {
		select {
		case <-client.Done():
		case <-d.ctx.Done():
			_ = client.Close(d.ctx) // at once
		}
	})
	return nil
}

// token asks the player for one.
func (d *driver) token(ctx context.Context, r carillon.TokenRequest) (string, error) {
	if d.fault == "stale-token" && d.token1 != "" {
		return d.token1, nil
	}
	d.tell(event{"event": "token", "reason": r.Reason})
	select {
	case token := <-d.tokens:
		d.token1 = token
		return token, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (d *driver) status(s carillon.Status) {
	e := event{"event": "status", "state": s.State.String()}
	if s.Err != nil {
		e["code"] = codeOf(s.Err)
	}
	d.tell(e)
	if s.State == carillon.StateReconnecting {
		d.loseFaultily()
	}
}

// codeOf is the name of what an error says: a code of the protocol, or one of the SDKs' own.
func codeOf(err error) string {
	if e, ok := errors.AsType[*carillon.Error](err); ok {
		return e.Code.String()
	}
	switch {
	case errors.Is(err, carillon.ErrUnknownOutcome):
		return "unknown_outcome"
	case errors.Is(err, carillon.ErrClosed):
		return "closed"
	}
	return "connection"
}

func (d *driver) subscription(name string) *carillon.Subscription {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.subs[name]
}

// subscribe reads a subscription and tells what comes.
func (d *driver) subscribe(c *command) {
	var options []carillon.SubscribeOption
	if c.Retained != nil && !*c.Retained {
		options = append(options, carillon.NoRetained())
	}
	if c.Last > 0 {
		options = append(options, carillon.Last(c.Last))
	}
	if c.Latest {
		options = append(options, carillon.Latest())
	}
	if c.MaxRate > 0 {
		options = append(options, carillon.MaxRate(c.MaxRate))
	}
	s := d.client.Subscribe(c.Filter, append(options, carillon.From(carillon.Cursor(c.Since)))...)
	d.mu.Lock()
	d.subs[c.Name] = s
	d.mu.Unlock()
	d.confirmFaultily(s)
	d.read(c.Name, s)
}

func (d *driver) read(name string, s *carillon.Subscription) {
	d.group.Go(func() {
		for e, err := range s.Events(d.ctx) {
			d.tellEvent(name, e, err)
		}
	})
}

func (d *driver) tellEvent(name string, e carillon.Event, err error) {
	switch e := e.(type) {
	case *carillon.Message:
		var data any
		if len(e.Payload) > 0 {
			_ = e.Decode(&data) // what cannot be decoded is told as nothing
		}
		d.tellMessage(event{"event": "message", "subscription": name, "topic": e.Topic, "data": data, "retained": e.Retained})
	case *carillon.GapError:
		if d.fault != "hide-gaps" {
			d.tell(event{"event": "gap", "subscription": name, "reason": string(e.Reason)})
		}
	case *carillon.SnapshotEnd:
		d.tell(event{"event": "snapshot", "subscription": name, "reset": e.Reset})
	case *carillon.Resumed: // which scripts do not look at
	case nil:
		if !errors.Is(err, carillon.ErrUnsubscribed) && !errors.Is(err, carillon.ErrClosed) {
			d.tell(event{"event": "ended", "subscription": name, "code": codeOf(err)})
			d.endFaultily(name)
		}
	}
}

func (d *driver) publish(c *command) error {
	data := carillon.Raw{Data: []byte{c.Data}} // an integer below 128 in MessagePack
	var options []carillon.PublishOption
	if c.Retain {
		options = append(options, carillon.Retain())
	}
	p, err := d.client.PublishAsync(d.ctx, c.Topic, data, append(options, d.faultyPublish()...)...)
	if err != nil {
		d.tell(event{"event": "failed", "name": c.Name, "code": codeOf(err)})
		return nil
	}
	whose := d.sendFaultily(c.Name, p)
	d.group.Go(func() {
		ctx, cancel := d.ctx, context.CancelFunc(func() {})
		if c.Timeout > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(c.Timeout)*time.Millisecond)
		}
		defer cancel()
		ack, err := p.Wait(ctx)
		switch {
		case d.ctx.Err() != nil:
		case err != nil:
			d.tell(event{"event": "failed", "name": whose(), "code": codeOf(err)})
			d.failFaultily(c, p)
		default:
			d.tell(published(whose(), ack))
			d.acknowledgeFaultily(c, p)
		}
	})
	return nil
}

func published(name string, ack carillon.Ack) event {
	return event{"event": "published", "name": name, "durability": strings.ToLower(ack.Durability.String()), "duplicate": ack.Duplicate}
}

// presence asks who is there.
func (d *driver) presence(c *command) {
	d.group.Go(func() {
		m, err := d.client.Presence(d.ctx, c.Topic)
		d.tellMembers(c.Name, m, err)
	})
}

// watch follows who is there.
func (d *driver) watch(c *command) {
	if d.fault == "asks-once" {
		d.presence(c)
		return
	}
	d.group.Go(func() {
		for m, err := range d.client.WatchPresence(d.ctx, c.Topic) {
			d.tellMembers(c.Name, m, err)
		}
	})
}

func (d *driver) tellMembers(name string, m carillon.Members, err error) {
	switch {
	case d.ctx.Err() != nil:
	case err != nil:
		d.tell(event{"event": "failed", "name": name, "code": codeOf(err)})
	default:
		d.tell(event{"event": "members", "name": name, "count": m.Count, "users": m.Users})
	}
}
