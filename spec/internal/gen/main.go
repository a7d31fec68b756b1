// Gen makes what follows from the protocol's text and table: the vectors (spec/vectors/*.json) and the table of codes in
// spec/protocol.md, docs/codes.md and the JavaScript SDK (sdk/js/src/codes.ts).
//
//	go run ./spec/internal/gen           write them
//	go run ./spec/internal/gen -check    fail if one of them differs, or a rule of the text does not hold together
//
// It reads spec/protocol.md (spec.go), the table of codes in package protocol (codes.go), and for -check every rule id that any
// source file cites (cite.go). It is for the repository alone and knows nothing above the protocol.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	check := flag.Bool("check", false, "write nothing, fail on drift")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	files, err := generate(root)
	if err != nil {
		return err
	}
	if !check {
		return write(root, files)
	}
	return errors.Join(drift(root, files), citations(root))
}

// moduleRoot is the nearest folder above with a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// generate returns everything that is made, by path from the root. It fails if the text is not sound.
func generate(root string) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, specPath))
	if err != nil {
		return nil, err
	}
	spec, err := parse(string(text))
	if err != nil {
		return nil, err
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	withCodes, err := replaceCodes(string(text))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		specPath:                  []byte(withCodes),
		"docs/codes.md":           codesPage(),
		vectorsDir + "/code.json": codeVectors(),
		"sdk/js/src/codes.ts":     codesTS(),
	}
	for kind, vectors := range spec.byKind() {
		files[vectorsDir+"/"+kind+".json"] = vectors
	}
	return files, nil
}

func write(root string, files map[string][]byte) error {
	for _, stale := range unexpected(root, files) {
		if err := os.Remove(filepath.Join(root, stale)); err != nil {
			return err
		}
	}
	for name, content := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// drift reports the files that are not what generate makes.
func drift(root string, files map[string][]byte) error {
	differ := unexpected(root, files)
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !bytes.Equal(have, want) {
			differ = append(differ, name)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	slices.Sort(differ)
	return fmt.Errorf("out of date: %s; run: go run ./spec/internal/gen", strings.Join(differ, ", "))
}

// unexpected are vector files that no block makes.
func unexpected(root string, files map[string][]byte) []string {
	var names []string
	found, _ := filepath.Glob(filepath.Join(root, filepath.FromSlash(vectorsDir), "*.json"))
	for _, path := range found {
		name := vectorsDir + "/" + filepath.Base(path)
		if _, made := files[name]; !made {
			names = append(names, name)
		}
	}
	return names
}
