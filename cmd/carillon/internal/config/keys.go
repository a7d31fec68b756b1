package config

import (
	"reflect"
	"strings"
)

// EnvPrefix starts the name of every environment variable that sets a key.
const EnvPrefix = "CARILLON_"

// Key is one value of the configuration.
type Key struct {
	Path string // limits.ring
	Env  string // CARILLON_LIMITS_RING
	Doc  string

	index [][]int // of the fields that lead to it
	field reflect.StructField
}

// value is the key's place in c.
func (k Key) value(c *Config) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for _, i := range k.index {
		v = v.FieldByIndex(i)
	}
	return v
}

// Keys lists every key, in the order of the file.
func Keys() []Key {
	return keysOf(reflect.TypeFor[Config](), "", nil)
}

func keysOf(t reflect.Type, prefix string, index [][]int) []Key {
	var keys []Key
	for f := range fields(t) {
		path := prefix + f.Tag.Get("key")
		at := append(append([][]int(nil), index...), f.Index)
		if f.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf(f.Type, path+".", at)...)
			continue
		}
		keys = append(keys, Key{Path: path, Env: envName(path), Doc: f.Tag.Get("doc"), index: at, field: f})
	}
	return keys
}

// fields yields the fields of struct type t that are keys.
func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if f.Tag.Get("key") != "" && !yield(f) {
				return
			}
		}
	}
}

func envName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// Changed lists the keys that have another value in b than in a, in the order of the file.
func Changed(a, b *Config) (paths []string) {
	for _, k := range Keys() {
		if !reflect.DeepEqual(k.value(a).Interface(), k.value(b).Interface()) {
			paths = append(paths, k.Path)
		}
	}
	return paths
}
