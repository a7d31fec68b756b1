// Package built gives tests of the whole product its executable.
package built

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Run builds carillon from the working tree, leaves its path in binary, and runs the tests. It returns what TestMain exits with.
func Run(m *testing.M, binary *string) (code int) {
	dir, err := os.MkdirTemp("", "carillon-built")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*binary = filepath.Join(dir, "carillon")
	build := exec.Command("go", "build", "-o", *binary, "github.com/carillon-mq/carillon/cmd/carillon")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	return m.Run()
}

// Environ is the environment without settings of the broker.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CARILLON_") })
}

// Config is a configuration that lets in who has a token of issuer with the key `main`, whose secret it is. keys are the lines of more keys.
// What follows it begins a section of its own.
func Config(issuer, secret string, keys ...string) string {
	return `
origins: [https://app.example]
auth:
  plugin: auth-jwt
  cookie: session
  config:
    issuer: ` + issuer + `
    audience: carillon
    keys:
      - {kid: main, alg: HS256, secret: ` + secret + "}\n" + strings.Join(keys, "")
}

// PluginPID is the process of the plugin name of a broker whose admin listener is at the address admin.
func PluginPID(t testing.TB, admin, name string) int {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/v1/admin/plugins") //nolint:noctx // of a broker of this test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Plugins []struct {
			Name string
			PID  int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	for _, p := range out.Plugins {
		if p.Name == name && p.PID > 0 {
			return p.PID
		}
	}
	t.Fatalf("there is no %s: %+v", name, out)
	return 0
}
