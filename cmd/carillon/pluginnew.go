package main

import (
	"fmt"
	"strings"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/scaffold"
)

// pluginNewCmd is `carillon plugin new`.
type pluginNewCmd struct {
	Kind     string `arg:"" enum:"auth,store" help:"What it is to be: auth or store." placeholder:"auth|store"`
	Name     string `arg:"" help:"Its name, of a-z, 0-9 and \"-\"."`
	Lang     string `required:"" enum:"go,node,python" help:"The language: ${enum}." placeholder:"LANG"`
	Dir      string `help:"Folder of the project; its name unless told." placeholder:"DIR"`
	Carillon string `help:"Go: build against this checkout of Carillon instead of the published module." placeholder:"DIR" env:"CARILLON_SOURCE"`
}

// Run writes the project and says what comes next.
func (c *pluginNewCmd) Run(s streams) error {
	dir := c.Dir
	if dir == "" {
		dir = c.Name
	}
	steps, err := scaffold.Write(scaffold.Project{
		Name: c.Name, Kind: c.Kind, Lang: c.Lang, Dir: dir, Version: version, Carillon: c.Carillon,
	})
	if err != nil {
		return usage("%w", err)
	}
	for _, f := range steps.Files {
		fmt.Fprintf(s.err, "carillon: wrote %s/%s\n", dir, f)
	}
	fmt.Fprintln(s.err, "carillon: build it and test it:")
	_, err = fmt.Fprintf(s.out, "cd %s\n%s\n%s\n", dir, strings.TrimSpace(steps.Build), steps.Test)
	return err
}
