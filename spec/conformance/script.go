package conformance

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Script is one session, or several, told step by step. README.md says how to write one.
type Script struct {
	Name  string   `yaml:"name"`
	About string   `yaml:"about"` // what it shows, in a sentence
	Rules []string `yaml:"rules"`
	// Needs are what the server has to give beyond the rights of the usual token: see needs. Of an SDK: upgrade_answers, compress, presence, subscribes, timeout.
	Needs []string `yaml:"needs,omitempty"`
	// Limits are those that the server has to tell in Connected, each with the most that the script copes with.
	Limits map[string]int64        `yaml:"limits,omitempty"`
	Tokens map[string]TokenRequest `yaml:"tokens,omitempty"` // made before the first step, each under its name as a variable
	Slow   bool                    `yaml:"slow,omitempty"`   // takes seconds, because the rule has them
	Pings  time.Duration           `yaml:"pings,omitempty"`  // between the server's pings there has to be so much time
	Steps  []Step                  `yaml:"steps"`

	File string `yaml:"-"`
}

// Step is one thing that is done, or waited for. It has one action; the other members say how.
type Step struct {
	By     string         `yaml:"by,omitempty"`     // the connection, "a" unless it is said
	Within time.Duration  `yaml:"within,omitempty"` // how long what is expected may take, 5 s unless it is said
	Times  any            `yaml:"times,omitempty"`  // of send, expect and repeat: how often, with $n from 1
	With   map[string]any `yaml:"with,omitempty"`   // of connect: fields of Connect; of accept: of Connected
	Pongs  *bool          `yaml:"pongs,omitempty"`  // of connect, open and accept: false answers no Ping

	Open    *Open          `yaml:"open,omitempty"`
	Connect map[string]any `yaml:"connect,omitempty"` // Connect is sent, and Connected has to be like this
	Send    any            `yaml:"send,omitempty"`    // a packet, or a list that goes in one WebSocket message
	Raw     string         `yaml:"raw,omitempty"`     // a binary WebSocket message, in hex
	Text    string         `yaml:"text,omitempty"`    // a text message
	Pieces  int            `yaml:"pieces,omitempty"`  // of send and raw: into so many fragments
	// Unfinished is said of send and raw: the message is a first fragment alone, and the rest does not come.
	Unfinished bool `yaml:"unfinished,omitempty"`
	Cut        int  `yaml:"cut,omitempty"`    // of send and raw: so many bytes of the message come, and the connection is cut
	Expect     any  `yaml:"expect,omitempty"` // a packet, or a list, and nothing between
	// Together is said of a list that has to come in one WebSocket message.
	Together   bool           `yaml:"together,omitempty"`
	Replayed   *Replayed      `yaml:"replayed,omitempty"`
	Unordered  []any          `yaml:"unordered,omitempty"` // the next packets are these, in any order
	Until      any            `yaml:"until,omitempty"`     // packets are passed over until this one
	None       time.Duration  `yaml:"none,omitempty"`      // no packet comes for so long
	Disconnect any            `yaml:"disconnect,omitempty"`
	Close      int            `yaml:"close,omitempty"`  // the WebSocket is closed with this code
	Closed     int            `yaml:"closed,omitempty"` // the other side closes it with this code
	Drop       bool           `yaml:"drop,omitempty"`   // the connection is cut
	HTTP       *HTTP          `yaml:"http,omitempty"`
	Wait       string         `yaml:"wait,omitempty"` // a time, or a variable that is one
	Repeat     []Step         `yaml:"repeat,omitempty"`
	Let        map[string]any `yaml:"let,omitempty"`     // variables
	Restart    string         `yaml:"restart,omitempty"` // crash: what the server has in memory is gone; an SDK finds another run of it
	Revoke     string         `yaml:"revoke,omitempty"`  // what was granted by this token is taken back

	// Of scripts for SDKs, whose driver does and tells things, and for which the script is the broker.
	Do        map[string]any `yaml:"do,omitempty"`
	Event     map[string]any `yaml:"event,omitempty"`
	NoEvent   time.Duration  `yaml:"no_event,omitempty"`
	Accept    map[string]any `yaml:"accept,omitempty"`  // the next attempt to connect is granted, its Connect is like this, and Connected is sent
	Upgrade   *Open          `yaml:"upgrade,omitempty"` // the next attempt is granted without Connected, or refused
	NoAttempt time.Duration  `yaml:"no_attempt,omitempty"`
	// Faults are what becomes of packets that are sent from here on, by their names: lost, twice, swapped, or how much later they come.
	Faults map[string]string `yaml:"faults,omitempty"`
	After  time.Duration     `yaml:"after,omitempty"`  // of accept and upgrade: so long after the last loss at the earliest
	Before time.Duration     `yaml:"before,omitempty"` // and at the latest
}

// Replayed is so many messages for one subscription, or one History, behind as many Replay packets as the server likes ([SUB-6]).
type Replayed struct {
	Subscription any   `yaml:"subscription"`
	Kind         int   `yaml:"kind"`
	Messages     []any `yaml:"messages"` // each as in {Message: …}; retained ones (kind 1) in any order
}

// Open is an upgrade without a Connect behind it.
type Open struct {
	Subprotocol *string           `yaml:"subprotocol,omitempty"` // carillon.v1 unless it is said; "" asks for none
	Query       string            `yaml:"query,omitempty"`
	Headers     map[string]string `yaml:"headers,omitempty"`
	Refused     *Refused          `yaml:"refused,omitempty"` // nil: it has to be granted
}

// Refused is how an HTTP request has to be refused: the status, and the code of the problem document in the body.
type Refused struct {
	Status  int               `yaml:"status,omitempty"`
	Code    string            `yaml:"code,omitempty"`
	Headers map[string]string `yaml:"headers,omitempty"` // that an SDK is answered with
}

// HTTP is a request to the server's HTTP API and what the answer has to be.
type HTTP struct {
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers,omitempty"`
	Body    string            `yaml:"body,omitempty"`
	Status  int               `yaml:"status"`
	Answer  map[string]any    `yaml:"answer,omitempty"` // of the JSON object in the body
}

// TokenRequest is a token that a script needs.
type TokenRequest struct {
	User      string        `yaml:"user"`
	Publish   []string      `yaml:"publish,omitempty"`
	Subscribe []string      `yaml:"subscribe,omitempty"`
	History   []string      `yaml:"history,omitempty"`
	Presence  []string      `yaml:"presence,omitempty"`
	Exclude   []string      `yaml:"exclude,omitempty"`
	TTL       time.Duration `yaml:"ttl,omitempty"` // an hour unless it is said; below 0 the token has expired
}

//go:embed sessions/*.yaml
var sessionFiles embed.FS

// Sessions returns the scripts that servers are tested with, those whose file and name, `publish/acknowledged`, the pattern matches.
func Sessions(pattern string) ([]*Script, error) { return load(sessionFiles, "sessions", pattern) }

func load(files embed.FS, dir, pattern string) ([]*Script, error) {
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	entries, err := files.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*Script
	for _, e := range entries {
		text, err := files.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		scripts, err := Parse(strings.TrimSuffix(e.Name(), ".yaml"), text)
		if err != nil {
			return nil, err
		}
		all = append(all, scripts...)
	}
	return slices.DeleteFunc(all, func(s *Script) bool { return !expression.MatchString(s.ID()) }), nil
}

// Parse reads the scripts of a file: a list, every one of which is checked.
func Parse(file string, text []byte) ([]*Script, error) {
	var all []*Script
	if err := yaml.UnmarshalWithOptions(text, &all, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s.yaml: %w", file, err)
	}
	seen := map[string]bool{}
	for _, s := range all {
		s.File = file
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.ID(), err)
		}
		if seen[s.Name] {
			return nil, fmt.Errorf("%s: the name is taken", s.ID())
		}
		seen[s.Name] = true
	}
	return all, nil
}

// ID is the script's file and name.
func (s *Script) ID() string { return s.File + "/" + s.Name }

var (
	needs      = []string{"stored", "anonymous", "tokens", "restart", "cookie", "resume_window", "revoke", "compress", "upgrade_answers", "presence", "subscribes", "timeout"}
	scriptName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

func (s *Script) check() error {
	switch {
	case !scriptName.MatchString(s.Name):
		return errors.New("the name is not of lower-case words and hyphens")
	case s.About == "":
		return errors.New("about is missing")
	case len(s.Rules) == 0:
		return errors.New("it names no rule")
	case len(s.Steps) == 0:
		return errors.New("it has no steps")
	}
	for _, id := range s.Rules {
		if _, known := RuleText(id); !known {
			return fmt.Errorf("there is no rule %s", id)
		}
	}
	for _, n := range s.Needs {
		if !slices.Contains(needs, n) {
			return fmt.Errorf("there is no need %q; there are %s", n, strings.Join(needs, ", "))
		}
	}
	return checkSteps(s.Steps)
}

func checkSteps(steps []Step) error {
	for i := range steps {
		if n := len(steps[i].actions()); n != 1 {
			return fmt.Errorf("step %d has %d actions, wanted one", i+1, n)
		}
		_, err := parseFaults(steps[i].Faults)
		if err := cmp.Or(err, checkSteps(steps[i].Repeat)); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// actions are the names of what the step does.
func (s *Step) actions() []string {
	var all []string
	for _, a := range []struct {
		name  string
		given bool
	}{
		{"open", s.Open != nil},
		{"connect", s.Connect != nil},
		{"send", s.Send != nil},
		{"raw", s.Raw != ""},
		{"text", s.Text != ""},
		{"expect", s.Expect != nil},
		{"replayed", s.Replayed != nil},
		{"unordered", s.Unordered != nil},
		{"until", s.Until != nil},
		{"none", s.None != 0},
		{"disconnect", s.Disconnect != nil},
		{"close", s.Close != 0},
		{"closed", s.Closed != 0},
		{"drop", s.Drop},
		{"http", s.HTTP != nil},
		{"wait", s.Wait != ""},
		{"repeat", s.Repeat != nil},
		{"let", s.Let != nil},
		{"restart", s.Restart != ""},
		{"revoke", s.Revoke != ""},
		{"do", s.Do != nil},
		{"event", s.Event != nil},
		{"no_event", s.NoEvent != 0},
		{"accept", s.Accept != nil},
		{"upgrade", s.Upgrade != nil},
		{"no_attempt", s.NoAttempt != 0},
		{"faults", s.Faults != nil},
	} {
		if a.given {
			all = append(all, a.name)
		}
	}
	return all
}

// String is the step as the script has it.
func (s *Step) String() string {
	text, err := yaml.MarshalWithOptions(s, yaml.Flow(true))
	if err != nil {
		return strings.Join(s.actions(), ", ")
	}
	return strings.TrimSpace(string(text))
}
