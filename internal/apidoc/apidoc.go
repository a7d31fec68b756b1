// Package apidoc holds answers of a running broker against spec/openapi.yaml, for tests of the whole: what is answered has to be written there, and
// what is written there has to have been answered by somebody.
//
// The document says that clients ignore fields that they do not know. Here they count as faults: each field has to be written down.
package apidoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is an OpenAPI document. It is safe for concurrent use.
type Document struct {
	root map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler // compiles under mu
	seen     map[Answer]int
}

// Answer is one that the document has, or that was seen.
type Answer struct {
	Operation string // its id
	Status    string
	Code      string // of a problem document; "" for other answers
}

func (a Answer) String() string {
	return strings.TrimSpace(a.Operation + " " + a.Status + " " + a.Code)
}

// Folder is spec/ of the working tree.
func Folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "spec")
}

// Load reads a YAML document as the JSON that it stands for.
func Load(t testing.TB, file string) any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return doc
}

const resource = "file:///openapi.json"

// Open reads spec/openapi.yaml.
func Open(t testing.TB) *Document {
	t.Helper()
	root, ok := Load(t, filepath.Join(Folder(), "openapi.yaml")).(map[string]any)
	if !ok {
		t.Fatal("openapi.yaml is no object")
	}
	d := &Document{root: root, compiler: jsonschema.NewCompiler(), seen: map[Answer]int{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	d.compiler.AssertContent()
	schemas, _ := d.at("components", "schemas").(map[string]any)
	for _, s := range schemas {
		closed(s)
	}
	if err := d.compiler.AddResource(resource, root); err != nil {
		t.Fatal(err)
	}
	return d
}

// closed makes an object's schema refuse what it does not name.
func closed(schema any) {
	s, _ := schema.(map[string]any)
	properties, has := s["properties"].(map[string]any)
	if _, open := s["additionalProperties"]; !has || open || s["$ref"] != nil {
		return
	}
	s["additionalProperties"] = false
	for _, p := range properties {
		closed(p)
	}
}

// at is what stands under the names; nil if there is nothing.
func (d *Document) at(names ...string) any {
	var v any = d.root
	for _, name := range names {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// follow is what names lead to, and where that stands, when there is a reference in between.
func (d *Document) follow(names ...string) (object map[string]any, where []string) {
	object, _ = d.at(names...).(map[string]any)
	ref, ok := object["$ref"].(string)
	if !ok {
		return object, names
	}
	var target []string
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		target = append(target, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
	}
	return d.follow(target...)
}

// validate holds v against the schema that names lead to.
func (d *Document) validate(v any, names ...string) error {
	var pointer strings.Builder
	for _, name := range names {
		pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	d.mu.Lock()
	schema, err := d.compiler.Compile(resource + "#" + pointer.String())
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// ValidateText holds JSON text against a schema of components.
func (d *Document) ValidateText(schema string, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return d.validate(v, "components", "schemas", schema)
}

var methods = []string{"get", "put", "post", "delete", "patch"}

// Operation is one method of one path.
type Operation struct {
	ID, Method, Path string
	Admin            bool // on the admin listener
	Query            []string
	Headers          []string
}

// Operations are those of the document, sorted by path.
func (d *Document) Operations() []Operation {
	var all []Operation
	paths, _ := d.at("paths").(map[string]any)
	for path, v := range paths {
		item, _ := v.(map[string]any)
		for _, m := range methods {
			op, _ := item[m].(map[string]any)
			if op == nil {
				continue
			}
			id, _ := op["operationId"].(string)
			o := Operation{ID: id, Method: strings.ToUpper(m), Path: path, Admin: item["servers"] != nil}
			parameters, _ := op["parameters"].([]any)
			for i := range parameters {
				o.take(d.parameter(path, m, i))
			}
			slices.Sort(o.Query)
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b Operation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	return all
}

func (d *Document) parameter(path, method string, i int) map[string]any {
	list, _ := d.at("paths", path, method, "parameters").([]any)
	p, _ := list[i].(map[string]any)
	if ref, ok := p["$ref"].(string); ok {
		p, _ = d.follow(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return p
}

func (o *Operation) take(parameter map[string]any) {
	name, _ := parameter["name"].(string)
	switch parameter["in"] {
	case "query":
		o.Query = append(o.Query, name)
	case "header":
		o.Headers = append(o.Headers, name)
	}
}

// find is the operation that answers; "" for the path, or for the method, if there is none.
func (d *Document) find(method, target string) (path, m string) {
	target, _, _ = strings.Cut(target, "?")
	m = strings.ToLower(method)
	if m == "head" {
		m = "get"
	}
	paths, _ := d.at("paths").(map[string]any)
	for template := range paths {
		if !matches(template, target) {
			continue
		}
		if d.at("paths", template, m) == nil {
			m = ""
		}
		return template, m
	}
	return "", m
}

func matches(template, target string) bool {
	want, got := strings.Split(template, "/"), strings.Split(target, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool {
		return w == g || strings.HasPrefix(w, "{") && g != ""
	})
}

// Check holds the answer to a request against the document. body is all of it.
func (d *Document) Check(method, target string, resp *http.Response, body []byte) error {
	path, m := d.find(method, target)
	status := fmt.Sprint(resp.StatusCode)
	if path == "" || m == "" {
		return d.checkElsewhere(method, target, resp, body)
	}
	id, _ := d.at("paths", path, m, "operationId").(string)
	response, where := d.follow("paths", path, m, "responses", status)
	if response == nil {
		return fmt.Errorf("%s: an answer with status %s is not in the document: %.300s", id, status, body)
	}
	if err := d.checkHeaders(resp, where); err != nil {
		return fmt.Errorf("%s %s: %w", id, status, err)
	}
	code, err := d.checkBody(method, resp, body, where)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %.300s", id, status, err, body)
	}
	d.mu.Lock()
	d.seen[Answer{id, status, code}]++
	d.mu.Unlock()
	return nil
}

// checkElsewhere holds the answer of a path or a method that the document does not have against what it says of those.
func (d *Document) checkElsewhere(method, target string, resp *http.Response, body []byte) error {
	name := map[int]string{404: "NotServed", 405: "MethodNotAllowed", 403: "Forbidden", 421: "BadHost", 431: "HeadersTooLarge", 400: "BadTopicRequest"}[resp.StatusCode]
	if name == "" {
		return fmt.Errorf("%s %s is not in the document and was answered with %s", method, target, resp.Status)
	}
	_, err := d.checkBody(method, resp, body, []string{"components", "responses", name})
	if err == nil && name == "MethodNotAllowed" {
		err = d.checkHeaders(resp, []string{"components", "responses", name})
	}
	return err
}

// Properties are the names of what an object of a schema of components may have.
func (d *Document) Properties(schema string) []string {
	properties, _ := d.at("components", "schemas", schema, "properties").(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}
