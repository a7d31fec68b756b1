package config

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema is the JSON Schema (2020-12) of the configuration file.
func Schema() ([]byte, error) {
	s := sectionSchema(reflect.ValueOf(Default()).Elem())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Carillon configuration"
	return json.MarshalIndent(s, "", "  ")
}

func sectionSchema(v reflect.Value) map[string]any {
	properties := map[string]any{}
	for f := range fields(v.Type()) {
		properties[f.Tag.Get("key")] = fieldSchema(f.Tag, v.FieldByIndex(f.Index))
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func fieldSchema(tag reflect.StructTag, v reflect.Value) map[string]any {
	s := map[string]any{}
	switch x := v.Interface().(type) {
	case Opaque:
		s["type"] = "object"
	case []string:
		s["type"], s["items"] = "array", map[string]any{"type": "string"}
	case []Topic:
		s["type"], s["items"] = "array", required(sectionSchema(reflect.ValueOf(Topic{})), "match", "class")
	case Sync:
		s["oneOf"] = []any{map[string]any{"const": always}, required(sectionSchema(v), "interval")}
		s["default"] = always
	case History:
		s = sectionSchema(v)
		s["minProperties"] = 1
	case Size:
		s["type"], s["pattern"] = "string", `^[0-9]+ ?(B|KiB|MiB|GiB|TiB)$`+orUnlimited(tag)
		if x != 0 {
			s["default"] = x.String()
		}
	case Duration:
		s["type"], s["pattern"] = "string", `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`
		if x != 0 {
			s["default"] = x.String()
		}
	case Count:
		number := map[string]any{"type": "integer", "minimum": 1}
		switch x {
		case 0:
		case Unlimited:
			s["default"] = x.String()
		default:
			s["default"] = int64(x)
		}
		if tag.Get("unlimited") != "true" {
			s["type"], s["minimum"] = "integer", 1
			break
		}
		s["anyOf"] = []any{number, map[string]any{"const": "unlimited"}}
	case string:
		s["type"] = "string"
		if enum := tag.Get("enum"); enum != "" {
			s["enum"] = strings.Split(enum, ",")
		}
		if x != "" {
			s["default"] = x
		}
	default:
		s = sectionSchema(v)
	}
	s["description"] = tag.Get("doc")
	return s
}

func required(section map[string]any, names ...string) map[string]any {
	section["required"] = names
	return section
}

func orUnlimited(tag reflect.StructTag) string {
	if tag.Get("unlimited") == "true" {
		return "|^unlimited$"
	}
	return ""
}
