package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFileBytes bounds a configuration file: beyond it, it is not one.
const maxFileBytes = 1 << 20

// parse reads one YAML document. A file that holds nothing but comments gives nil.
func parse(file string, text []byte) (ast.Node, error) {
	if len(text) > maxFileBytes {
		return nil, KeyError{File: file, Text: fmt.Sprintf("is %d bytes long, a configuration is at most %d", len(text), maxFileBytes)}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) {
		return nil, KeyError{File: file, Text: "is not valid UTF-8"}
	}
	f, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey()) // duplicates are reported by decoder.mapping, all of them
	if err != nil {
		return nil, syntaxError(file, err)
	}
	var body ast.Node
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			t := d.Body.GetToken().Position
			return nil, KeyError{File: file, Line: t.Line, Column: t.Column, Text: "a second document starts here; a configuration is one"}
		}
		body = d.Body
	}
	return body, nil
}

func syntaxError(file string, err error) KeyError {
	p := KeyError{File: file, Text: err.Error()}
	if ye, ok := errors.AsType[yaml.Error](err); ok {
		p.Text = ye.GetMessage()
		if t := ye.GetToken(); t != nil && t.Position != nil {
			p.Line, p.Column = t.Position.Line, t.Position.Column
		}
	}
	if strings.Contains(p.Text, "'\t'") {
		p.Text = "a tab is used for indentation; YAML wants spaces"
	}
	return p
}

// kindOf is what a node is, in the words of an error.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "tagged"
	}
	return "a value"
}

// scalarText is the text of a scalar as it was written, without quotes; false for everything else.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.NullNode, *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return "", false
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// entries are a mapping's pairs; false if n is not one. An empty value counts as an empty mapping.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, true
	}
	return nil, false
}
