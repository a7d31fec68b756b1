package keyspace

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/carillon-mq/carillon/broker"
)

const (
	pageBytes = 1 << 20
	// maxDirty is how many keys may have changed that a watcher was not told of.
	maxDirty = 1 << 16
)

var (
	// errBehind ends the feed of a watcher that does not keep up.
	errBehind = errors.New("more keys have changed than are kept for who watches them")
	errEnded  = errors.New("the store has ended")
)

// Get is the entry of key.
func Get(tx *bolt.Tx, key string) (broker.KeyEntry, error) {
	b, err := open(tx)
	if err != nil {
		return broker.KeyEntry{}, err
	}
	return unsealEntry([]byte(key), b.keys.Get([]byte(key)))
}

// List is one page.
func List(tx *bolt.Tx, q broker.KeyQuery) (page broker.KeyPage, err error) {
	b, err := open(tx)
	if err != nil {
		return page, err
	}
	if q.Limit == 0 {
		q.Limit = broker.MaxKeyPage
	}
	cursor := b.keys.Cursor()
	k, v := cursor.Seek([]byte(max(q.Prefix, q.After)))
	if q.After != "" && string(k) == q.After {
		k, v = cursor.Next()
	}
	size := 0
	for ; k != nil && bytes.HasPrefix(k, []byte(q.Prefix)); k, v = cursor.Next() {
		size += len(k) + len(v)
		if n := len(page.Entries); n == q.Limit || n > 0 && size > pageBytes {
			return page, nil
		}
		e, err := unsealEntry(k, v)
		if err != nil {
			return page, err
		}
		page.Entries = append(page.Entries, e)
	}
	page.Done = true
	return page, nil
}

// watcher is one call of Watch. Space.mu guards it.
type watcher struct {
	prefix string
	dirty  map[string]touch // that it was not told of
	behind bool
	wake   chan struct{}
}

func (w *watcher) note(touched map[string]touch) {
	for key, t := range touched {
		if !w.behind && strings.HasPrefix(key, w.prefix) {
			w.dirty[key] = t
		}
	}
	if w.behind = w.behind || len(w.dirty) > maxDirty; w.behind {
		w.dirty = nil
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// View calls a function in a read transaction.
type View func(func(*bolt.Tx) error) error

// Watch is broker.KeyspaceStore's WatchKeys. It reads by view, which fails when the store has ended, as ended tells.
func (s *Space) Watch(ctx context.Context, ended <-chan struct{}, prefix string, view View, on func(broker.KeyFeed) error) error {
	w := &watcher{prefix: prefix, dirty: map[string]touch{}, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}()
	if err := present(ctx, prefix, view, on); err != nil {
		return err
	}
	for {
		entries, err := s.changes(w, view)
		if err == nil && len(entries) > 0 {
			err = on(broker.KeyFeed{Entries: entries})
		}
		if err != nil {
			return err
		}
		select {
		case <-w.wake:
		case <-ended:
			return view(func(*bolt.Tx) error { return errEnded })
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// present brings every entry that is there.
func present(ctx context.Context, prefix string, view View, on func(broker.KeyFeed) error) error {
	q := broker.KeyQuery{Prefix: prefix}
	for {
		var page broker.KeyPage
		err := view(func(tx *bolt.Tx) error {
			var err error
			page, err = List(tx, q)
			return err
		})
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = on(broker.KeyFeed{Entries: page.Entries, CaughtUp: page.Done})
		}
		if err != nil || page.Done {
			return err
		}
		q.After = page.Entries[len(page.Entries)-1].Key
	}
}

// changes takes what w has not been told of, in order of revisions. What has changed once more since is left for the next time.
func (s *Space) changes(w *watcher, view View) (entries []broker.KeyEntry, err error) {
	s.mu.Lock()
	dirty, behind := w.dirty, w.behind
	w.dirty = map[string]touch{}
	s.mu.Unlock()
	if behind {
		return nil, errBehind
	}
	if len(dirty) == 0 {
		return nil, nil
	}
	err = view(func(tx *bolt.Tx) error {
		for key, t := range dirty {
			e, err := Get(tx, key)
			if err != nil {
				return err
			}
			switch {
			case e.Revision == t.revision && !t.deleted:
				entries = append(entries, e)
			case e.Revision == 0 && t.deleted:
				entries = append(entries, broker.KeyEntry{Key: key, Revision: t.revision, Deleted: true})
			}
		}
		return nil
	})
	slices.SortFunc(entries, func(a, b broker.KeyEntry) int { return cmp.Compare(a.Revision, b.Revision) })
	return entries, err
}
