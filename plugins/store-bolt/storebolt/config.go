package storebolt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config says where a Store keeps its file and how large things may get. 0 means the default.
type Config struct {
	// Dir is the folder of store.db. It is made if it is missing; the folder above it has to exist.
	Dir string

	MaxRetainedTopics int   // 1,000,000
	MaxRetainedBytes  int64 // 512 MiB, each record charged with its topic, its content and 64 bytes
	MaxFileBytes      int64 // four times MaxRetainedBytes and KeepBytes, and 1 GiB: a commit that needs a larger file is refused

	// The log keeps at least the newest KeepRecords records, or the newest KeepBytes bytes of them if that is less, and
	// at most a segment more (4,096 records or a sixteenth of KeepBytes).
	KeepRecords int   // 100,000
	KeepBytes   int64 // 64 MiB

	MaxHistoryTopics int // topics with a history: 1,000,000, about 150 bytes of memory each
	MaxKeys          int // keys of the last minutes: 4,000,000, about 25 bytes of memory each

	MaxKeyspaceKeys  int   // 100,000
	MaxKeyspaceBytes int64 // keys and values of the keyspace: 64 MiB

	// OnFailure is called once, from the committer, when the store has failed for good. The process should end: only a
	// new one may trust the file again.
	OnFailure func(error)

	Logger *slog.Logger // slog.Default()

	hotSegments    int           // newest segments that are not frozen: 64
	segmentRecords int           // 4,096; smaller in tests
	tick           time.Duration // how often it is looked for what has expired: 1 s
	now            func() int64  // the wall clock in Unix milliseconds, and the one that goes on by itself: nil outside tests
}

// Limits of one record and of what is gathered into one transaction.
const (
	maxRecordBytes   = 1 << 20
	maxTopicBytes    = 1024
	maxCommitBytes   = 1 << 20
	maxCommitRecords = 4096
	maxQueueBytes    = 64 << 20
)

// ConfigSchema is the JSON Schema of what ParseConfig reads.
const ConfigSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["dir"],
  "properties": {
    "dir": {"type": "string", "minLength": 1,
      "description": "Folder of the store's file. The folder above it has to exist."},
    "max_retained_topics": {"type": "integer", "minimum": 1, "default": 1000000,
      "description": "Topics with a retained message."},
    "max_retained_bytes": {"type": "integer", "minimum": 65536, "default": 536870912,
      "description": "Retained messages in all, each charged with its topic, its content and 64 bytes."},
    "max_file_bytes": {"type": "integer", "minimum": 67108864,
      "description": "Size of the file. What would make it larger is refused. Default: 1 GiB and four times max_retained_bytes and keep_bytes."},
    "keep_records": {"type": "integer", "minimum": 1, "default": 100000,
      "description": "Newest records kept in the log, from which a broker catches up."},
    "keep_bytes": {"type": "integer", "minimum": 1048576, "default": 67108864,
      "description": "The same in bytes; the smaller of the two decides."},
    "max_history_topics": {"type": "integer", "minimum": 1, "default": 1000000,
      "description": "Topics with a history."},
    "max_keys": {"type": "integer", "minimum": 1, "default": 4000000,
      "description": "Messages published with an id in the last two to three minutes; more are refused."},
    "max_keyspace_keys": {"type": "integer", "minimum": 10000, "default": 100000,
      "description": "Keys of the keyspace that brokers share."},
    "max_keyspace_bytes": {"type": "integer", "minimum": 16777216, "default": 67108864,
      "description": "Keys and values of the keyspace in all."}
  }
}`

// ParseConfig reads a JSON object as ConfigSchema describes it. A key that is unknown, or a number that is 0 or less, is an
// error that names it.
func ParseConfig(b []byte) (Config, error) {
	var c struct {
		Dir               string `json:"dir"`
		MaxRetainedTopics *int64 `json:"max_retained_topics"`
		MaxRetainedBytes  *int64 `json:"max_retained_bytes"`
		MaxFileBytes      *int64 `json:"max_file_bytes"`
		KeepRecords       *int64 `json:"keep_records"`
		KeepBytes         *int64 `json:"keep_bytes"`
		MaxHistoryTopics  *int64 `json:"max_history_topics"`
		MaxKeys           *int64 `json:"max_keys"`
		MaxKeyspaceKeys   *int64 `json:"max_keyspace_keys"`
		MaxKeyspaceBytes  *int64 `json:"max_keyspace_bytes"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("store-bolt configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("store-bolt configuration: something follows the object")
	}
	if c.Dir == "" {
		return Config{}, errors.New(`store-bolt configuration: "dir" is missing`)
	}
	out := Config{Dir: c.Dir}
	for _, n := range []struct {
		key      string
		from     *int64
		min, max int64
		to       func(int64)
	}{
		{"max_retained_topics", c.MaxRetainedTopics, 1, 1 << 30, func(n int64) { out.MaxRetainedTopics = int(n) }},
		{"max_retained_bytes", c.MaxRetainedBytes, 64 << 10, 1 << 50, func(n int64) { out.MaxRetainedBytes = n }},
		{"max_file_bytes", c.MaxFileBytes, 64 << 20, 1 << 50, func(n int64) { out.MaxFileBytes = n }},
		{"keep_records", c.KeepRecords, 1, 1 << 30, func(n int64) { out.KeepRecords = int(n) }},
		{"keep_bytes", c.KeepBytes, 1 << 20, 1 << 50, func(n int64) { out.KeepBytes = n }},
		{"max_history_topics", c.MaxHistoryTopics, 1, 1 << 30, func(n int64) { out.MaxHistoryTopics = int(n) }},
		{"max_keys", c.MaxKeys, 1, 1 << 30, func(n int64) { out.MaxKeys = int(n) }},
		{"max_keyspace_keys", c.MaxKeyspaceKeys, 10_000, 1 << 30, func(n int64) { out.MaxKeyspaceKeys = int(n) }},
		{"max_keyspace_bytes", c.MaxKeyspaceBytes, 16 << 20, 1 << 50, func(n int64) { out.MaxKeyspaceBytes = n }},
	} {
		if n.from == nil {
			continue
		}
		if *n.from < n.min || *n.from > n.max {
			return Config{}, fmt.Errorf("store-bolt configuration: %q is %d, want %d to %d", n.key, *n.from, n.min, n.max)
		}
		n.to(*n.from)
	}
	return out, nil
}

func (c Config) withDefaults() Config {
	c.MaxRetainedTopics = orDefault(c.MaxRetainedTopics, 1_000_000)
	c.MaxRetainedBytes = orDefault(c.MaxRetainedBytes, 512<<20)
	c.KeepRecords = orDefault(c.KeepRecords, 100_000)
	c.KeepBytes = orDefault(c.KeepBytes, 64<<20)
	c.MaxFileBytes = orDefault(c.MaxFileBytes, 1<<30+4*(c.MaxRetainedBytes+c.KeepBytes))
	c.MaxHistoryTopics = orDefault(c.MaxHistoryTopics, 1_000_000)
	c.MaxKeys = orDefault(c.MaxKeys, 4_000_000)
	c.MaxKeyspaceKeys = orDefault(c.MaxKeyspaceKeys, 100_000)
	c.MaxKeyspaceBytes = orDefault(c.MaxKeyspaceBytes, 64<<20)
	if c.tick == 0 {
		c.tick = time.Second
	}
	c.hotSegments = orDefault(c.hotSegments, 64)
	c.segmentRecords = orDefault(c.segmentRecords, 4096)
	if c.OnFailure == nil {
		c.OnFailure = func(error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func orDefault[T int | int64](n, byDefault T) T {
	if n == 0 {
		return byDefault
	}
	return n
}
