package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// runOn runs a broker on the log that is in dir, publishes once and drains it.
func runOn(t *testing.T, dir string, log *slog.Logger) (*broker.Broker, *logFile) {
	t.Helper()
	var opt broker.Options
	last := openLog(dir, log)
	last.into(&opt)
	b, err := broker.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := last.spend(); err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Close)
	if _, err := b.Publish(t.Context(), broker.Everybody(), broker.PublishRequest{Topic: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, last
}

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestTheLogOfTheRunBeforeIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	first, l := runOn(t, dir, log)
	if err := l.save(t.Context(), first.WriteLog); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != "log log.owner" {
		t.Fatalf("found %q in the folder, wanted the log and its owner", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "log")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("found %v, %v, wanted a file that nobody else reads", info.Mode(), err)
	}
	second, _ := runOn(t, dir, log)
	if second.Epoch() != first.Epoch() || second.Position().Seq != 2 {
		t.Errorf("found position %+v, wanted that of the run before and one more", second.Position())
	}
	if got := files(t, dir); got != "log.owner" { // it was not saved
		t.Fatalf("found %q in the folder, wanted no log", got)
	}
	if third, _ := runOn(t, dir, log); third.Epoch() == first.Epoch() || third.Position().Seq != 1 {
		t.Errorf("found position %+v, wanted a new epoch", third.Position())
	}
}

func TestALogThatIsNotWrittenWholeIsNotThere(t *testing.T) {
	full := errors.New("no space left on device")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the time is over"))
	for name, test := range map[string]struct {
		ctx   context.Context
		write func(io.Writer) error
		want  string
	}{
		"it fails":          {t.Context(), func(w io.Writer) error { _, _ = w.Write([]byte("carillon")); return full }, "no space left on device"},
		"the time is over":  {ended, func(w io.Writer) error { _, err := w.Write([]byte("carillon")); return err }, "the time is over"},
		"it is not drained": {t.Context(), func(io.Writer) error { return errors.New("not drained") }, "not drained"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openLog(dir, slog.New(slog.DiscardHandler))
			if err := l.spend(); err != nil {
				t.Fatal(err)
			}
			if err := l.save(test.ctx, test.write); err == nil || err.Error() != test.want {
				t.Errorf("found %v, wanted %s", err, test.want)
			}
			if got := files(t, dir); got != "log.owner" {
				t.Errorf("found %q in the folder, wanted no log", got)
			}
		})
	}
}

func TestWhatIsNoLogIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	if last := openLog(dir, log); last.found != nil || said.Len() > 0 {
		t.Errorf("found %v, %q in an empty folder", last.found, said.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "log.tmp"), []byte("carill"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	last := openLog(dir, log)
	if last.found != nil || !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), "it is not a file") {
		t.Errorf("found %v, %q, wanted a folder refused", last.found, said.String())
	}
	if err := last.spend(); err != nil {
		t.Error(err)
	}
	if got := files(t, dir); got != "log log.owner" {
		t.Errorf("found %q, wanted the folder left and what was half written gone", got)
	}
}

func TestAStartThatFailsKeepsTheLog(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	first, l := runOn(t, dir, log)
	if err := l.save(t.Context(), first.WriteLog); err != nil {
		t.Fatal(err)
	}
	last := openLog(dir, log)
	var opt broker.Options
	last.into(&opt)
	b, err := broker.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	last.release()
	if next, _ := runOn(t, dir, log); next.Epoch() != first.Epoch() || next.Position().Seq != 2 {
		t.Errorf("found position %+v, wanted that of the run before and one more", next.Position())
	}
}

// A new broker has begun before the old one was through with its drain.
func TestALogIsNotLeftBehindTheBackOfTheNextRun(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	first, old := runOn(t, dir, log)
	next := openLog(dir, log)
	if err := old.save(t.Context(), first.WriteLog); err != nil { // while the next one starts
		t.Fatal(err)
	}
	if err := next.spend(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != "log.owner" {
		t.Errorf("found %q in the folder, wanted no log", got)
	}
	if err := old.save(t.Context(), first.WriteLog); err == nil || !strings.Contains(err.Error(), "another broker has begun") {
		t.Errorf("found %v, wanted the folder in other hands", err)
	}
	late := openLog(dir, log)
	if err := next.save(t.Context(), func(io.Writer) error { return late.spend() }); err == nil { // while it writes
		t.Error("found a log saved")
	}
	if got := files(t, dir); got != "log.owner" {
		t.Errorf("found %q in the folder, wanted no log", got)
	}
}
