package host

import (
	"context"
	"log/slog"
	"os"
	"runtime"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
)

// environment is what plugins get beside go-plugin's own variables: the level to log at, a fixed PATH, and of the host's
// environment no more than what is named here and in Options.PassEnv.
func (h *Host) environment() []string {
	level := "info"
	if h.opt.Logger.Enabled(context.Background(), slog.LevelDebug) {
		level = "debug"
	}
	env := []string{wire.LogKey + "=" + level}
	names := []string{"HOME", "TMPDIR", "TZ", "LANG", "LC_ALL"}
	if runtime.GOOS == "windows" {
		names = []string{"PATH", "SYSTEMROOT", "TEMP", "TMP"}
	} else {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	for _, name := range append(names, h.opt.PassEnv...) {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}
