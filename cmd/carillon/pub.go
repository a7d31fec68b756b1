package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/protocol"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// pubCmd is `carillon pub`.
type pubCmd struct {
	clientFlags
	Topic string  `arg:"" help:"Topic to publish to."`
	Data  *string `arg:"" optional:"" help:"The message; - reads standard input, a message a line."`

	Retain  bool           `help:"Keep the message as the topic's retained value; without data, clear it."`
	TTL     *time.Duration `name:"ttl" help:"Send the message to nobody any more when it is so old, such as 500ms, 60s or 24h; a retained value is removed then." placeholder:"D"`
	Exclude *string        `help:"Send the message to all but the clients of an origin; that needs the right to exclude on the topic." placeholder:"ORIGIN"`
	ID      *string        `name:"id" help:"Id of the message: within two minutes the broker applies the same one only once." placeholder:"ID"`
	dataFlags
	File  string        `help:"Send the contents of a file." placeholder:"F"`
	Count *int          `help:"Send so many messages: the data again and again, or so many lines." placeholder:"N"`
	Every time.Duration `help:"Wait so long between two messages, such as 500ms or 2s." placeholder:"D"`
	Ack   bool          `help:"Print each acknowledgement as a JSON object a line."`
}

// dataFlags say what the data of a message is.
type dataFlags struct {
	Header  map[string]string `short:"H" help:"Header of the message, may be repeated." placeholder:"K=V" mapsep:"none"`
	JSON    bool              `name:"json" xor:"form" help:"The data is JSON; anything else is an error."`
	Msgpack bool              `xor:"form" help:"The data is JSON and is sent as msgpack."`
	Raw     bool              `xor:"form" help:"The data is bytes."`
}

// options are those of a publish with the data.
func (f *dataFlags) options() (opts []carillon.PublishOption) {
	for name, value := range f.Header {
		opts = append(opts, carillon.Header(name, value))
	}
	return opts
}

// Validate is called by kong.
func (p *pubCmd) Validate() error {
	if p.Topic == "" {
		return errors.New("TOPIC is missing; write carillon pub TOPIC DATA")
	}
	if err := protocol.ValidateTopic(p.Topic); err != nil {
		return fmt.Errorf("topic %q: %w", p.Topic, err)
	}
	switch {
	case p.File != "" && p.Data != nil:
		return errors.New("either DATA or --file")
	case p.File == "" && p.Data == nil && !p.Retain:
		return errors.New("there is no DATA; without it only a retained value can be cleared, with --retain")
	case p.Every < 0:
		return errors.New("--every cannot be negative")
	case len(given(p.ID)) > protocol.MaxMessageID:
		return fmt.Errorf("--id has %d bytes, want at most %d", len(*p.ID), protocol.MaxMessageID)
	case p.ID != nil && (given(p.Count) > 1 || p.fromLines()):
		return errors.New("--id is that of one message; without it each has one of its own")
	}
	return errors.Join(notEmpty("--id", "an id", p.ID), within("--count", p.Count, math.MaxInt), p.validateReach())
}

// fromLines reports whether the messages are the lines of standard input.
func (p *pubCmd) fromLines() bool { return p.Data != nil && *p.Data == "-" }

// validateReach checks for how long and for whom the message is.
func (p *pubCmd) validateReach() error {
	const longest = protocol.MaxTTL * time.Millisecond
	switch {
	case p.TTL != nil && (*p.TTL < time.Millisecond || *p.TTL > longest):
		return fmt.Errorf("--ttl is %v, want 1ms to %dh", *p.TTL, int64(longest/time.Hour))
	case len(given(p.Exclude)) > protocol.MaxOrigin:
		return fmt.Errorf("--exclude has %d bytes, want at most %d", len(*p.Exclude), protocol.MaxOrigin)
	}
	return notEmpty("--exclude", "an origin", p.Exclude)
}

// Run publishes.
func (p *pubCmd) Run(ctx context.Context, s streams) error {
	next, err := p.source(ctx, s)
	if err != nil {
		return err
	}
	c, err := p.dial(ctx, s.err, carillon.WithPendingLimit(pipelineDepth+1))
	if err != nil {
		return err
	}
	line := newPipeline(c, p, s)
	err = line.run(ctx, next)
	if closeErr := hangUp(c); err == nil && closeErr != nil {
		err = fmt.Errorf("not everything was acknowledged: %w", closeErr)
	}
	return err
}

// source returns where the messages come from: next gives one after the other, and false when there are no more.
func (p *pubCmd) source(ctx context.Context, s streams) (next func() (value any, ok bool, err error), err error) {
	if p.fromLines() {
		return p.lines(ctx, s), nil
	}
	var data []byte
	switch {
	case p.Data != nil:
		data = []byte(*p.Data)
	case p.File != "":
		if data, err = os.ReadFile(p.File); err != nil {
			return nil, err
		}
	}
	value, err := p.value(data)
	if err != nil {
		return nil, err
	}
	left := max(given(p.Count), 1)
	return func() (any, bool, error) {
		left--
		return value, left >= 0, nil
	}, nil
}

// lines reads s.in in a goroutine of its own, because a read cannot be interrupted: it ends with its input or with the process.
func (p *pubCmd) lines(ctx context.Context, s streams) func() (any, bool, error) {
	type read struct {
		text []byte
		err  error
	}
	lines := make(chan read)
	go func() {
		defer close(lines)
		in := newLineReader(s.in)
		for {
			text, err := in.next()
			if text == nil && err == nil {
				return
			}
			select {
			case lines <- read{text, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	n := 0
	return func() (any, bool, error) {
		if p.Count != nil && n == *p.Count {
			return nil, false, nil
		}
		select {
		case l, ok := <-lines:
			if !ok {
				return nil, false, nil
			}
			n++
			if l.err != nil {
				return nil, true, fmt.Errorf("line %d: %w", n, l.err)
			}
			value, err := p.value(l.text)
			if err != nil {
				err = fmt.Errorf("line %d: %w", n, err)
			}
			return value, true, err
		case <-ctx.Done():
			return nil, false, nil
		}
	}
}

// value is data in the form that was asked for: JSON if it parses as JSON, else text, else bytes.
func (f *dataFlags) value(data []byte) (any, error) {
	switch {
	case f.Raw:
		return data, nil
	case f.JSON:
		if !json.Valid(data) {
			return nil, errors.New("the data is not JSON")
		}
		return json.RawMessage(data), nil
	case f.Msgpack:
		return toMsgpack(data)
	case len(data) == 0:
		return "", nil
	case !utf8.Valid(data):
		return data, nil
	case json.Valid(data):
		return json.RawMessage(data), nil
	}
	return string(data), nil
}

// toMsgpack is the msgpack of a JSON text. Numbers without fraction become integers.
func toMsgpack(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || dec.More() || !json.Valid(data) {
		return nil, errors.New("the data is not JSON")
	}
	v, err := numbers(v)
	if err != nil {
		return nil, err
	}
	b, err := msgpack.Marshal(v)
	return carillon.Raw{Data: b}, err
}

// numbers replaces json.Number in v by integers and floats.
func numbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil && !strings.ContainsAny(v.String(), ".eE") {
			return n, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = numbers(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
