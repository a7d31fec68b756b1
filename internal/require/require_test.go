package require_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/carillon-mq/carillon/internal/require"
)

// recorder stands in for a test and notes how it ended.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.outcome = "failed: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.outcome = "skipped: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestThat(t *testing.T) {
	tests := []struct {
		name    string
		met     bool
		require string
		want    string
	}{
		{"met", true, "php", "ran"},
		{"not met and not required", false, "", "skipped: SKIP php: not installed"},
		{"not met and another one required", false, "root,browser", "skipped: SKIP php: not installed"},
		{"not met and required", false, "root,php", "failed: php is required by CARILLON_REQUIRE: not installed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(require.EnvVar, tt.require)
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				require.That(r, "php", tt.met, "not installed")
				r.outcome = "ran"
			}()
			<-done
			if r.outcome != tt.want {
				t.Errorf("outcome is %q, want %q", r.outcome, tt.want)
			}
		})
	}
}

func TestProgramFindsTheFirstThatIsInstalled(t *testing.T) {
	if path := require.Program(t, "go", "no-such-program", "go"); path == "" {
		t.Error("no path for go")
	}
}
