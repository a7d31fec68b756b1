package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/carillon-mq/carillon/plugins/plugintest"
)

func TestContract(t *testing.T) {
	kills := 0
	if os.Getenv("CARILLON_CAMPAIGN") != "" {
		kills = 1000
	}
	plugintest.Store(t, plugintest.Plugin{
		Path:    plugintest.Build(t, "."),
		Bundled: true,
		Config: func(dir string) string {
			return fmt.Sprintf(`{"dir": %q, "keep_records": 10000000, "keep_bytes": 100000000000}`, filepath.Join(dir, "store"))
		},
		Kills: kills,
	})
}
