package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// Load is how many processes wanted to run, on average over the last minutes.
type Load struct {
	One     float64 `json:"one"`
	Five    float64 `json:"five"`
	Fifteen float64 `json:"fifteen"`
}

// Space is memory or a disk, in bytes.
type Space struct {
	Total       uint64  `json:"total"`
	Available   uint64  `json:"available"`
	UsedPercent float64 `json:"used_percent"`
}

// CPU is how busy all processors together were since the last reading.
type CPU struct {
	Count   int     `json:"count"`
	Percent float64 `json:"percent"`
}

// Network is the traffic of all interfaces but the loopback since the last reading.
type Network struct {
	ReceivedPerSecond float64 `json:"received_per_second"` // bytes
	SentPerSecond     float64 `json:"sent_per_second"`
}

// meter turns counters into rates. The zero value is one that has not read yet.
type meter struct {
	at        time.Time
	busy, all uint64 // CPU ticks
	in, out   uint64 // bytes
}

// read returns the figures by name, without those that cannot be had, and rates from the second time on.
func (m *meter) read(log *slog.Logger) map[string]any {
	figures := make(map[string]any)
	for _, f := range sources {
		if err := f(m, figures); err != nil {
			log.Debug("a figure cannot be read", "err", err)
		}
	}
	m.at = time.Now()
	return figures
}

// since is a rate per second, 0 the first time and after a counter was reset.
func (m *meter) since(now, before uint64) float64 {
	d := time.Since(m.at).Seconds()
	if m.at.IsZero() || now < before || d <= 0 {
		return 0
	}
	return round(float64(now-before) / d)
}

func round(f float64) float64 { return math.Round(f*10) / 10 }

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return round(100 * float64(part) / float64(whole))
}

func space(total, available uint64) Space {
	return Space{Total: total, Available: available, UsedPercent: percent(total-min(available, total), total)}
}

// parseLoad reads /proc/loadavg.
func parseLoad(b []byte) (l Load, err error) {
	_, err = fmt.Sscan(string(b), &l.One, &l.Five, &l.Fifteen)
	return l, err
}

// parseMemory reads /proc/meminfo.
func parseMemory(b []byte) (Space, error) {
	var total, available uint64
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), ":")
		kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "MemTotal":
			total = kib << 10
		case "MemAvailable":
			available = kib << 10
		}
	}
	if total == 0 {
		return Space{}, fmt.Errorf("no MemTotal in %d bytes of meminfo", len(b))
	}
	return space(total, available), nil
}

// parseCPU reads the ticks of all processors together from /proc/stat.
func parseCPU(b []byte) (busy, all uint64, err error) {
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("found %q, wanted the line of all processors", line)
	}
	for i, f := range fields[1:min(len(fields), 9)] { // guest time is part of user time
		ticks, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		all += ticks
		if i != 3 && i != 4 { // idle and waiting for a disk
			busy += ticks
		}
	}
	return busy, all, nil
}

// parseNetwork adds up the bytes of /proc/net/dev, without the loopback.
func parseNetwork(b []byte) (in, out uint64, err error) {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, rest, ok := strings.Cut(s.Text(), ":")
		if fields := strings.Fields(rest); ok && strings.TrimSpace(name) != "lo" && len(fields) >= 9 {
			received, err := strconv.ParseUint(fields[0], 10, 64)
			if err != nil {
				return 0, 0, err
			}
			sent, err := strconv.ParseUint(fields[8], 10, 64)
			if err != nil {
				return 0, 0, err
			}
			in, out = in+received, out+sent
		}
	}
	return in, out, nil
}
