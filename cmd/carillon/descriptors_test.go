package main

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

func TestSessionsTakeMostOfTheFilesAtMost(t *testing.T) {
	for _, tt := range []struct {
		name       string
		configured config.Count
		files      int64
		want       int
		said       string
	}{
		{"enough", 100_000, 1 << 20, 100_000, ""},
		{"just enough", 800, 1000, 800, ""},
		{"too few", 801, 1000, 800, `limits.sessions is 801, and this process may have 1000 files open`},
		{"no limit of sessions", config.Unlimited, 1000, 800, `limits.sessions is unlimited`},
		{"no limit of files", 100_000, math.MaxInt64, 100_000, ""},
		{"no limit at all", config.Unlimited, math.MaxInt64, config.Unlimited, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			got := boundSessions(tt.configured, tt.files, slog.New(slog.NewTextHandler(&log, nil)))
			if got != tt.want || !strings.Contains(log.String(), tt.said) || (log.Len() == 0) != (tt.said == "") {
				t.Errorf("found %d and the log %q, wanted %d and %q", got, log.String(), tt.want, tt.said)
			}
		})
	}
}
