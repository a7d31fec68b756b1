package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release. Builds from a tag set it with -ldflags "-X main.version=…".
var version = "0.1.0-dev"

// versionCmd is `carillon version`.
type versionCmd struct{}

// Run prints the release, the commit it was built from, and the platform.
func (versionCmd) Run(s streams) error {
	_, err := fmt.Fprintf(s.out, "carillon %s (%s, %s, %s/%s)\n", version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// commit is the short hash of the source, with + when it was changed since.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "no commit"
	}
	hash, changed := "no commit", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			hash = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	return hash + changed
}
