// Package contracts runs buf over the plugin contracts (spec/plugin): they are well-formed by buf's rules, and whatever was written
// against the first version of them, spec/plugin/v1.binpb, still fits.
package contracts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// baseline is what the contracts are compared with (docs/adr/0026).
const baseline = "spec/plugin/v1.binpb"

// buf runs it in dir and returns what it says.
func buf(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	found, err := filepath.Glob("../node_modules/@bufbuild/buf-*/bin/buf")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		const reason = "tools/node_modules has no buf for this machine (npm ci in tools, on Linux)"
		if slices.Contains(strings.Split(os.Getenv("CARILLON_REQUIRE"), ","), "node") {
			t.Fatal(reason)
		}
		t.Skip("SKIP node: " + reason)
	}
	program, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTheContractsAreWellFormed(t *testing.T) {
	if said, err := buf(t, root, "lint"); err != nil {
		t.Errorf("buf lint: %v\n%s", err, said)
	}
}

func TestTheContractsBreakNothing(t *testing.T) {
	if said, err := buf(t, root, "breaking", "--against", baseline); err != nil {
		t.Errorf("buf breaking: %v\n%s", err, said)
	}
}

// Both find what they are for.
func TestWhatBreaksAContractIsFound(t *testing.T) {
	for _, c := range []struct {
		name, file, from, to, rule string
		args                       []string
	}{
		{"a field is taken away", "auth/v1/auth.proto", "  string transport = 2;", "", `"transport" on message "AuthenticateRequest" was deleted`, []string{"breaking"}},
		{"a field gets another number", "store/v1/store.proto", "uint64 ref = 3;", "uint64 ref = 33;", "deleted", []string{"breaking"}},
		{"a field gets another type", "auth/v1/auth.proto", "bool never_expires = 6;", "int64 never_expires = 6;", "changed type", []string{"breaking"}},
		{"a call is taken away", "store/v1/store.proto", "  rpc ListTerms(ListTermsRequest) returns (ListTermsResponse);", "", "ListTerms", []string{"breaking"}},
		{"an enum's zero has no good name", "auth/v1/auth.proto", "ACTION_UNSPECIFIED = 0;", "ACTION_NONE = 0;", "suffixed", []string{"lint"}},
		{"a field is no snake case", "common/v1/common.proto", "string hint = 3;", "string Hint = 3;", "lower_snake_case", []string{"lint"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "spec/plugin"), os.DirFS(root+"/spec/plugin")); err != nil {
				t.Fatal(err)
			}
			config, err := os.ReadFile(root + "/buf.yaml")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "spec/plugin", c.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte(c.from)) {
				t.Fatalf("%s has no %q", c.file, c.from)
			}
			for name, content := range map[string][]byte{
				path:                           bytes.Replace(text, []byte(c.from), []byte(c.to), 1),
				filepath.Join(dir, "buf.yaml"): config,
			} {
				if err := os.WriteFile(name, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.args[0] == "breaking" {
				c.args = append(c.args, "--against", baseline)
			}
			if said, err := buf(t, dir, c.args...); err == nil || !strings.Contains(said, c.rule) {
				t.Errorf("buf %s: %v, expected a word about %q:\n%s", c.args, err, c.rule, said)
			}
		})
	}
}
