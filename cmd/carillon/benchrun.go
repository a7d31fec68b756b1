package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/bench"
)

// benchTarget is what every bench takes.
type benchTarget struct {
	Server string `env:"CARILLON_SERVER" help:"Measure the broker at this address (ws://HOST:PORT/ws) and not one started for the purpose." placeholder:"URL"`
	Token  string `env:"CARILLON_TOKEN" help:"Token for that broker." placeholder:"TOKEN"`
	Rounds int    `default:"1" help:"How often it is run; from 3 on the median is told with the least and the most."`
	JSON   bool   `help:"Print the result as one JSON object."`
	trustFlags
}

// benchBaseline is for the benches that the floor can run, too.
type benchBaseline struct {
	Baseline bool `help:"Run a bare server, built like the broker and without what makes it one, in turns with it, and tell the ratio. Linux only."`
}

// benchSide is one of what is compared.
type benchSide struct {
	name     string
	scenario bench.Scenario
	dialect  bench.Dialect
	start    func(context.Context, streams) (bench.Server, func(), error)
	// derive puts figures into those of the first side that say how it differs from this one's.
	derive func(first, this bench.Figures)
}

// only is the broker alone.
func (b *benchTarget) only(scenario bench.Scenario) []benchSide {
	return []benchSide{{name: "carillon", scenario: scenario, dialect: bench.Carillon{Token: b.Token}, start: b.start}}
}

// sides are the broker, the broker without the stalled subscribers if there are some, and the floor if that is wanted. without is what those two run; nil is the same.
func (benchBaseline) sides(b *benchTarget, baseline bool, scenario, without bench.Scenario, stalled int) []benchSide {
	all := b.only(scenario)
	if stalled > 0 {
		all[0].name = fmt.Sprintf("%d stalled", stalled)
		other := benchSide{name: "none stalled", scenario: without, dialect: all[0].dialect, start: b.start}
		other.derive = func(first, this bench.Figures) { first.Stalled(this, stalled) }
		all = append(all, other)
	}
	if baseline {
		if without == nil {
			without = scenario
		}
		all = append(all, benchSide{name: "floor", scenario: without, dialect: bench.Floor{}, start: startFloor})
	}
	return all
}

// start is the broker at --server, or one of its own.
func (b *benchTarget) start(ctx context.Context, s streams) (bench.Server, func(), error) {
	if b.Server == "" {
		return startOwnBroker(ctx, s)
	}
	trusted, err := b.config()
	return bench.Server{URL: b.Server, TLS: trusted}, func() {}, err
}

// measure runs all sides in turns and prints what they have shown.
func (b *benchTarget) measure(ctx context.Context, s streams, sides []benchSide) error {
	if b.Rounds < 1 {
		return usage("--rounds is %d, want a number from 1", b.Rounds)
	}
	report, err := runSides(ctx, s, sides, b.Rounds, 0)
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(s.out).Encode(report)
	}
	return report.Print(s.out)
}

// runSides runs all sides so many times, in turns, each time against a server that has just been started unless it is another's. A run whose load
// was not made is repeated, so many times in all.
func runSides(ctx context.Context, s streams, sides []benchSide, rounds, repeats int) (*bench.Report, error) {
	r := &bench.Report{Scenario: sides[0].scenario.Name(), What: sides[0].scenario.String(), Options: sides[0].scenario}
	fmt.Fprintf(s.err, "%s: %s\n", r.Scenario, r.What)
	for round := range rounds {
		var first bench.Figures
		for i, side := range sides {
			if rounds > 1 || len(sides) > 1 {
				fmt.Fprintf(s.err, "round %d of %d, %s …\n", round+1, rounds, side.name)
			}
			f, err := side.run(ctx, s)
			for ; errors.Is(err, bench.ErrLate) && repeats > 0; repeats-- {
				fmt.Fprintf(s.err, "again: %v\n", err)
				f, err = side.run(ctx, s)
			}
			if err != nil {
				return nil, err
			}
			if i == 0 {
				first = f
			} else if side.derive != nil {
				side.derive(first, f)
			}
			r.Add(side.name, f)
		}
	}
	r.Done()
	return r, nil
}

func (b benchSide) run(ctx context.Context, s streams) (bench.Figures, error) {
	server, stop, err := b.start(ctx, s)
	if err != nil {
		return nil, err
	}
	defer stop()
	return b.scenario.Run(ctx, server, b.dialect)
}
