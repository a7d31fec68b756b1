package protocol

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// place is a position as the vectors write it: epoch, seq, term, offset.
func place(p Position) string {
	return fmt.Sprintf("%s %d %s %d", p.Epoch, p.Seq, p.Term, p.Offset)
}

func parsePlace(t *testing.T, s string) Position {
	t.Helper()
	var p Position
	f := strings.Fields(s)
	if len(f) != 4 {
		t.Fatalf("found %q, wanted a position", s)
	}
	var errs [4]error
	_, errs[0] = hex.Decode(p.Epoch[:], []byte(f[0]))
	p.Seq, errs[1] = strconv.ParseUint(f[1], 10, 64)
	_, errs[2] = hex.Decode(p.Term[:], []byte(f[2]))
	p.Offset, errs[3] = strconv.ParseUint(f[3], 10, 64)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// wireNames are the names of fields in the vectors where they are not the Go name in lower case.
var wireNames = map[string]string{
	"Time": "ts", "ContentType": "type", "MessageID": "mid", "RetryAfter": "retry_after", "NoRetained": "retained",
	"MaxRate": "max_rate",
}

// nullable are the fields that are nil on the wire when they are zero; other zero values of options are absent.
var nullable = map[string]bool{"Connect.Token": true, "Publish.ID": true, "ErrorPacket.ID": true, "Gap.From": true, "Ping.Position": true}

// fields are those that are always there; all others are options.
var fields = map[Type]string{
	TypeConnect: "Version Token", TypeConnected: "Session Position Ping", TypeSubscribe: "ID Filter", TypeSubscribed: "ID Position",
	TypeUnsubscribe: "ID Subscription", TypeUnsubscribed: "ID", TypePublish: "ID Topic Payload", TypePublished: "ID Seq Offset Durability",
	TypeMessage: "Seq Offset Topic Payload Time", TypeReplay: "Subscription Count Kind", TypeRetainedEnd: "Subscription",
	TypeResumed: "Subscription Position", TypeGap: "Subscription Reason From To", TypePing: "Position", TypePong: "",
	TypeHistory: "ID Filter", TypeHistories: "ID Position", TypePresence: "ID Topic", TypePresences: "ID Count", TypeSubscribes: "Subscriptions",
	TypeError: "ID Code Name Detail", TypeDisconnect: "Code Name Detail Reconnect",
}

func wireName(f reflect.StructField) string {
	if n, ok := wireNames[f.Name]; ok {
		return n
	}
	return strings.ToLower(f.Name)
}

// describe is p as the vectors write it, in the types of decoded JSON.
func describe(t *testing.T, p Packet) any {
	t.Helper()
	text, err := json.Marshal(map[string]any{p.Type().String(): describeFields(reflect.ValueOf(p).Elem(), p.Type())})
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

func describeFields(v reflect.Value, typ Type) map[string]any {
	required := " " + fields[typ] + " "
	m := make(map[string]any)
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		switch {
		case f.Name == "NoRetained":
			if value.Bool() {
				m["retained"] = false
			}
		case nullable[v.Type().Name()+"."+f.Name] && value.IsZero():
			m[wireName(f)] = nil
		case strings.Contains(required, " "+f.Name+" ") || !absent(f, value):
			m[wireName(f)] = describeValue(value.Interface())
		}
	}
	return m
}

// absent reports whether an option has its default.
func absent(f reflect.StructField, v reflect.Value) bool {
	if f.Name == "Receivers" && v.Kind() == reflect.Int64 || f.Name == "Count" && v.Kind() == reflect.Int64 {
		return v.Int() < 0
	}
	if f.Name == "Limit" {
		return v.Uint() == DefaultHistory
	}
	return v.IsZero()
}

func describeValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return hex.EncodeToString(v)
	case Position:
		return place(v)
	case *Position:
		return place(*v)
	case time.Duration:
		return v.Milliseconds()
	case Durability:
		return int(v)
	case []Subscribe:
		all := make([]any, len(v))
		for i := range v {
			all[i] = describeFields(reflect.ValueOf(&v[i]).Elem(), TypeSubscribe)
		}
		return all
	}
	return v
}

// build makes the packet that a vector describes.
func build(t *testing.T, described any) Packet {
	t.Helper()
	outer, _ := described.(map[string]any)
	if len(outer) != 1 {
		t.Fatalf("found %v, wanted one packet", described)
	}
	for name, inner := range outer {
		m, _ := inner.(map[string]any)
		for typ := range Type(len(types)) {
			if typ.String() == name {
				return buildPacket(t, typ, m)
			}
		}
	}
	t.Fatalf("found %v, wanted a packet's name", described)
	return nil
}

func buildPacket(t *testing.T, typ Type, m map[string]any) Packet {
	t.Helper()
	p := newPacket(typ)
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		value, ok := m[wireName(f)]
		switch {
		case !ok && (f.Name == "Receivers" || f.Name == "Count") && field.Kind() == reflect.Int64:
			field.SetInt(-1)
		case ok && f.Name == "NoRetained":
			field.SetBool(value == false)
		case ok && value != nil:
			buildValue(t, field, value)
		}
	}
	return p
}

func buildValue(t *testing.T, field reflect.Value, value any) {
	t.Helper()
	switch field.Interface().(type) {
	case []byte:
		b, err := hex.DecodeString(value.(string))
		if err != nil {
			t.Fatal(err)
		}
		field.SetBytes(b)
	case Position:
		field.Set(reflect.ValueOf(parsePlace(t, value.(string))))
	case *Position:
		p := parsePlace(t, value.(string))
		field.Set(reflect.ValueOf(&p))
	case time.Duration:
		field.SetInt(int64(value.(float64)) * int64(time.Millisecond))
	case []Subscribe:
		for _, one := range value.([]any) {
			s := buildPacket(t, TypeSubscribe, one.(map[string]any)).(*Subscribe)
			field.Set(reflect.Append(field, reflect.ValueOf(*s)))
		}
	case map[string]string, map[string]int64, []string:
		text, _ := json.Marshal(value)
		if err := json.Unmarshal(text, field.Addr().Interface()); err != nil {
			t.Fatal(err)
		}
	default:
		switch value := value.(type) {
		case bool:
			field.SetBool(value)
		case string:
			field.SetString(value)
		case float64:
			if field.CanUint() {
				field.SetUint(uint64(value))
			} else {
				field.SetInt(int64(value))
			}
		}
	}
}
