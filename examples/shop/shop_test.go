// Package shop_test runs the shop: real php, a real broker, and the clients that its pages are.
package shop_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/require"
	"github.com/carillon-mq/carillon/protocol"
)

// levels has Carillon::level of carillon.php write each name.
func levels(t *testing.T, names []string) []string {
	t.Helper()
	php := require.Program(t, "php", "php")
	var in bytes.Buffer
	for _, n := range names {
		in.WriteString(hex.EncodeToString([]byte(n)) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), php, "-r", `require "carillon.php"; while (($line = fgets(STDIN)) !== false) echo bin2hex(Carillon::level(hex2bin(rtrim($line)))), "\n";`)
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(names) {
		t.Fatalf("%d answers for %d names: %s", len(lines), len(names), out)
	}
	for i, line := range lines {
		level, err := hex.DecodeString(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines[i] = string(level)
	}
	return lines
}

func TestPHPWritesLevelsAsTheVectorsSay(t *testing.T) {
	text, err := os.ReadFile("../../spec/vectors/escape.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Text, Hex, Level, Error string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	var names, want, called []string
	for _, v := range vectors {
		if v.Error != "" {
			continue // of reading back
		}
		if v.Hex != "" {
			b, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			v.Text = string(b)
		}
		names, want, called = append(names, v.Text), append(want, v.Level), append(called, v.Name)
	}
	if len(names) < 10 {
		t.Fatalf("only %d vectors", len(names))
	}
	for i, got := range levels(t, names) {
		if got != want[i] {
			t.Errorf("%s: %q, want %q", called[i], got, want[i])
		}
	}
}

func TestPHPWritesEveryNameAsTheBrokerReadsIt(t *testing.T) {
	parts := []string{
		"a", "Z", "9", ".", "*", ">", "%", "$", " ", "\t", "\x00", "\x7f", "\n", "é", "шар", "🔔", "\u00a0", "\u0085", "\u00ad", "\u200b", "\u2028", "\u202e", "\u3000",
		"\ufeff", "\ufffd", "\U000e0001", "\U00013430", "\U0001d173", "\xff", "\xc3", "\xe2\x80", "\xed\xa0\x80", "\xf0\x9f", "\xc0\x80", "\x80",
	}
	source := rand.New(rand.NewPCG(1, 2))
	var names []string
	for range 5000 {
		var b strings.Builder
		for range source.IntN(7) {
			b.WriteString(parts[source.IntN(len(parts))])
		}
		names = append(names, b.String())
	}
	for i, got := range levels(t, names) {
		if want := protocol.EscapeLevel(names[i]); got != want {
			t.Errorf("%q became %q, want %q", names[i], got, want)
		}
	}
}
