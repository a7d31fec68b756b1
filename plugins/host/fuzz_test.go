//go:build unix

package host

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// A first line that is taken leads to a socket in the plugin's own folder, whatever else it says. What is told of another one is a line
// that can be printed.
func FuzzHandshake(f *testing.F) {
	dir, err := os.MkdirTemp("/tmp", "carillon-fuzz-") // a socket's path has to be short
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	f.Add("1|1|unix|DIR/s|grpc|c29tZQ", true)
	f.Add("1|1|unix|DIR/s|grpc", false)
	f.Add("1|1|unix|DIR/../s|grpc||", false)
	f.Add("1|1|unix|/etc/passwd|grpc", false)
	f.Add("1|1|tcp|8.8.8.8:53|grpc", false)
	f.Add("1|99|unix|DIR/s|grpc", false)
	f.Add("1|1|unix|DIR/s|netrpc", false)
	f.Add("\x1b[2J|\x00|\xff", true)
	f.Fuzz(func(t *testing.T, line string, mtls bool) {
		line = strings.ReplaceAll(line, "DIR", dir)
		err := checkHandshake(line, dir, mtls)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) || len(err.Error()) > 1000 {
				t.Errorf("it is told %q", err)
			}
			return
		}
		fields := strings.Split(strings.TrimSpace(line), "|")
		if filepath.Dir(fields[3]) != dir || fields[0] != "1" || fields[2] != "unix" || fields[4] != "grpc" {
			t.Errorf("%q is taken", line)
		}
	})
}

// What a plugin prints becomes a line of the log of bounded length, whose fields can be printed.
func FuzzLine(f *testing.F) {
	f.Add([]byte("plain text"))
	f.Add([]byte(`{"level":"warn","msg":"m","time":"2026-01-01T00:00:00Z","n":1,"deep":{"a":[1,2,{"b":null}]}}`))
	f.Add([]byte(`{"@level":"fatal","@message":"m","@timestamp":"x","@module":"y"}`))
	f.Add([]byte("{\"msg\":\"\\u001b[2J\\n\",\"\\u0000\":\"\x7f\"}"))
	f.Add([]byte(`{"level":7,"msg":[1]}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, line []byte) {
		_, _, fields := parseLine(line)
		if len(fields) > maxFields {
			t.Errorf("found %d fields", len(fields))
		}
		for _, a := range fields {
			text := a.Key + a.Value.String()
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(a.Value.String()) > 2*maxField {
				t.Errorf("found the field %q", text)
			}
		}
	})
}
