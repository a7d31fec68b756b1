package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Source says where the values of a configuration come from.
type Source struct {
	Base    *Config           // what holds where nothing else says so; nil is Default
	File    string            // path of a YAML file; "" is none
	Environ []string          // NAME=value, as os.Environ gives it
	Flags   map[string]string // key path to text, as in the file
}

// Loaded is a configuration and where its values came from.
type Loaded struct {
	*Config
	set map[string]position
}

// Load reads a configuration. When err is KeyErrors, Loaded still holds what could be read, so that Check can go on; it is nil when
// the file is no YAML. Any other error is of a file that cannot be read.
func Load(src Source) (*Loaded, error) {
	c := Default()
	if src.Base != nil {
		c = src.Base
	}
	d := &decoder{file: src.File, set: map[string]position{}}
	if src.File != "" {
		if err := d.readFile(c); err != nil {
			return nil, err
		}
	}
	d.file = ""
	d.environment(c, src.Environ)
	for _, k := range Keys() {
		if text, ok := src.Flags[k.Path]; ok {
			d.text(c, k, flagName(k.Path), text)
		}
	}
	return &Loaded{Config: c, set: d.set}, d.problems.err()
}

func (d *decoder) readFile(c *Config) error {
	text, err := os.ReadFile(d.file)
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return fmt.Errorf("%s: %w", d.file, err)
	}
	root, err := parse(d.file, text)
	if p, ok := errors.AsType[KeyError](err); ok {
		return KeyErrors{p}
	}
	if root != nil {
		d.section(root, reflect.ValueOf(c).Elem(), "")
	}
	return nil
}

// clientVariables are read by the client verbs and by the command line, not as keys.
var clientVariables = []string{"CARILLON_SERVER", "CARILLON_TOKEN", "CARILLON_ADMIN", "CARILLON_CONFIG", "CARILLON_CA"}

// serviceLink matches what Kubernetes sets for a service that is called carillon.
var serviceLink = regexp.MustCompile(`^CARILLON(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)$`)

// sections start the names of variables that can only be meant for the broker, those of sections to come among them: a setting
// that has no effect must not go unnoticed. Any other variable may be an application's own.
var sections = []string{"ADMIN_", "AUTH_", "COMPAT_", "LIMITS_", "LOG_", "METRICS_", "STORE_", "TLS_", "TRACING_", "TRUSTED_"}

func (d *decoder) environment(c *Config, environ []string) {
	byEnv := map[string]Key{}
	var names []string // without EnvPrefix
	for _, k := range Keys() {
		byEnv[k.Env] = k
		names = append(names, strings.TrimPrefix(k.Env, EnvPrefix))
	}
	for _, e := range environ {
		name, text, _ := strings.Cut(e, "=")
		short, ours := strings.CutPrefix(name, EnvPrefix)
		k, known := byEnv[name]
		switch {
		case !ours, slices.Contains(clientVariables, name), serviceLink.MatchString(name):
		case known:
			d.text(c, k, name, text)
		default:
			near := nearest(short, names, 2)
			if near == "" && !slices.ContainsFunc(sections, func(s string) bool { return strings.HasPrefix(short, s) }) {
				continue
			}
			p := KeyError{Key: name, Text: "no setting has this name"}
			if near != "" {
				p.Text += "; did you mean " + EnvPrefix + near + "?"
			}
			d.problems = append(d.problems, p)
		}
	}
}

// text sets one key from the environment or a flag. A list may be written with commas; what is more is written as in the file.
func (d *decoder) text(c *Config, k Key, name, text string) {
	d.name = name
	defer func() { d.name = "" }()
	v := k.value(c)
	d.set[k.Path] = position{name: name}
	_, isList := reflect.TypeAssert[[]string](v)
	switch {
	case isList && !strings.HasPrefix(strings.TrimSpace(text), "["):
		v.Set(reflect.ValueOf(splitList(text)))
	case v.Kind() == reflect.Slice:
		d.structured(v, k, text)
	default:
		if err := setText(v, k.field.Tag, text); err != nil {
			d.fail(nil, k.Path, "%v", err)
		}
	}
}

func (d *decoder) structured(v reflect.Value, k Key, text string) {
	root, err := parse(k.Path, []byte(text))
	p, bad := errors.AsType[KeyError](err)
	switch {
	case bad:
		d.fail(nil, k.Path, "%s", p.Text)
	case root == nil:
		d.fail(nil, k.Path, "is empty")
	default:
		d.value(ast.Node(root), v, k.field.Tag, k.Path)
	}
}

func splitList(text string) []string {
	list := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func flagName(path string) string {
	return "--" + strings.NewReplacer(".", "-", "_", "-").Replace(path)
}
