package host

import (
	"strings"
	"testing"
)

func TestConfigurationsAreRefusedByKeyWithoutShowingValues(t *testing.T) {
	const schema = `{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"type": "object",
		"additionalProperties": false,
		"required": ["issuer"],
		"properties": {
			"issuer": {"type": "string", "format": "uri"},
			"leeway": {"type": "integer", "minimum": 0, "maximum": 60},
			"keys": {"type": "array", "minItems": 1, "items": {"anyOf": [
				{"type": "object", "required": ["secret"], "properties": {"secret": {"type": "string", "minLength": 32, "pattern": "^[a-z]+$"}}}
			]}}
		}
	}`
	for _, c := range []struct{ name, schema, config, says string }{
		{"good", schema, `{"issuer": "https://a.example", "leeway": 30}`, ""},
		{"no schema", "", `{"anything": [1]}`, ""},
		{"no schema, no object", "", `[1]`, "configuration: wanted an object"},
		{"missing", schema, `{}`, "issuer: missing"},
		{"unknown", schema, `{"issuer": "a", "isuer": "s3cr3t"}`, "isuer: unknown key"},
		{"type", schema, `{"issuer": 7}`, "issuer: found number, wanted string"},
		{"bounds", schema, `{"issuer": "a", "leeway": 61}`, "leeway: wanted at most 60"},
		{"two faults", schema, `{"issuer": "a", "leeway": -1, "keys": []}`, "found 0 items, wanted at least 1"},
		{"short secret", schema, `{"issuer": "a", "keys": [{"secret": "s3cr3t"}]}`, "keys[0].secret: found 6 characters, wanted at least 32"},
		{"trailing data", schema, `{"issuer": "a"} {}`, "not JSON"},
		{"schema elsewhere", `{"$ref": "file:///etc/passwd"}`, `{}`, "a reference to another document"},
		{"schema on the net", `{"$ref": "http://127.0.0.1:1/x"}`, `{}`, "a reference to another document"},
		{"broken schema", `{"type": 7}`, `{}`, "schema of its configuration is wrong"},
		{"no schema at all", `{`, `{}`, "schema of its configuration is wrong"},
	} {
		err := checkConfig(c.schema, []byte(c.config))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, wanted %q", c.name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v shows a value", c.name, err)
		}
	}
}
