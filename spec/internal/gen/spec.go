package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	specPath   = "spec/protocol.md"
	vectorsDir = "spec/vectors"
)

// spec is what the generator knows of the text.
type spec struct {
	rules    map[string]bool // by id; true: behaviour, which has no vector
	mentions []string        // ids that the text refers to
	vectors  []vector
}

// vector is one JSON object of a block.
type vector struct {
	kind  string
	name  string
	rules []string
	rest  map[string]any // everything else
}

var (
	definition = regexp.MustCompile(`^- \*\*\[([A-Z]{3}-\d+)\]\*\*( \*\(behaviour\)\*)?`)
	mention    = regexp.MustCompile(`\[([A-Z]{3}-\d+)\]`)
	nameForm   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	repeated   = regexp.MustCompile(`^([0-9a-f]+)\*(\d+)$`)
)

// parse reads the rules and the vector blocks of the text.
func parse(text string) (*spec, error) {
	s := &spec{rules: make(map[string]bool)}
	var kind string
	var block strings.Builder
	for n, line := range strings.Split(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case kind != "" && fence:
			if err := s.addBlock(kind, block.String()); err != nil {
				return nil, fmt.Errorf("%s: block that ends at line %d: %w", specPath, n+1, err)
			}
			kind = ""
			block.Reset()
		case kind != "":
			block.WriteString(line + "\n")
		case fence && strings.HasPrefix(info, "vector "):
			kind = strings.TrimPrefix(info, "vector ")
		default:
			if err := s.addLine(line); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", specPath, n+1, err)
			}
		}
	}
	return s, nil
}

func (s *spec) addLine(line string) error {
	if m := definition.FindStringSubmatch(line); m != nil {
		if _, twice := s.rules[m[1]]; twice {
			return fmt.Errorf("rule %s is defined twice", m[1])
		}
		s.rules[m[1]] = m[2] != ""
	}
	for _, m := range mention.FindAllStringSubmatch(line, -1) {
		s.mentions = append(s.mentions, m[1])
	}
	return nil
}

func (s *spec) addBlock(kind, text string) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	for {
		var rest map[string]any
		if err := d.Decode(&rest); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		v := vector{kind: kind, rest: rest}
		v.name, _ = rest["name"].(string)
		rules, _ := rest["rules"].([]any)
		for _, r := range rules {
			id, _ := r.(string)
			v.rules = append(v.rules, id)
		}
		delete(rest, "name")
		delete(rest, "rules")
		if short, ok := rest["hex"].(string); ok {
			long, err := expandHex(short)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			rest["hex"] = long
		}
		s.vectors = append(s.vectors, v)
	}
}

// expandHex takes out blanks and writes repeated bytes in full.
func expandHex(short string) (string, error) {
	var b strings.Builder
	for part := range strings.FieldsSeq(short) {
		n := 1
		if m := repeated.FindStringSubmatch(part); m != nil {
			part = m[1]
			n, _ = strconv.Atoi(m[2])
		}
		b.WriteString(strings.Repeat(part, n))
	}
	_, err := hex.DecodeString(b.String())
	return b.String(), err
}

// check reports everything that does not hold together: a rule without an example, an example or a mention of no rule.
func (s *spec) check() error {
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(specPath+": "+format, a...)) }
	shown := make(map[string]bool)
	names := make(map[string]bool)
	for _, v := range s.vectors {
		if !nameForm.MatchString(v.name) || names[v.name] {
			fault("vector name %q is taken or not of lower-case words and hyphens", v.name)
		}
		names[v.name] = true
		if len(v.rules) == 0 {
			fault("vector %s names no rule", v.name)
		}
		for _, id := range v.rules {
			shown[id] = true
			if behaviour, defined := s.rules[id]; !defined || behaviour {
				fault("vector %s is an example of %s, which is no rule that has examples", v.name, id)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.rules)) {
		if !s.rules[id] && !shown[id] {
			fault("rule %s has no vector and is not marked (behaviour)", id)
		}
	}
	for _, id := range s.mentions {
		if _, defined := s.rules[id]; !defined {
			fault("the text refers to %s, which is not defined", id)
		}
	}
	return errors.Join(faults...)
}

// byKind is the content of the vector files.
func (s *spec) byKind() map[string][]byte {
	files := make(map[string][]byte)
	for _, v := range s.vectors {
		head := ",\n"
		if files[v.kind] == nil {
			head = "[\n"
		}
		files[v.kind] = append(append(files[v.kind], head...), v.line()...)
	}
	for kind := range files {
		files[kind] = append(files[kind], "\n]\n"...)
	}
	return files
}

// line is the vector as JSON, name and rules first.
func (v *vector) line() []byte {
	head := encode(struct {
		Name  string   `json:"name"`
		Rules []string `json:"rules"`
	}{v.name, v.rules})
	if len(v.rest) == 0 {
		return head
	}
	return append(append(head[:len(head)-1], ','), encode(v.rest)[1:]...)
}

// encode is v as JSON on one line, without escapes for HTML.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // v came from JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
