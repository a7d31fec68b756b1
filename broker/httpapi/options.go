package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// options are the parameters of a query. What was not given is zero.
type options struct {
	retain, receivers bool
	id, exclude       string
	ttl               time.Duration
	after             *protocol.Position
	limit, last       int
	filter            string
}

func badArgs(format string, args ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeBadArgs, format, args...)
}

// read takes the parameters in allowed. Any other is an error: a mistyped retain must not be a publish without it.
func (o *options) read(rawQuery string, allowed ...string) *protocol.Error {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return badArgs("the query is not well formed")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(allowed, name):
			return badArgs("parameter %q is not known here%s", clip(name), known(allowed))
		case len(values) != 1:
			return badArgs("parameter %q is given %d times", name, len(values))
		}
		if err := o.set(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) set(name, value string) (refusal *protocol.Error) {
	switch name {
	case "retain":
		o.retain, refusal = parseBool(name, value)
	case "receivers":
		o.receivers, refusal = parseBool(name, value)
	case "id":
		o.id = value
		return checkMessageID(`parameter "id"`, value)
	case "ttl":
		o.ttl, refusal = parseTTL(`parameter "ttl"`, value)
	case "exclude":
		o.exclude = value
		return checkOrigin(`parameter "exclude"`, value)
	case "filter":
		o.filter = value
	case "after":
		o.after, refusal = parseCursor(`parameter "after"`, value)
	case "limit":
		o.limit, refusal = parseMessages(name, value)
	case "last":
		o.last, refusal = parseMessages(name, value)
	}
	return refusal
}

func parseBool(name, value string) (bool, *protocol.Error) {
	v, err := strconv.ParseBool(value)
	if err != nil {
		return false, badArgs("parameter %q is %q, want true or false", name, clip(value))
	}
	return v, nil
}

// parseMessages reads a number of messages.
func parseMessages(name, value string) (int, *protocol.Error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > broker.MaxHistoryRecords {
		return 0, badArgs("parameter %q is %q, want a whole number from 1 to %d", name, clip(value), broker.MaxHistoryRecords)
	}
	return n, nil
}

// parseCursor reads the cursor that stands in where.
func parseCursor(where, cursor string) (*protocol.Position, *protocol.Error) {
	at, err := protocol.ParseCursor(cursor)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadPosition, "%s is %q, which is no cursor", where, clip(cursor)).
			WithHint("send a cursor exactly as an answer or an id had it, or leave it out to begin now")
	}
	return &at, nil
}

// parseTTL reads the lifetime that stands in where: whole seconds, or a duration such as 1500ms ([PUB-13]).
func parseTTL(where, value string) (time.Duration, *protocol.Error) {
	d, err := time.ParseDuration(value)
	if seconds, notSeconds := strconv.ParseUint(value, 10, 32); notSeconds == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d < time.Millisecond || d > protocol.MaxTTL*time.Millisecond || d%time.Millisecond != 0 {
		return 0, badArgs("%s is %q, want whole seconds or a duration such as 1500ms or 12h, from 1 ms to %d s", where, clip(value), protocol.MaxTTL/1000)
	}
	return d, nil
}

// checkOrigin checks the origin that stands in where ([CON-11], [PUB-14]).
func checkOrigin(where, origin string) *protocol.Error {
	return checkName(where, origin, "an origin", protocol.MaxOrigin)
}

// checkName checks the name that stands in where, of what has 1 to most bytes.
func checkName(where, name, what string, most int) *protocol.Error {
	switch {
	case name == "":
		return badArgs("%s is empty; %s has 1 to %d bytes", where, what, most)
	case len(name) > most:
		return badArgs("%s has %d bytes; %s has 1 to %d", where, len(name), what, most)
	case !utf8.ValidString(name):
		return badArgs("%s is not valid UTF-8", where)
	}
	return nil
}

func known(allowed []string) string {
	switch n := len(allowed); n {
	case 0:
		return ""
	case 1:
		return ", " + allowed[0] + " is"
	default:
		return ", " + strings.Join(allowed[:n-1], ", ") + " and " + allowed[n-1] + " are"
	}
}

// readPublish is read for a publish, whose message id may also stand in a header.
func (o *options) readPublish(r *http.Request, allowed ...string) *protocol.Error {
	if err := o.read(r.URL.RawQuery, allowed...); err != nil {
		return err
	}
	return addKey(&o.id, `parameter "id"`, r.Header)
}

// addKey has the header Idempotency-Key stand for the message id, which may also have been given in where. The header's value may
// have quotes around it: draft-ietf-httpapi-idempotency-key-header wants them, most clients leave them out.
func addKey(id *string, where string, header http.Header) *protocol.Error {
	values := header.Values("Idempotency-Key")
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return badArgs("the header Idempotency-Key is given %d times", len(values))
	}
	key := strings.TrimSpace(values[0])
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	if err := checkMessageID("the header Idempotency-Key", key); err != nil {
		return err
	}
	if *id != "" && *id != key {
		return badArgs("the header Idempotency-Key is %q and %s is %q; a message has one id", clip(key), where, clip(*id))
	}
	*id = key
	return nil
}

// checkMessageID checks the id that stands in where ([PUB-7]).
func checkMessageID(where, id string) *protocol.Error {
	return checkName(where, id, "a message id", protocol.MaxMessageID)
}
