package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// skipped are folders without sources of ours.
var skipped = []string{"node_modules", "testdata", "dist", "bin", "data"}

// sources are the kinds of files that cite rules.
var sources = []string{".go", ".ts", ".js", ".mjs", ".md", ".yaml", ".proto"}

// citation is one rule id in brackets, or a list of them as scripts have it.
var citation = regexp.MustCompile(`\[([A-Z]{3}-\d+(?:, [A-Z]{3}-\d+)*)\]`)

// citations checks that every rule id in brackets that a source file cites is defined. Ids with a prefix that the text does not
// use are something else.
func citations(root string) error {
	text, err := os.ReadFile(filepath.Join(root, specPath))
	if err != nil {
		return err
	}
	spec, err := parse(string(text))
	if err != nil {
		return err
	}
	prefixes := make(map[string]bool)
	for id := range spec.rules {
		prefixes[id[:3]] = true
	}
	var faults []error
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skipped, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains(sources, filepath.Ext(path)) {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		for n, line := range bytes.Split(source, []byte("\n")) {
			for _, id := range cited(line) {
				if _, defined := spec.rules[id]; !defined && prefixes[id[:3]] {
					faults = append(faults, fmt.Errorf("%s:%d: cites %s, which %s does not define", name, n+1, id, specPath))
				}
			}
		}
		return nil
	})
	return errors.Join(append(faults, err)...)
}

func cited(line []byte) []string {
	var ids []string
	for _, m := range citation.FindAllSubmatch(line, -1) {
		ids = append(ids, strings.Split(string(m[1]), ", ")...)
	}
	return ids
}
