package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// envelope is the body of POST /v1/publish.
type envelope struct {
	topics      []string
	payload     []byte
	contentType string
	retain      bool
	receivers   bool
	headers     map[string]string
	id          string
	exclude     string
	ttl         time.Duration
}

func (e *envelope) request(topic string) broker.PublishRequest {
	return broker.PublishRequest{
		Topic: topic, Payload: e.payload, ContentType: e.contentType, Headers: e.headers, Retain: e.retain, Receivers: e.receivers,
		MessageID: e.messageID(topic), Exclude: e.exclude, TTL: e.ttl,
	}
}

// messageID is the id of the message to topic. The messages of several topics are different ones, so each has an id of its own,
// which is the same in a repetition.
func (e *envelope) messageID(topic string) string {
	if e.id == "" || len(e.topics) == 1 {
		return e.id
	}
	sum := sha256.Sum256([]byte(e.id + "\x00" + topic))
	return hex.EncodeToString(sum[:protocol.MaxMessageID/2])
}

// envelopeJSON is the envelope's JSON. A nil field was not there.
type envelopeJSON struct {
	Topic      *string           `json:"topic"`
	Topics     *[]string         `json:"topics"`
	Data       json.RawMessage   `json:"data"`
	DataBase64 *string           `json:"data_base64"`
	Type       *string           `json:"type"`
	Retain     bool              `json:"retain"`
	Receivers  bool              `json:"receivers"`
	Headers    map[string]string `json:"headers"`
	ID         *string           `json:"id"`
	Exclude    *string           `json:"exclude"`
	TTL        json.RawMessage   `json:"ttl"`
}

var envelopeKeys = []string{"topic", "topics", "data", "data_base64", "type", "retain", "receivers", "headers", "id", "exclude", "ttl"}

func badBody(format string, args ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeBadBody, format, args...)
}

// parseJSONEnvelope reads one JSON object. It refuses what two parsers could understand differently: duplicate keys, text after
// the object, broken UTF-8; and keys it does not know, among which a mistyped "retain" would be.
func parseJSONEnvelope(body []byte) (*envelope, *protocol.Error) {
	keys, err := strictObject(body)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if !slices.Contains(envelopeKeys, k) {
			return nil, badBody("key %q is not known; %s are", clip(k), strings.Join(envelopeKeys, ", "))
		}
	}
	var in envelopeJSON
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, wrongShape(err)
	}
	return in.envelope()
}

func (in *envelopeJSON) envelope() (*envelope, *protocol.Error) {
	e := &envelope{retain: in.Retain, receivers: in.Receivers, headers: in.Headers}
	if err := e.setTopics(in.Topic, in.Topics); err != nil {
		return nil, err
	}
	switch {
	case in.Data != nil && in.DataBase64 != nil:
		return nil, badBody(`both "data" and "data_base64" are given`)
	case in.Data != nil:
		e.payload, e.contentType = in.Data, typeJSON
	case in.DataBase64 != nil:
		payload, err := base64.StdEncoding.Strict().DecodeString(*in.DataBase64)
		if err != nil {
			return nil, badBody(`"data_base64" is not base64 with padding (RFC 4648 section 4)`)
		}
		e.payload, e.contentType = payload, typeBinary
	case !in.Retain:
		return nil, badBody(`there is neither "data" nor "data_base64"; without them only a retained value can be cleared, with "retain": true`)
	}
	if in.Type != nil && in.Data != nil {
		return nil, badBody(`"type" goes with "data_base64"; "data" is always JSON`)
	}
	if in.Type != nil {
		e.contentType = *in.Type
	}
	if in.ID != nil {
		if err := e.setID("key", *in.ID); err != nil {
			return nil, err
		}
	}
	if in.Exclude != nil {
		if err := e.setExclude("key", *in.Exclude); err != nil {
			return nil, err
		}
	}
	if in.TTL != nil && string(in.TTL) != "null" {
		if err := e.setTTL("key", strings.Trim(string(in.TTL), `"`)); err != nil {
			return nil, err
		}
	}
	return e, e.check()
}

func (e *envelope) setTopics(one *string, many *[]string) *protocol.Error {
	switch {
	case one != nil && many != nil:
		return badBody(`both "topic" and "topics" are given`)
	case one != nil:
		e.topics = []string{*one}
	case many == nil:
		return badBody(`there is neither "topic" nor "topics"`)
	case len(*many) == 0:
		return badBody(`"topics" is empty`)
	case len(*many) > maxTopics:
		return badBody(`found %d topics, the limit is %d`, len(*many), maxTopics)
	default:
		e.topics = *many
	}
	return nil
}

// setID takes a message id, which must not be empty: that would be a publish whose repetition counts twice.
func (e *envelope) setID(what, id string) *protocol.Error {
	e.id = id
	return checkMessageID(what+` "id"`, id)
}

// setExclude takes the origin that is not to be sent the message.
func (e *envelope) setExclude(what, origin string) *protocol.Error {
	e.exclude = origin
	return checkOrigin(what+` "exclude"`, origin)
}

// setTTL takes a lifetime; in JSON it may be a number of seconds too.
func (e *envelope) setTTL(what, value string) (err *protocol.Error) {
	e.ttl, err = parseTTL(what+` "ttl"`, value)
	return err
}

// check refuses what the core would have to carry to every subscriber.
func (e *envelope) check() *protocol.Error {
	if len(e.headers) > protocol.MaxHeaders {
		return protocol.Errorf(protocol.CodeTooLarge, "found %d headers, the limit is %d", len(e.headers), protocol.MaxHeaders)
	}
	if len(e.contentType) > protocol.MaxContentType || strings.ContainsFunc(e.contentType, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		return badBody(`"type" is not a content type`)
	}
	return nil
}

func wrongShape(err error) *protocol.Error {
	if t, ok := err.(*json.UnmarshalTypeError); ok { //nolint:errorlint // Unmarshal returns it as it is
		return badBody("%q is a %s, want %s", clip(t.Field), t.Value, typeName(t.Type.String()))
	}
	return badBody("the body is not the JSON object that is wanted")
}

func typeName(goType string) string {
	switch goType {
	case "string":
		return "a string"
	case "bool":
		return "true or false"
	case "[]string":
		return "a list of strings"
	}
	return "an object of strings"
}

// parseCurlEnvelope reads what comes with the type that curl -d gives every body: JSON if it starts as a JSON object, which no
// form of ours does, else a form.
func parseCurlEnvelope(body []byte) (*envelope, *protocol.Error) {
	if !startsAsObject(body) {
		return parseFormEnvelope(body)
	}
	e, err := parseJSONEnvelope(body)
	if err != nil && err.Code == protocol.CodeBadBody {
		err = err.WithHint("The body looks like JSON sent as a form and was read as JSON: correct what the detail names, " +
			"and add -H 'Content-Type: application/json'.")
	}
	return e, err
}

// parseFormEnvelope reads a form. Data is JSON if it parses as JSON, else text.
func parseFormEnvelope(body []byte) (*envelope, *protocol.Error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badBody("the body is not a URL-encoded form")
	}
	e := &envelope{}
	for name, values := range form {
		switch {
		case len(values) != 1:
			return nil, badBody("field %q is given %d times", clip(name), len(values))
		case !utf8.ValidString(values[0]):
			return nil, badBody("field %q is not valid UTF-8", clip(name))
		}
		if err := e.setField(name, values[0]); err != nil {
			return nil, err
		}
	}
	switch {
	case e.topics == nil:
		return nil, badBody(`there is no field "topic"`)
	case !form.Has("data") && !e.retain:
		return nil, badBody(`there is no field "data"`)
	}
	return e, nil
}

func (e *envelope) setField(name, value string) *protocol.Error {
	switch name {
	case "topic":
		e.topics = []string{value}
	case "data":
		e.payload, e.contentType = []byte(value), sniff([]byte(value))
	case "id":
		return e.setID("field", value)
	case "exclude":
		return e.setExclude("field", value)
	case "ttl":
		return e.setTTL("field", value)
	case "retain", "receivers":
		v, err := strconv.ParseBool(value)
		if err != nil {
			return badBody("field %q is %q, want true or false", name, clip(value))
		}
		if name == "retain" {
			e.retain = v
		} else {
			e.receivers = v
		}
	default:
		return badBody("field %q is not known; topic, data, retain, receivers, id, exclude and ttl are", clip(name))
	}
	return nil
}
