package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/carillon-mq/carillon/broker"
)

// decoder writes YAML nodes into a Config and collects what does not fit.
type decoder struct {
	file     string // "" when the text is one value from the environment or a flag
	name     string // of that value
	problems KeyErrors
	set      map[string]position // where each key was set
}

type position struct {
	file         string
	line, column int
	name         string // of the variable or flag
}

func (d *decoder) fail(n ast.Node, path, format string, args ...any) {
	p := KeyError{File: d.file, Key: path, Text: fmt.Sprintf(format, args...)}
	if d.name != "" {
		p.Key = d.name
	} else if n != nil {
		t := n.GetToken().Position
		p.Line, p.Column = t.Line, t.Column
	}
	d.problems = append(d.problems, p)
}

// section decodes a mapping into the struct v. Keys that the struct has not are problems.
func (d *decoder) section(n ast.Node, v reflect.Value, prefix string) {
	pairs, ok := entries(n)
	if !ok {
		d.fail(n, strings.TrimSuffix(prefix, "."), "is %s, want a section with keys", kindOf(n))
		return
	}
	known := map[string]reflect.StructField{}
	var names []string
	for f := range fields(v.Type()) {
		known[f.Tag.Get("key")] = f
		names = append(names, f.Tag.Get("key"))
	}
	for key, value := range d.pairs(pairs, prefix) {
		name := key.GetToken().Value
		f, ok := known[name]
		if !ok {
			d.fail(key, "", "unknown key %q%s", prefix+name, suggest(name, names))
			continue
		}
		d.value(value, v.FieldByIndex(f.Index), f.Tag, prefix+name)
	}
}

// pairs yields the pairs of a mapping and reports keys that come twice.
func (d *decoder) pairs(pairs []*ast.MappingValueNode, prefix string) func(yield func(ast.MapKeyNode, ast.Node) bool) {
	return func(yield func(ast.MapKeyNode, ast.Node) bool) {
		seen := map[string]int{}
		for _, p := range pairs {
			t := p.Key.GetToken()
			if first, dup := seen[t.Value]; dup {
				d.fail(p.Key, "", "key %q is already set in line %d", prefix+t.Value, first)
				continue
			}
			seen[t.Value] = t.Position.Line
			if !yield(p.Key, p.Value) {
				return
			}
		}
	}
}

func (d *decoder) value(n ast.Node, v reflect.Value, tag reflect.StructTag, path string) {
	t := n.GetToken().Position
	d.set[path] = position{file: d.file, line: t.Line, column: t.Column, name: d.name}
	switch v.Interface().(type) {
	case Opaque:
		d.opaque(n, v, path)
		return
	case Sync:
		d.sync(n, v, path)
		return
	case []string:
		d.list(n, v, path)
		return
	case []Topic:
		d.topics(n, v, path)
		return
	}
	if v.Kind() == reflect.Struct {
		d.section(n, v, path+".")
		return
	}
	text, ok := scalarText(n)
	if !ok {
		d.fail(n, path, "is %s, want one value", kindOf(n))
		return
	}
	if err := setText(v, tag, text); err != nil {
		d.fail(n, path, "%v", err)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, path, "is %s, want a list", kindOf(n))
		return
	}
	list := make([]string, 0, len(seq.Values))
	for i, e := range seq.Values {
		text, ok := scalarText(e)
		if !ok {
			d.fail(e, fmt.Sprintf("%s[%d]", path, i), "is %s, want one value", kindOf(e))
			continue
		}
		list = append(list, text)
	}
	v.Set(reflect.ValueOf(list))
}

func (d *decoder) topics(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, path, "is %s, want a list of rules", kindOf(n))
		return
	}
	rules := make([]Topic, len(seq.Values))
	for i, e := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		t := e.GetToken().Position
		d.set[at] = position{file: d.file, line: t.Line, column: t.Column, name: d.name}
		d.section(e, reflect.ValueOf(&rules[i]).Elem(), at+".")
		if _, said := d.set[at+".history"]; !said && rules[i].Class == stored {
			rules[i].History.Count = Count(broker.DefaultHistory.Count)
		}
	}
	v.Set(reflect.ValueOf(rules))
}

// opaque keeps a mapping as JSON for its owner. Duplicate keys are still ours to find: JSON would hide them.
func (d *decoder) opaque(n ast.Node, v reflect.Value, path string) {
	if _, ok := entries(n); !ok {
		d.fail(n, path, "is %s, want a section with keys", kindOf(n))
		return
	}
	before := len(d.problems)
	raw, err := json.Marshal(d.plain(n, path))
	if err != nil {
		d.fail(n, path, "%v", err)
	}
	if len(d.problems) == before {
		v.SetBytes(raw)
	}
}

// plain is n as JSON knows it.
func (d *decoder) plain(n ast.Node, path string) any {
	if pairs, ok := entries(n); ok && n.Type() != ast.NullType {
		m := map[string]any{}
		for key, value := range d.pairs(pairs, path+".") {
			t := key.GetToken()
			d.set[path+"."+t.Value] = position{file: d.file, line: t.Position.Line, column: t.Position.Column, name: d.name}
			m[t.Value] = d.plain(value, path+"."+t.Value)
		}
		return m
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, e := range n.Values {
			list[i] = d.plain(e, fmt.Sprintf("%s[%d]", path, i))
		}
		return list
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.fail(n, path, "is %s, which a configuration does not use; write the value", kindOf(n))
		return nil
	}
	var v any
	if err := yaml.NodeToValue(n, &v); err != nil {
		d.fail(n, path, "%v", err)
	}
	return v
}

// setText reads text into the scalar v and checks it against the bounds in tag.
func setText(v reflect.Value, tag reflect.StructTag, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		err := u.UnmarshalText([]byte(text))
		if least, ok := tag.Lookup("min"); ok && errors.Is(err, errNotWhole) {
			if tag.Get("unlimited") == "true" {
				least += ", or unlimited"
			}
			return fmt.Errorf("%w from %s", err, least)
		}
		if err != nil {
			return err
		}
		return checkBounds(v, tag)
	}
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("is empty")
	}
	if enum := tag.Get("enum"); enum != "" {
		words := strings.Split(enum, ",")
		if !slices.Contains(words, text) {
			return fmt.Errorf("%q is not known%s; want %s", text, suggest(text, words), strings.Join(words, " or "))
		}
	}
	v.SetString(text)
	return nil
}

// checkBounds applies the tags min, max and unlimited to a Count, Size or Duration.
func checkBounds(v reflect.Value, tag reflect.StructTag) error {
	n := v.Int()
	if n == Unlimited && v.Type() != reflect.TypeFor[Duration]() {
		if tag.Get("unlimited") != "true" {
			return fmt.Errorf("cannot be unlimited")
		}
		return nil
	}
	for name, below := range map[string]bool{"min": true, "max": false} {
		text, ok := tag.Lookup(name)
		if !ok {
			continue
		}
		bound := reflect.New(v.Type())
		if err := bound.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			panic("config: bad tag " + name + ": " + text)
		}
		switch b := bound.Elem().Int(); {
		case below && n < b && tag.Get("unlimited") == "true":
			return fmt.Errorf("%v is below the least, %s; write unlimited to have no limit", v, text)
		case below && n < b:
			return fmt.Errorf("%v is below the least, %s", v, text)
		case !below && n > b:
			return fmt.Errorf("%v is above the most, %s", v, text)
		}
	}
	return nil
}
