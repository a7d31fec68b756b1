package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
	"github.com/carillon-mq/carillon/protocol"
	contracts "github.com/carillon-mq/carillon/spec"
)

// TestTheLimitsOfTheSpecAreTheDefaults holds the table of limits of spec/protocol.md against what `carillon serve` runs with.
func TestTheLimitsOfTheSpecAreTheDefaults(t *testing.T) {
	found := map[string]string{}
	_, table, _ := strings.Cut(contracts.Protocol, "| limit | default | beyond it |\n|---|---|---|\n")
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			break
		}
		found[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[2])
	}
	l := brokerOptions(config.Default(), slog.Default(), slog.LevelInfo).Limits
	want := map[string]string{
		"headers": fmt.Sprintf("%d pairs, %s bytes", protocol.MaxHeaders, thousands(min(l.Headers, protocol.MaxHeaderBytes))),
		"content type / message id / token / client": fmt.Sprintf("%d / %d / %s / %d bytes",
			protocol.MaxContentType, protocol.MaxMessageID, thousands(protocol.MaxTokenBytes), protocol.MaxClientBytes),
		"topic or filter":                   fmt.Sprintf("%d bytes, %d levels", protocol.MaxTopicBytes, protocol.MaxLevels),
		"origin, compression / `ttl`":       fmt.Sprintf("%d bytes / 10^%d ms", protocol.MaxOrigin, len(fmt.Sprint(protocol.MaxTTL))-1),
		"subscriptions of one `Subscribes`": thousands(protocol.MaxArray),
		"users that a `Presences` names":    thousands(protocol.MaxUsers),
		"`last` of a subscription / `limit` and `last` of history / `max_rate`": fmt.Sprintf("%[1]s / %[1]s / %[2]s a second",
			thousands(protocol.MaxLast), thousands(protocol.MaxRate)),
		"depth / array / map / options": fmt.Sprintf("%d / %s / %d / %d", protocol.MaxDepth, thousands(protocol.MaxArray), protocol.MaxMap, protocol.MaxOptions),

		"payload": fmt.Sprintf("%d KiB", l.Payload>>10),
		"WebSocket message": fmt.Sprintf("%d KiB: a payload and %d KiB; %d KiB before `Connected`",
			l.Packet>>10, (l.Packet-l.Payload)>>10, broker.ConnectBytes>>10),
		"subscriptions of a session":  fmt.Sprint(l.Subscriptions),
		"publishes of a session":      fmt.Sprintf("%d a second, %d at once", l.PublishRate, l.PublishBurst),
		"payload bytes of a session":  fmt.Sprintf("%d KiB a second", l.PublishBytes>>10),
		"pings from a client":         fmt.Sprintf("%d a second, %d at once", l.PingRate, 2*l.PingRate),
		"`Connect` after the upgrade": fmt.Sprintf("%.0f s", l.ConnectTimeout.Seconds()),
		"subscribes, unsubscribes, histories, refreshes and presences of a session": fmt.Sprintf("%d a second, %d at once", l.SubscribeRate, l.SubscribeBurst),
		"publishes not yet acknowledged and histories not yet answered":             fmt.Sprint(l.Inflight),
		"message ids that are remembered ([PUB-7])":                                 thousands(l.MessageIDs),
		"sessions of a user / of an address":                                        fmt.Sprintf("%d / %d", l.SessionsOfUser, l.SessionsOfAddr),
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("spec/protocol.md differs (-runs +written):\n%s", diff)
	}
}

// thousands is n as the spec writes it, with a comma between them.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
