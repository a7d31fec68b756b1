// Package scaffold writes the first files of a plugin project, in the language of its author. What they say stands in templates:
//
//	templates/project/all, /KIND     every project, every project of a kind
//	templates/LANG/all, /LANG/KIND   the same for a language
//
// Paths below those folders are paths in the project. A file whose name ends in .tmpl is a text/template over project; the others
// are copied as they are. The contract itself comes from package spec, so that a project is of the version of its carillon.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/carillon-mq/carillon/spec"
)

//go:embed all:templates
var templates embed.FS

// Project is what to write.
type Project struct {
	Name string // of the plugin: 1 to 64 bytes of a-z, 0-9 and "-", a letter first
	Kind string // "auth" or "store"
	Lang string // one of Languages
	Dir  string // made if it is missing; nothing may be in it

	Version  string // of Carillon: what a Go project requires
	Carillon string // folder with Carillon's source, which a Go project is built against; empty is the published module
}

// Steps are the commands that come next, run in the project's folder.
type Steps struct {
	Build string
	Test  string
	Files []string // what was written, slash-separated and sorted
}

// Languages are those that there are templates for.
func Languages() []string { return []string{"go", "node", "python"} }

// Write writes the project, or nothing. It replaces no file.
func Write(p Project) (Steps, error) {
	if err := p.check(); err != nil {
		return Steps{}, err
	}
	filled, err := p.fill()
	if err != nil {
		return Steps{}, err
	}
	files, err := filled.files()
	if err != nil {
		return Steps{}, err
	}
	if err := put(p.Dir, files); err != nil {
		return Steps{}, err
	}
	steps := Steps{Build: filled.Build, Test: filled.Test}
	for _, f := range files {
		steps.Files = append(steps.Files, f.path)
	}
	slices.Sort(steps.Files)
	return steps, nil
}

func (p *Project) check() error {
	if !validName(p.Name) {
		return fmt.Errorf("name %q: want 1 to 64 bytes of a-z, 0-9 and \"-\", a letter first, like %s-example", p.Name, p.Kind)
	}
	if p.Kind != "auth" && p.Kind != "store" {
		return fmt.Errorf("kind %q: want auth or store", p.Kind)
	}
	if !slices.Contains(Languages(), p.Lang) {
		return fmt.Errorf("language %q: want one of %s; for another, the contract is spec/plugin.md", p.Lang, strings.Join(Languages(), ", "))
	}
	if p.Lang == "go" && p.Carillon == "" && strings.HasSuffix(p.Version, "-dev") {
		return errors.New("this carillon is a development build, of which there is no Go module: name its source with --carillon DIR")
	}
	entries, err := os.ReadDir(p.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: name another folder with --dir", p.Dir)
	}
	return nil
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// project is what the templates see.
type project struct {
	Project
	Executable  string // path of the plugin that the project builds, from its folder
	Path        string // the same from anywhere
	GoVersion   string
	Needs       string // what the machine must have
	Build       string // command
	Test        string // command
	TestCommand string // what Test comes to
	Yours       string // where to begin
}

// language is what differs in words between the languages.
type language struct {
	executable, needs, build, test, yours string
	contract                              map[string]string // path in the project → path in spec.Plugin
}

var languages = map[string]language{
	"go": {
		executable: "./%s",
		needs:      "Go " + goVersion + " or newer",
		build:      "go mod tidy\ngo build -o %s .",
		yours:      "`main.go` says what the plugin is, and is where to begin. Package `kit` does what stands around the calls.",
	},
	"node": {
		executable: "./dist/%s.cjs",
		needs:      "Node.js 20.15 or newer, with npm",
		build:      "npm install\nnpm run build",
		test:       "npm test",
		yours: "`plugin.mjs` is the plugin, and where to begin. `kit.mjs` does what stands around the calls and is the same in every plugin; the messages are\n" +
			"those of `contract/`.",
		contract: map[string]string{
			"contract/auth.proto":   "plugin/auth/v1/auth.proto",
			"contract/common.proto": "plugin/common/v1/common.proto",
			"contract/store.proto":  "plugin/store/v1/store.proto",
		},
	},
	"python": {
		executable: "./%s.pyz",
		needs:      "Python 3.9 or newer at /usr/bin/python3 with gRPC and protobuf, and openssl: on Debian `apt install python3-grpcio python3-protobuf openssl`",
		build:      "/usr/bin/python3 -m zipapp plugin -p '/usr/bin/python3 -I' -o %s",
		yours: "`plugin/__main__.py` is the plugin, and where to begin. `plugin/kit.py` does what stands around the calls and is the same in every plugin; it\n" +
			"makes the classes of the messages from `plugin/contract.binpb`, which is the contract's .proto files, compiled.",
		contract: map[string]string{"plugin/contract.binpb": "plugin/contract.binpb"},
	},
}

// goVersion is the oldest Go that the kit is built with.
const goVersion = "1.26.0"

func (p *Project) fill() (*project, error) {
	l := languages[p.Lang]
	f := &project{Project: *p, GoVersion: goVersion, Needs: l.needs, Yours: l.yours}
	f.Executable = fmt.Sprintf(l.executable, p.Name)
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return nil, err
	}
	f.Path = filepath.Join(dir, filepath.FromSlash(f.Executable))
	f.Build = strings.ReplaceAll(l.build, "%s", f.Executable)
	f.TestCommand = "carillon plugin test " + f.Executable + " --config test/config.json"
	if p.Kind == "auth" {
		f.TestCommand += " --logins test/logins.json"
	}
	if f.Test = l.test; f.Test == "" {
		f.Test = f.TestCommand
	}
	if p.Carillon != "" {
		if f.Carillon, err = filepath.Abs(p.Carillon); err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(f.Carillon, "plugins", "kit")); err != nil {
			return nil, fmt.Errorf("%s is no source of Carillon: %w", p.Carillon, err)
		}
	}
	return f, nil
}

// file is a file of the project.
type file struct {
	path    string // slash-separated, from the project's folder
	content []byte
}

func (p *project) files() ([]file, error) {
	var files []file
	for _, dir := range []string{"project/all", "project/" + p.Kind, p.Lang + "/all", p.Lang + "/" + p.Kind} {
		root := path.Join("templates", dir)
		err := fs.WalkDir(templates, root, func(at string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := templates.ReadFile(at)
			if err != nil {
				return err
			}
			name, isTemplate := strings.CutSuffix(strings.TrimPrefix(at, root+"/"), ".tmpl")
			if isTemplate {
				if text, err = p.execute(at, text); err != nil {
					return err
				}
			}
			files = append(files, file{name, text})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for name, source := range languages[p.Lang].contract {
		text, err := spec.Plugin.ReadFile(source)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, text})
	}
	return files, nil
}

func (p *project) execute(name string, text []byte) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// put writes the files below dir.
func put(dir string, files []file) error {
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if f.path == "carillon.yaml" {
			mode = 0o600 // whoever runs a broker may put a secret into it
		}
		out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = out.Write(f.content)
		if err := errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}
