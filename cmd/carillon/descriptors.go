package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

// sessionLimit is how many sessions there may be: what is configured, and never more than 80 % of the files that may be open. The rest is for
// connections that are no sessions yet, the store, the plugins and whoever asks for the metrics to see what is going on.
func sessionLimit(configured config.Count, files int64) int {
	if files == math.MaxInt64 {
		return int(configured)
	}
	room := files / 5 * 4
	if configured == config.Unlimited || int64(configured) > room {
		return int(room)
	}
	return int(configured)
}

// boundSessions is the limit of sessions in force, and tells when that is less than what is configured.
func boundSessions(configured config.Count, files int64, log *slog.Logger) int {
	limit := sessionLimit(configured, files)
	if int(configured) != limit {
		said := strconv.FormatInt(int64(configured), 10)
		if configured == config.Unlimited {
			said = "unlimited"
		}
		level := slog.LevelWarn
		if configured == config.Default().Limits.Sessions {
			level = slog.LevelInfo // nobody has asked for so many
		}
		log.Log(context.Background(), level, "fewer sessions than configured: too few files may be open", "count", limit,
			"reason", fmt.Sprintf("limits.sessions is %s, and this process may have %d files open, of which sessions take 80 %% at most", said, files),
			"hint", "raise the limit of open files (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile of Docker), or lower limits.sessions")
	}
	return limit
}
