package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/config"
)

// settings are the flags of every verb that has a configuration.
type settings struct {
	Config      string  `short:"c" help:"Configuration file." env:"CARILLON_CONFIG" placeholder:"FILE"`
	Listen      *string `help:"HOST:PORT of the public listener." placeholder:"ADDR"`
	AdminListen *string `help:"HOST:PORT of the admin listener, or none." placeholder:"ADDR"`
	DataDir     *string `help:"Folder for everything that is kept." placeholder:"DIR"`
	LogLevel    *string `help:"The least that is logged: debug, info, warn or error." placeholder:"LEVEL"`
	LogFormat   *string `help:"Form of the log: text or json." placeholder:"FORMAT"`
	AuthAttach  *string `help:"Ask the auth plugin that you have started yourself with --debug, at the address that it has printed." placeholder:"unix:/PATH"`
	StoreAttach *string `help:"The same for a store." placeholder:"unix:/PATH"`

	Unsupervised *string `help:"allow: serve may attach to such plugins, which nobody watches over. dev may." placeholder:"WORD"`

	warnings []string // of load: what is good and not what was meant
	exposed  string   // the one of them about secrets that are not
}

// flags are the settings that were given, by key.
func (f *settings) flags() map[string]string {
	given := map[string]string{}
	for key, value := range map[string]*string{
		"listen": f.Listen, "admin.listen": f.AdminListen, "data_dir": f.DataDir, "log.level": f.LogLevel, "log.format": f.LogFormat,
		"auth.attach": f.AuthAttach, "store.attach": f.StoreAttach, "unsupervised": f.Unsupervised,
	} {
		if value != nil {
			given[key] = *value
		}
	}
	return given
}

// load reads and checks the configuration. Everything that is wrong with it is in the error, which is config.KeyErrors unless the file
// cannot be read.
func (f *settings) load(base *config.Config) (*config.Loaded, error) {
	l, err := config.Load(config.Source{Base: base, File: f.Config, Environ: os.Environ(), Flags: f.flags()})
	var problems config.KeyErrors
	if l == nil || err != nil && !errors.As(err, &problems) {
		return l, err
	}
	if checkErr := l.Check(); checkErr != nil {
		more, ok := errors.AsType[config.KeyErrors](checkErr)
		if !ok {
			return l, checkErr
		}
		problems = append(problems, more...)
	}
	problems = append(problems, checkProxies(l)...)
	broken, warnings := checkFiles(l)
	problems = append(problems, broken...)
	problems = append(problems, checkPluginConfigs(l)...)
	if len(problems) > 0 {
		return l, problems
	}
	f.warnings = append(warnings, l.IdleRules()...)
	if f.exposed = exposed(f.Config, l.Config); f.exposed != "" {
		f.warnings = append(f.warnings, f.exposed)
	}
	return l, nil
}

// exposed says that the file of a configuration has secrets in it that everybody on this machine can read.
func exposed(file string, c *config.Config) string {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o007 == 0 || runtime.GOOS == "windows" || !c.HasSecrets() {
		return ""
	}
	return fmt.Sprintf("%s holds secrets and can be read by every user of this machine; chmod o-rwx %[1]s", file)
}

// mustLoad is load for a verb that cannot go on without.
func (f *settings) mustLoad(s streams, base *config.Config) (*config.Config, error) {
	l, err := f.load(base)
	if err != nil {
		return nil, misconfigured(s, err)
	}
	return l.Config, nil
}

// again is the configuration as it is now, from wherever it came the first time.
func (f settings) again(base *config.Config) (*config.Config, error) {
	l, err := f.load(base)
	if err != nil {
		return nil, err
	}
	return l.Config, nil
}

// misconfigured tells err. A wrong configuration is wrong usage, whatever the verb.
func misconfigured(s streams, err error) error {
	tellProblems(s, err)
	return &exitError{exitUsage, nil}
}

// tellProblems prints each mistake on a line of its own.
func tellProblems(s streams, err error) {
	var problems config.KeyErrors
	if !errors.As(err, &problems) {
		fmt.Fprintln(s.err, "carillon:", printable(err.Error()))
		return
	}
	for _, p := range problems {
		fmt.Fprintln(s.err, "carillon:", printable(p.Error()))
	}
}
