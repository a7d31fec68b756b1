package main

import (
	"os"
	"testing"

	"github.com/carillon-mq/carillon/plugins/plugintest"
)

func TestContract(t *testing.T) {
	kills := 0
	if os.Getenv("CARILLON_CAMPAIGN") != "" {
		kills = 1000
	}
	plugintest.Run(t, plugintest.Plugin{
		Path:    plugintest.Build(t, "."),
		Bundled: true,
		Config:  `{"dir": "{dir}/store", "keep_records": 10000000, "keep_bytes": 100000000000}`,
		Kills:   kills,
	})
}
