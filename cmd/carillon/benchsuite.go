package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
)

// benchRows is what running many scenarios takes. Each starts brokers of its own.
type benchRows struct {
	Rounds   int           `default:"3" help:"How often each is run; from 3 on the median is told with the least and the most."`
	Only     []string      `help:"Only these, by name (see --list)." placeholder:"NAME"`
	List     bool          `help:"Print the names and run nothing."`
	Out      string        `short:"o" help:"Also write all figures to this file, as JSON." placeholder:"FILE"`
	MostLate time.Duration `default:"100ms" help:"A run in which more than one message in a hundred is published later than this is invalid; it is run again, twice at most."`
	Smoke    bool          `help:"Tiny sizes, to see that everything runs: the figures mean nothing."`
}

type benchSuiteCmd struct{ benchRows }

// Run implements the verb.
func (c *benchSuiteCmd) Run(ctx context.Context, s streams) error { return c.run(ctx, s, bench.Suite) }

type benchScaleCmd struct{ benchRows }

// Run implements the verb.
func (c *benchScaleCmd) Run(ctx context.Context, s streams) error { return c.run(ctx, s, bench.Scale) }

// repeats is how often a row may be late.
const repeats = 2

func (c *benchRows) run(ctx context.Context, s streams, of func(bench.Sizes) []bench.Row) error {
	rows, err := c.chosen(of)
	if err != nil {
		return err
	}
	if c.List {
		for _, row := range rows {
			fmt.Fprintf(s.out, "%-20s %s\n", row.Name, row.Title)
		}
		return nil
	}
	results := &bench.Results{Machine: bench.ThisMachine(), Began: time.Now()}
	for i, row := range rows {
		fmt.Fprintf(s.err, "%d of %d: ", i+1, len(rows))
		report, err := runSides(ctx, s, rowSides(&row), c.rounds(&row), repeats)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			fmt.Fprintln(s.err, printable(err.Error()))
		}
		results.Rows = append(results.Rows, row.Result(report, err))
	}
	results.Seconds = time.Since(results.Began).Seconds()
	if err := c.write(s, results); err != nil {
		return err
	}
	if failed := results.Failed(); len(failed) > 0 {
		return fmt.Errorf("without a valid run: %s", strings.Join(failed, ", "))
	}
	if missed := results.Missed(); len(missed) > 0 && !c.Smoke {
		return fmt.Errorf("missed: %s", strings.Join(missed, ", "))
	}
	return nil
}

// chosen are the rows that are asked for.
func (c *benchRows) chosen(of func(bench.Sizes) []bench.Row) ([]bench.Row, error) {
	if c.Rounds < 1 {
		return nil, usage("--rounds is %d, want a number from 1", c.Rounds)
	}
	sizes := bench.Full
	if c.Smoke {
		sizes = bench.Smoke
	}
	sizes.MostLate = c.MostLate
	rows := of(sizes)
	for _, name := range c.Only {
		if !slices.ContainsFunc(rows, func(r bench.Row) bool { return r.Name == name }) {
			return nil, usage("--only: there is no %q; see --list", name)
		}
	}
	return slices.DeleteFunc(rows, func(r bench.Row) bool { return len(c.Only) > 0 && !slices.Contains(c.Only, r.Name) }), nil
}

func (c *benchRows) rounds(row *bench.Row) int {
	if row.Once {
		return 1
	}
	return c.Rounds
}

func rowSides(row *bench.Row) []benchSide {
	if row.Auth {
		return authSides(row.Scenario)
	}
	return benchBaseline{}.sides(new(benchTarget), row.Floor && bench.HasFloor, row.Scenario, row.Without, row.Stalled)
}

func (c *benchRows) write(s streams, results *bench.Results) error {
	if c.Out != "" {
		b, err := json.MarshalIndent(results, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.Out, append(b, '\n'), 0o644); err != nil { //nolint:gosec // figures are no secret
			return err
		}
	}
	return results.Markdown(s.out)
}

type benchPlotCmd struct {
	Results []string `arg:"" help:"Files that suite or scale have written with --out." placeholder:"RESULTS.json"`
	Out     string   `short:"o" required:"" help:"The drawing to write, an SVG." placeholder:"FILE"`
}

// Run implements the verb.
func (c *benchPlotCmd) Run(context.Context, streams) error {
	all := new(bench.Results)
	for _, path := range c.Results {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var one bench.Results
		if err := json.Unmarshal(b, &one); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all.Machine = one.Machine
		all.Rows = append(all.Rows, one.Rows...)
	}
	f, err := os.Create(c.Out)
	if err != nil {
		return err
	}
	err = errors.Join(bench.Plot(f, all), f.Close())
	if err != nil {
		os.Remove(c.Out)
	}
	return err
}
