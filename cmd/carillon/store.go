package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

// storeCmd is `carillon store`: what can be done with the bundled store's file while no broker uses it.
type storeCmd struct {
	Info    storeInfoCmd    `cmd:"" help:"Print what the store's file holds. The broker has to be stopped."`
	Backup  storeBackupCmd  `cmd:"" help:"Copy the store to a new file. The broker has to be stopped."`
	Compact storeCompactCmd `cmd:"" help:"Give free space in the store's file back to the disk. The broker has to be stopped."`
	Check   storeCheckCmd   `cmd:"" help:"Look at every page and every record of the store. The broker has to be stopped."`
}

// storeFlags say which store.
type storeFlags struct {
	Config  string  `short:"c" help:"Configuration file." env:"CARILLON_CONFIG" placeholder:"FILE"`
	DataDir *string `help:"Folder for everything that is kept." placeholder:"DIR"`
}

// dir is the folder of the store's file.
func (f *storeFlags) dir(s streams) (string, error) {
	c, err := (&settings{Config: f.Config, DataDir: f.DataDir}).mustLoad(s, nil)
	if err != nil {
		return "", err
	}
	if c.Store.Path != "" {
		return "", usage("the configuration names a store of another maker, %s; these verbs are for the bundled one", c.Store.Path)
	}
	raw, err := storeConfig(c)
	if err != nil {
		return "", err
	}
	parsed, err := storebolt.ParseConfig(raw)
	return parsed.Dir, err
}

// inUse tells who finds the file locked what to do.
func inUse(err error) error {
	if errors.Is(err, storebolt.ErrInUse) {
		return fmt.Errorf("%w; stop it first: a running broker cannot be asked for this yet", err)
	}
	return err
}

// storeInfoCmd is `carillon store info`.
type storeInfoCmd struct {
	storeFlags
	JSON bool `name:"json" help:"Print a JSON object."`
}

// Run prints the figures.
func (c *storeInfoCmd) Run(s streams) error {
	dir, err := c.dir(s)
	if err != nil {
		return err
	}
	facts, err := storebolt.Inspect(dir)
	if err != nil {
		return inUse(err)
	}
	return printFacts(s, facts, c.JSON)
}

func printFacts(s streams, f *storebolt.Facts, asJSON bool) error {
	if f.Warning != "" {
		fmt.Fprintln(s.err, "carillon: a head page is damaged; if that was no interrupted write, the last commit is gone:", printable(f.Warning))
	}
	fields := []struct {
		name  string
		value any
	}{
		{"path", f.Path},
		{"format", f.Format},
		{"file_bytes", f.FileBytes},
		{"free_bytes", f.FreeBytes},
		{"head", f.Head},
		{"oldest", f.Oldest},
		{"floor", f.Floor},
		{"records", f.Records},
		{"record_bytes", f.RecordBytes},
		{"history_topics", f.HistoryTopics},
		{"history_records", f.HistoryRecords},
		{"history_bytes", f.HistoryBytes},
		{"retained_topics", f.RetainedTopics},
		{"retained_bytes", f.RetainedBytes},
		{"keys", f.Keys},
		{"terms", f.Terms},
	}
	if asJSON {
		object := make(map[string]any)
		for _, field := range fields {
			object[field.name] = field.value
		}
		return json.NewEncoder(s.out).Encode(object)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, field := range fields {
		fmt.Fprintf(w, "%s\t%v\n", field.name, field.value)
	}
	if n := len(f.TermList); n > 0 {
		last := f.TermList[n-1]
		fmt.Fprintf(w, "last term\t%s, from offset %d, begun %s\n", last.ID, last.First, last.Started.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

// storeBackupCmd is `carillon store backup`.
type storeBackupCmd struct {
	storeFlags
	To string `arg:"" help:"The new file. Put it into an empty folder as store.db to use it."`
}

// Run copies the file and verifies the copy.
func (c *storeBackupCmd) Run(s streams) error {
	dir, err := c.dir(s)
	if err != nil {
		return err
	}
	to, err := filepath.Abs(c.To)
	if err != nil {
		return err
	}
	size, err := storebolt.BackupFile(dir, to)
	if err != nil {
		return inUse(err)
	}
	fmt.Fprintf(s.err, "carillon: %d bytes in %s\n", size, printable(to))
	return nil
}

// storeCompactCmd is `carillon store compact`.
type storeCompactCmd struct{ storeFlags }

// Run writes the file anew.
func (c *storeCompactCmd) Run(s streams) error {
	dir, err := c.dir(s)
	if err != nil {
		return err
	}
	before, after, err := storebolt.Compact(dir)
	if err != nil {
		return inUse(err)
	}
	fmt.Fprintf(s.err, "carillon: the store had %d bytes and has %d\n", before, after)
	return nil
}

// storeCheckCmd is `carillon store check`.
type storeCheckCmd struct{ storeFlags }

// Run prints a line for each problem, and fails if there is one.
func (c *storeCheckCmd) Run(s streams) error {
	dir, err := c.dir(s)
	if err != nil {
		return err
	}
	facts, problems, err := storebolt.Check(dir)
	if err != nil {
		return inUse(err)
	}
	for _, p := range problems {
		fmt.Fprintln(s.out, printable(p))
	}
	if facts.Warning != "" {
		fmt.Fprintln(s.out, "head page:", printable(facts.Warning))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems in %s; what they name can't be read: restore a backup if it is needed", len(problems), facts.Path)
	}
	fmt.Fprintf(s.err, "carillon: %d records and %d retained ones are in order\n", facts.Records, facts.RetainedTopics)
	return nil
}
