package plugintest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// logStore is a store of the simplest kind: a file with a line of JSON for each record, read whole at the start, and one lock. It has no
// optional power. Its fault, if it has one, is a row of testdata/faults.md.
type logStore struct {
	fault string
	file  *os.File
	other *os.File // of syncs-another-file
	term  protocol.RunID
	// opened is the highest offset at the start.
	opened uint64

	mu      sync.Mutex
	records []broker.Record
	known   map[string]uint64 // offsets by origin and ref
	order   []string          // of known
	more    chan struct{}     // closed, and replaced, when there are more records
	last    uint64
	held    [][]byte
}

func openLogStore(dir, fault string) (*logStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if fault == "replaced-without-sync" {
		if file, err = replaced(file); err != nil {
			return nil, err
		}
	}
	s := &logStore{fault: fault, file: file, term: protocol.NewRunID(), known: map[string]uint64{}, more: make(chan struct{})}
	if err := s.read(); err != nil {
		return nil, err
	}
	s.opened = s.last
	if fault == "syncs-another-file" {
		if s.other, err = os.Create(filepath.Join(dir, "term")); err != nil {
			return nil, err
		}
	}
	if fault == "term-kept" {
		s.term = protocol.RunID{1}
	}
	return s, nil
}

// replaced is a copy of file under its name, which begins anew without what is of no use any more. It is not synced.
func replaced(file *os.File) (*os.File, error) {
	fresh, err := os.OpenFile(file.Name()+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(struct{ io.Writer }{fresh}, file); err != nil {
		return nil, err
	}
	if _, err := fresh.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return fresh, errors.Join(os.Rename(fresh.Name(), file.Name()), file.Close())
}

// read takes the lines up to the first that is not whole: that and what is behind it are of batches that were not acknowledged.
func (s *logStore) read() error {
	r, whole := bufio.NewReader(s.file), int64(0)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var record broker.Record
		if err := json.Unmarshal(line, &record); err != nil {
			if s.fault == "broken-line-ends-it" {
				return err
			}
			break
		}
		switch s.fault {
		case "garbled-at-restart":
			record.Payload = bytes.ToValidUTF8(record.Payload, []byte("\uFFFD"))
		case "fields-dropped-at-restart":
			record.Headers, record.User = nil, ""
		}
		whole += int64(len(line))
		s.records, s.last = append(s.records, record), record.Offset
		if s.fault != "repeats-after-restart" {
			s.remember(record)
		}
	}
	if s.fault == "offsets-again" {
		s.last = 0
	}
	if err := s.file.Truncate(whole); err != nil {
		return err
	}
	_, err := s.file.Seek(whole, io.SeekStart)
	return err
}

func (s *logStore) name(r *broker.Record) string {
	if s.fault == "origin-ignored" {
		return strconv.FormatUint(r.Ref, 10)
	}
	return string(r.Origin[:]) + strconv.FormatUint(r.Ref, 10)
}

func (s *logStore) remember(r broker.Record) {
	name := s.name(&r)
	s.known[name] = r.Offset
	if s.order = append(s.order, name); s.fault == "short-memory" && len(s.order) > 1000 {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
}

// Append implements broker.Store.
func (s *logStore) Append(batch []broker.Record, done func([]broker.AppendResult, error)) {
	s.mu.Lock()
	results, err := s.appendLocked(batch)
	s.mu.Unlock()
	if err != nil {
		done(nil, err)
		os.Exit(1)
	}
	done(results, nil)
}

func (s *logStore) appendLocked(batch []broker.Record) ([]broker.AppendResult, error) {
	var lines []byte
	var fresh []broker.Record
	results := make([]broker.AppendResult, len(batch))
	for i, r := range batch {
		results[i].Ref = r.Ref
		if at, ok := s.known[s.name(&r)]; ok {
			results[i].Offset, results[i].Duplicate = at, true
			continue
		}
		s.last++
		r.Offset = s.last
		r.Payload = slices.Clone(r.Payload)
		results[i].Offset = r.Offset
		line, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, line...), '\n')
		fresh = append(fresh, r)
		s.remember(r)
	}
	s.held = append(s.held, lines)
	if s.fault != "ack-before-commit" || len(s.held) == 10 {
		if err := s.commitLocked(); err != nil {
			return nil, err
		}
	}
	s.records = append(s.records, fresh...)
	close(s.more)
	s.more = make(chan struct{})
	return results, nil
}

func (s *logStore) commitLocked() error {
	if s.fault == "syncs-before-it-writes" {
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	for _, lines := range s.held {
		if _, err := s.file.Write(lines); err != nil {
			return err
		}
	}
	s.held = nil
	switch s.fault {
	case "no-sync", "syncs-before-it-writes":
		return nil
	case "syncs-another-file":
		return s.other.Sync()
	}
	if err := s.file.Sync(); err != nil && s.fault != "failed-sync-ignored" {
		return err
	}
	return nil
}

// LoadRetained implements broker.Store.
func (s *logStore) LoadRetained(_ context.Context, page func([]broker.Record) error) (uint64, error) {
	s.mu.Lock()
	records, head := slices.Clip(s.records), s.last
	s.mu.Unlock()
	retained := map[string]broker.Record{}
	for _, r := range records {
		switch {
		case !r.Retain:
		case len(r.Payload) > 0:
			retained[r.Topic] = r
		case s.fault != "cleared-comes-back" || r.Offset > s.opened:
			delete(retained, r.Topic)
		}
	}
	var next []broker.Record
	size := 0
	for _, r := range retained {
		if len(next) == 256 || len(next) > 0 && size+len(r.Payload) > 1<<20-64<<10 {
			if err := page(next); err != nil {
				return 0, err
			}
			next, size = nil, 0
		}
		next, size = append(next, r), size+len(r.Payload)
	}
	if len(next) == 0 {
		return head, nil
	}
	return head, page(next)
}

// Follow implements broker.Store.
func (s *logStore) Follow(ctx context.Context, from broker.FollowFrom, on func(broker.Feed) error) error {
	at, caughtUp := from.After, false
	for {
		s.mu.Lock()
		i, _ := slices.BinarySearchFunc(s.records, at, func(r broker.Record, at uint64) int {
			if r.Offset <= at {
				return -1
			}
			return 1
		})
		next, head, more := s.records[i:len(s.records):len(s.records)], s.last, s.more
		s.mu.Unlock()
		for len(next) > 0 {
			n, size := 0, 0
			for ; n < len(next) && n < 1000 && (n == 0 || size+len(next[n].Payload) < 900<<10); n++ {
				size += len(next[n].Payload) + 200
			}
			if err := s.tell(on, broker.Feed{Records: next[:n]}); err != nil {
				return err
			}
			at, next = next[n-1].Offset, next[n:]
		}
		if !caughtUp && (s.fault != "caught-up-never" || at > 0) {
			caughtUp = true
			if err := s.tell(on, broker.Feed{CaughtUp: true, Term: s.term, Head: max(head, at)}); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *logStore) tell(on func(broker.Feed) error, f broker.Feed) error {
	if s.fault == "slow-follower-blocks" {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	return on(f)
}

// Close implements kit.Store.
func (s *logStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.commitLocked(), s.file.Close())
}
