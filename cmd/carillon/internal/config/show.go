package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Hidden stands for a secret wherever a configuration is shown.
const Hidden = "***"

// secretName matches the keys of a plugin's configuration whose values are never shown.
var secretName = regexp.MustCompile(`(?i)secret|password|passwd|passphrase|token|private|credential|api_?key`)

// Show writes the configuration as YAML, every key with its value in force. Secrets are Hidden.
func (c *Config) Show(w io.Writer) error {
	p := &printer{w: w}
	p.section(reflect.ValueOf(c).Elem(), 0)
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(depth int, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, strings.Repeat("  ", depth)+format+"\n", args...)
	}
}

func (p *printer) section(v reflect.Value, depth int) {
	for f := range fields(v.Type()) {
		name, field := f.Tag.Get("key"), v.FieldByIndex(f.Index)
		switch x := field.Interface().(type) {
		case Opaque:
			p.opaque(name, x, depth)
		case []string:
			p.strings(name, x, depth)
		case []Topic:
			p.topics(name, x, depth)
		default:
			if field.Kind() == reflect.Struct {
				p.line(depth, "%s:", name)
				p.section(field, depth+1)
				continue
			}
			if field.Kind() == reflect.String && field.Len() == 0 {
				continue // optional and not set
			}
			p.line(depth, "%s: %s", name, scalar(fmt.Sprint(x)))
		}
	}
}

func (p *printer) strings(name string, list []string, depth int) {
	if len(list) == 0 {
		p.line(depth, "%s: []", name)
		return
	}
	p.line(depth, "%s:", name)
	for _, s := range list {
		p.line(depth+1, "- %s", scalar(s))
	}
}

func (p *printer) topics(name string, rules []Topic, depth int) {
	if len(rules) == 0 {
		p.line(depth, "%s: []", name)
		return
	}
	p.line(depth, "%s:", name)
	for _, r := range rules {
		p.line(depth+1, "- %s", r.flow())
	}
}

func (p *printer) opaque(name string, o Opaque, depth int) {
	if o == nil {
		return
	}
	var v any
	if err := json.Unmarshal(o, &v); err != nil {
		p.err = err
		return
	}
	text, err := json.Marshal(hide(v)) // JSON is YAML
	if err != nil {
		p.err = err
		return
	}
	p.line(depth, "%s: %s", name, text)
}

// hide replaces the values of secret keys, at any depth.
func hide(v any) any {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			if secretName.MatchString(n) && v[n] != nil {
				v[n] = Hidden
				continue
			}
			v[n] = hide(v[n])
		}
	case []any:
		for i := range v {
			v[i] = hide(v[i])
		}
	}
	return v
}

// HasSecrets reports whether Show hides something of what is set for the plugins.
func (c *Config) HasSecrets() bool {
	for _, o := range []Opaque{c.Auth.Config, c.Store.Config} {
		var v any
		if json.Unmarshal(o, &v) != nil { // none
			continue
		}
		if shown, err := json.Marshal(hide(v)); err == nil && bytes.Contains(shown, []byte(`"`+Hidden+`"`)) {
			return true
		}
	}
	return false
}

// plainScalar matches what YAML reads back as the same string without quotes.
var plainScalar = regexp.MustCompile(`^[A-Za-z0-9/_.][A-Za-z0-9/_.:@+-]*$`)

func scalar(s string) string {
	if plainScalar.MatchString(s) && !strings.HasSuffix(s, ":") {
		return s
	}
	return strconv.Quote(s)
}
