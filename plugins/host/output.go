package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what a plugin prints.
const (
	maxLine        = 8 << 10  // bytes of a line that are looked at
	maxFields      = 16       // of a line in JSON
	maxField       = 256      // bytes of a field's value
	maxWords       = 256      // bytes of the last words
	linesPerSecond = 100      // that reach the log
	linesBurst     = 200      //
	bytesPerSecond = 16 << 20 // that are read; a plugin that prints more waits
)

// output takes what a plugin prints into the log: bounded, escaped, at most linesPerSecond, with a count of the rest. Lines in
// JSON, as slog and hclog write them, keep their level, message and fields.
type output struct {
	logger *slog.Logger
	plugin string
	bytes  *rate.Limiter
	lines  *rate.Limiter

	mu      sync.Mutex
	dropped int
	words   string // the line that most likely says why the plugin ended
	held    int    // for so many lines of text more words are kept
}

func newOutput(logger *slog.Logger, plugin string) *output {
	return &output{
		logger: logger, plugin: plugin,
		bytes: rate.NewLimiter(bytesPerSecond, 1<<20), lines: rate.NewLimiter(linesPerSecond, linesBurst),
	}
}

// begin forgets the last words of the process before.
func (o *output) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.words, o.held = "", 0
}

// lastWords is what the process printed that may explain its end.
func (o *output) lastWords() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.words
}

// copyLines takes what r has until it ends.
func copyLines(o *output, r io.Reader) {
	s := o.stream()
	_, _ = io.Copy(s, r)
	s.flush()
}

// stream is one of a plugin's streams of text. It is an io.Writer that never fails and may wait to slow the plugin down.
type stream struct {
	o    *output
	line []byte
	skip bool // the rest of a line that was too long
}

func (o *output) stream() *stream { return &stream{o: o} }

// Write cuts b into lines.
func (s *stream) Write(b []byte) (int, error) {
	n := len(b)
	for rest := b; len(rest) > 0; {
		chunk := rest[:min(len(rest), 64<<10)]
		_ = s.o.bytes.WaitN(context.Background(), len(chunk))
		s.take(chunk)
		rest = rest[len(chunk):]
	}
	return n, nil
}

func (s *stream) take(b []byte) {
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		if !s.skip {
			s.line = append(s.line, line[:min(len(line), maxLine-len(s.line))]...)
			s.skip = len(s.line) == maxLine
		}
		if ended {
			s.flush()
			s.skip = false
		}
		b = rest
	}
}

// flush takes what there is as a line.
func (s *stream) flush() {
	if len(s.line) > 0 {
		s.o.print(bytes.TrimRight(s.line, "\r"))
	}
	s.line = s.line[:0]
}

// print logs one line, if the limit allows and it has something to say.
func (o *output) print(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if !o.lines.Allow() {
		o.mu.Lock()
		o.dropped++
		o.mu.Unlock()
		return
	}
	level, text, fields := parseLine(line)
	o.mu.Lock()
	dropped := o.dropped
	o.dropped = 0
	o.weighLocked(level, text, fields)
	o.mu.Unlock()
	if dropped > 0 {
		o.log(slog.LevelWarn, fmt.Sprintf("plugin prints too much: %d lines left out", dropped), nil)
	}
	o.log(level, text, fields)
}

// For so many lines words are kept that say more than what is printed behind them: the stacks of Go, and what Node prints behind an error.
const (
	heldPanic = math.MaxInt
	heldError = 40
)

// exception is the line of an uncaught error in most languages: Python's and Node's "KindOfError: what happened", Ruby's ends with the kind.
var exception = regexp.MustCompile(`^([\w.:]*(Error|Exception): .|.+ \([\w:]*(Error|Exception)\)$)`)

// crash is the first line of what Go's runtime prints when it ends a process.
var crash = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: )`)

// weighLocked takes the line for the last words, if it says more than they do.
func (o *output) weighLocked(level slog.Level, text string, fields []slog.Attr) {
	isText := fields == nil
	hold := 0
	switch {
	case isText && crash.MatchString(text):
		hold = heldPanic
	case isText && exception.MatchString(text):
		hold = heldError
	case !isText && level < slog.LevelWarn:
		return
	}
	if o.held == heldPanic {
		return
	}
	if isText && o.held > 0 && hold == 0 {
		o.held--
		return
	}
	o.words, o.held = printable(text+cause(fields), maxWords), hold
}

// cause is what a line in JSON says of the error behind it.
func cause(fields []slog.Attr) string {
	for _, f := range fields {
		if f.Key == "err" || f.Key == "error" {
			return ": " + f.Value.String()
		}
	}
	return ""
}

// log writes a record whose message and fields, in the group "said", are the plugin's own.
func (o *output) log(level slog.Level, text string, fields []slog.Attr) {
	handler := o.logger.Handler()
	if !handler.Enabled(context.Background(), level) {
		return
	}
	record := slog.NewRecord(time.Now(), level, printable(text, maxText), 0)
	said := slog.Attr{Key: "said", Value: slog.GroupValue(fields...)} //nolint:sloglint // what is in it is not ours
	record.AddAttrs(slog.String("plugin", o.plugin), said)
	_ = handler.Handle(context.Background(), record)
}

// parseLine reads a line of slog's or hclog's JSON. Any other line is text at level info. fields is nil for text.
func parseLine(line []byte) (level slog.Level, text string, fields []slog.Attr) {
	var object map[string]any
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &object) != nil {
		return slog.LevelInfo, string(line), nil
	}
	text = take(object, "msg", "@message")
	level = levelOf(take(object, "level", "@level"))
	take(object, "time", "@timestamp")
	fields = []slog.Attr{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if len(fields) == maxFields {
			break
		}
		value, isText := object[key].(string)
		if !isText {
			b, _ := json.Marshal(object[key]) // it was JSON a moment ago
			value = string(b)
		}
		fields = append(fields, slog.String(printable(key, 64), printable(value, maxField)))
	}
	return level, text, fields
}

// take removes the first of keys that is a string, and returns it.
func take(object map[string]any, keys ...string) string {
	for _, key := range keys {
		if s, ok := object[key].(string); ok {
			delete(object, key)
			return s
		}
	}
	return ""
}

func levelOf(name string) slog.Level {
	switch strings.ToLower(name) {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn", "warning":
		return slog.LevelWarn
	case "error", "fatal", "panic":
		return slog.LevelError
	}
	return slog.LevelInfo
}
