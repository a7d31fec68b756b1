package conformance

import (
	"os"
	"testing"

	"github.com/carillon-mq/carillon/internal/built"
)

var carillon string // the executable

func TestMain(m *testing.M) { os.Exit(built.Run(m, &carillon)) }

func TestTheBrokerConforms(t *testing.T) {
	own, err := StartOwn(t.Context(), carillon, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Stop()
	scripts, err := Sessions(os.Getenv("RUN"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Play(t.Context(), &own.Server, scripts, nil) {
		t.Run(r.Script.ID(), func(t *testing.T) {
			if r.Outcome != Passed {
				r.Text(t.Output())
				t.Error(r.Outcome)
			}
		})
	}
}
