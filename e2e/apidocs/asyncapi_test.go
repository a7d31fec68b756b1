package apidocs

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/carillon-mq/carillon/internal/apidoc"
	"github.com/carillon-mq/carillon/protocol"
)

// packets are the schemas of spec/asyncapi.yaml.
type packets struct {
	doc    map[string]any
	byType map[string]*jsonschema.Schema // by the text of the type
}

const asyncResource = "file:///asyncapi.json"

// As the document is, a receiver ignores what it does not know. Where closed, that is a fault.
const (
	asItIs = false
	closed = true
)

func asyncAPI(t *testing.T, closed bool) *packets {
	t.Helper()
	doc, _ := apidoc.Load(t, filepath.Join(apidoc.Folder(), "asyncapi.yaml")).(map[string]any)
	if closed {
		closeAll(doc["components"])
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource(asyncResource, doc); err != nil {
		t.Fatal(err)
	}
	p := &packets{doc, map[string]*jsonschema.Schema{}}
	for name := range p.at("components", "messages") {
		schema, err := c.Compile(asyncResource + "#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		p.byType[fmt.Sprint(p.item(name, 0)["const"])] = schema
	}
	return p
}

// closeAll has schemas of objects and arrays refuse what they do not describe.
func closeAll(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, described := v["properties"]
		if _, said := v["additionalProperties"]; described && !said && v["type"] == "object" && v["required"] == nil {
			v["additionalProperties"] = false
		}
		if _, list := v["items"].([]any); list && v["minItems"] != nil && v["type"] == "array" && v["title"] == nil && v["additionalItems"] == nil && !isCondition(v) {
			v["additionalItems"] = false
		}
		for _, part := range v {
			closeAll(part)
		}
	case []any:
		for _, part := range v {
			closeAll(part)
		}
	}
}

// isCondition reports whether a schema of an array is one of `if`: it says nothing of the first element.
func isCondition(v map[string]any) bool {
	items, _ := v["items"].([]any)
	return len(items) > 0 && items[0] == true
}

// at is the object under the names.
func (p *packets) at(names ...string) map[string]any {
	m := p.doc
	for _, name := range names {
		m, _ = m[name].(map[string]any)
	}
	return m
}

// item is the schema of an element of a packet's array.
func (p *packets) item(packet string, i int) map[string]any {
	items, _ := p.at("components", "schemas", packet)["items"].([]any)
	if i >= len(items) {
		return nil
	}
	m, _ := items[i].(map[string]any)
	return m
}

// validate holds the array of a packet, as JSON text, against its schema.
func (p *packets) validate(text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	array, ok := v.([]any)
	if !ok || len(array) == 0 {
		return fmt.Errorf("found %s, wanted an array", text)
	}
	schema := p.byType[fmt.Sprint(array[0])]
	if schema == nil {
		return fmt.Errorf("there is no packet of the type %v", array[0])
	}
	return schema.Validate(v)
}

type vector struct {
	Name, Hex, JSON, Error string
	Read                   *bool
}

func vectors(t *testing.T, kind string) (all []vector) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(apidoc.Folder(), "vectors", kind+".json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil || len(all) == 0 {
		t.Fatalf("%d vectors: %v", len(all), err)
	}
	return all
}

// unsayable are faults that a schema of JSON cannot describe, by the vector, and why.
var unsayable = map[string]string{
	"json-name-twice":            "a reader of JSON keeps one of the two",
	"json-half-a-surrogate-pair": "a reader of JSON has put another character there",
	"json-too-deep":              "a schema does not count depth",

	"options-key-twice": "as above", "options-known-key-twice": "as above", "options-unknown-key-twice-in-a-packet-without-options": "as above",
	"connected-limit-twice": "as above", "publish-header-twice": "as above",
	"int-float32": "JSON has one kind of numbers", "options-key-bin": "and one of strings", "connect-token-bin": "as above", "publish-topic-bin": "as above",
	"publish-payload-nil": "JSON has a payload of this kind", "publish-payload-map": "as above",
	"publish-headers-4097-bytes": "a schema does not add up lengths",
}

// The arrays of the packet vectors, written as JSON, and the json vectors, are taken by their schemas if the protocol takes them, and by none otherwise
// ([JSN-2], [JSN-3], [JSN-4], [JSN-5]).
func TestAsyncAPITakesWhatTheProtocolTakes(t *testing.T) {
	p := asyncAPI(t, asItIs)
	check := func(v *vector, text []byte) {
		err := p.validate(text)
		if _, excused := unsayable[v.Name]; excused {
			if err != nil {
				t.Errorf("%s is said to pass, and does not: %v", v.Name, err)
			}
			return
		}
		if (err == nil) != (v.Error == "") {
			t.Errorf("%s: %.200s: the protocol says %q, the schema %v", v.Name, text, v.Error, err)
		}
	}
	for _, v := range vectors(t, "json") {
		check(&v, []byte(v.JSON))
	}
	seen := 0
	for _, v := range vectors(t, "packet") {
		if text := written(t, v.Hex); text != nil {
			seen++
			check(&v, text)
		}
	}
	if seen < 150 {
		t.Errorf("found only %d packets that can be written as JSON", seen)
	}
}

// written is a packet of MessagePack as its JSON; nil if it is not one value, or has what JSON has not.
func written(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := protocol.Gate(b); err != nil || rest != len(b) {
		return nil
	}
	var v any
	if err := msgpack.Unmarshal(b, &v); err != nil {
		return nil
	}
	if array, ok := v.([]any); ok && len(array) > 0 {
		payload := map[string]int{"7": 3, "9": 4}[fmt.Sprint(array[0])]
		if payload > 0 && payload < len(array) {
			array = inBase64(array, payload)
		}
		v = array
	}
	out, err := json.Marshal(inCursors(v))
	if err != nil {
		return nil
	}
	return out
}

// inBase64 has the payload written as base64, with the option that says so.
func inBase64(array []any, payload int) []any {
	b, ok := array[payload].([]byte)
	if s, isText := array[payload].(string); isText {
		b, ok = []byte(s), true
	}
	if !ok {
		return array
	}
	array[payload] = base64.StdEncoding.EncodeToString(b)
	at := payload + 1 // of the options
	if array[0] == int8(9) {
		at++
	}
	if len(array) < at {
		return array // a field is missing
	}
	if len(array) == at {
		array = append(array, nil)
	}
	switch options := array[at].(type) {
	case map[string]any:
		options["base64"] = true
	case nil:
		array[at] = map[string]any{"base64": true}
	case []any:
		if len(options) == 0 {
			array[at] = map[string]any{"base64": true}
		}
	}
	return array
}

func inCursors(v any) any {
	switch v := v.(type) {
	case []byte:
		return base64.RawURLEncoding.EncodeToString(v)
	case []any:
		for i := range v {
			v[i] = inCursors(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = inCursors(v[name])
		}
	}
	return v
}

func protocolText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(apidoc.Folder(), "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAsyncAPIHasTheTableOfPackets compares the document with section 4: types, directions, fields and options, in their order.
func TestAsyncAPIHasTheTableOfPackets(t *testing.T) {
	p := asyncAPI(t, asItIs)
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| \[(\w+)\]\([^)]*\) \| (client|server|both) \|([^|]*)\|([^|]*)\|$`).FindAllStringSubmatch(protocolText(t), -1)
	if len(rows) != len(p.byType) {
		t.Errorf("found %d packets in the table and %d in the document", len(rows), len(p.byType))
	}
	for _, row := range rows {
		number, name, from, fields, options := row[1], row[2], row[3], row[4], row[5]
		if p.byType[number] == nil || fmt.Sprint(p.item(name, 0)["const"]) != number {
			t.Errorf("%s has not the type %s", name, number)
			continue
		}
		if actions, want := p.actions(name), map[string]string{"client": "receive", "server": "send", "both": "receive send"}[from]; actions != want {
			t.Errorf("%s comes from %s, and the document has it among what the broker is to %q", name, from, actions)
		}
		var found []string
		i := 1
		for ; p.item(name, i)["title"] != nil; i++ {
			found = append(found, fmt.Sprint(p.item(name, i)["title"]))
		}
		if want := firstWords(fields); !slices.Equal(found, want) {
			t.Errorf("%s has the fields %q, wanted %q", name, found, want)
		}
		if name == "Subscribes" {
			options = "position bin, retained bool, snapshot bool, last int, latest bool, max_rate int, join bool"
		}
		if found, want := p.options(name, i), firstWords(options); !sameNames(found, want) {
			t.Errorf("%s has the options %q, wanted %q", name, found, want)
		}
	}
}

// actions are what the broker does with a packet, by itself or as an answer.
func (p *packets) actions(packet string) string {
	all := map[string]bool{}
	for id := range p.at("operations") {
		op := p.at("operations", id)
		action, _ := op["action"].(string)
		if refers(op["messages"], packet) {
			all[action] = true
		}
		if refers(p.at("operations", id, "reply")["messages"], packet) {
			all[map[string]string{"receive": "send", "send": "receive"}[action]] = true
		}
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func refers(list any, packet string) bool {
	refs, _ := list.([]any)
	return slices.ContainsFunc(refs, func(r any) bool {
		m, _ := r.(map[string]any)
		return m["$ref"] == "#/channels/session/messages/"+packet
	})
}

// options are the names of those that stand at i, but for what is JSON's alone.
func (p *packets) options(packet string, i int) (names []string) {
	item := p.item(packet, i)
	if ref, ok := item["$ref"].(string); ok {
		item = p.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	any0, _ := item["anyOf"].([]any)
	object, _ := any0[0].(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	for name := range properties {
		if name != "base64" {
			names = append(names, name)
		}
	}
	return names
}

func firstWords(list string) (all []string) {
	for part := range strings.SplitSeq(list, ", ") {
		if name, _, _ := strings.Cut(strings.TrimSpace(part), " "); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// TestAsyncAPICitesTheRules finds every rule of sections 4 to 12 cited, none that is not there, and only codes that there are.
func TestAsyncAPICitesTheRules(t *testing.T) {
	p, text := asyncAPI(t, asItIs), protocolText(t)
	rule := regexp.MustCompile(`(?m)^- \*\*\[([A-Z]{3}-\d+)\]\*\*`)
	begin, end := strings.Index(text, "\n## 4. "), strings.Index(text, "\n## 13. ")
	if begin < 0 || end < begin {
		t.Fatal("the spec has other sections")
	}
	known, wanted, cited := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range rule.FindAllStringSubmatch(text, -1) {
		known[m[1]] = true
	}
	for _, m := range rule.FindAllStringSubmatch(text[begin:end], -1) {
		wanted[m[1]] = true
	}
	cites := func(v any) {
		list, _ := v.([]any)
		for _, id := range list {
			cited[fmt.Sprint(id)] = true
		}
	}
	cites(p.at("channels", "session")["x-carillon-rules"])
	for name, m := range p.at("components", "messages") {
		message, _ := m.(map[string]any)
		cites(message["x-carillon-rules"])
		codes, _ := message["x-carillon-errors"].([]any)
		for _, code := range codes {
			if _, ok := protocol.CodeByName(fmt.Sprint(code)); !ok {
				t.Errorf("%s names the code %v, which there is not", name, code)
			}
		}
	}
	for id := range wanted {
		if !cited[id] {
			t.Errorf("nothing cites %s", id)
		}
	}
	for id := range cited {
		if !known[id] {
			t.Errorf("%s is cited, and there is no such rule", id)
		}
	}
}
