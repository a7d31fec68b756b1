package authhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/webclient"
	"github.com/carillon-mq/carillon/protocol"
)

// Config says whom to ask, and how.
type Config struct {
	URL         string        `json:"url"`
	Method      string        `json:"method"`      // GET or POST; "": GET
	Timeout     time.Duration `json:"-"`           // for one answer; 0: 1.5 s
	Concurrency int           `json:"concurrency"` // questions at a time, and connections; 0: 32
	Remember    time.Duration `json:"-"`           // how long an identity is given again for the same credentials; 0: 5 s
	PlainHTTP   bool          `json:"plain_http"`  // http to another machine
	CA          string        `json:"ca"`          // file with certificates (PEM) of authorities to trust beside the system's
	Cert        string        `json:"cert"`        // file with a client certificate, and
	Key         string        `json:"key"`         // with its key
	Grants      Grants        `json:"grants"`      // of everybody whom the application names
	Services    []Service     `json:"services"`
}

// Service is a program that shows a fixed token, such as the application itself when it publishes: the application is not asked about it.
type Service struct {
	User   string `json:"user"`
	Secret Secret `json:"secret"` // its token, or
	File   string `json:"file"`   // the file with it
	Grants Grants `json:"grants"`
}

// Secret is a text that is printed as *** by whatever prints it.
type Secret string

// String is ***.
func (Secret) String() string { return "***" }

// GoString is ***.
func (Secret) GoString() string { return "***" }

// MarshalText is ***.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Grants are filters by action. A level `{user}` stands for the user's id, written as one level.
type Grants struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
	History   []string `json:"history"`
	Presence  []string `json:"presence"`
	Exclude   []string `json:"exclude"`
}

const (
	defaultTimeout     = 1500 * time.Millisecond
	maxTimeout         = time.Minute
	defaultConcurrency = 32
	maxConcurrency     = 1000
	defaultRemember    = 5 * time.Second
	maxRemember        = 5 * time.Minute
	never              = -1
)

// ParseConfig reads a JSON object as ConfigSchema describes it. Unknown keys are errors that name them.
func ParseConfig(b []byte) (Config, error) {
	var c struct {
		Config
		Timeout  *string `json:"timeout"`
		Remember *string `json:"remember"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("auth-http configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("auth-http configuration: something follows the object")
	}
	var err error
	if c.Config.Timeout, err = parseDuration("timeout", c.Timeout, maxTimeout); err != nil {
		return Config{}, err
	}
	if c.Remember != nil && *c.Remember == "none" {
		c.Config.Remember = never
		return c.Config, nil
	}
	c.Config.Remember, err = parseDuration("remember", c.Remember, maxRemember)
	return c.Config, err
}

func parseDuration(name string, s *string, most time.Duration) (time.Duration, error) {
	if s == nil {
		return 0, nil
	}
	d, err := time.ParseDuration(*s)
	if err != nil || d <= 0 || d > most {
		return 0, fmt.Errorf("auth-http configuration: %s is %q, want a duration such as 2s, more than 0 and at most %v", name, *s, most)
	}
	return d, nil
}

func (c Config) withDefaults() Config {
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.Remember == 0 {
		c.Remember = defaultRemember
	}
	return c
}

// check reports what is wrong with c. It opens nothing.
func (c Config) check() error {
	if err := c.checkURL(); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	switch {
	case c.Method != http.MethodGet && c.Method != http.MethodPost:
		return fmt.Errorf("method: %q, want GET or POST", c.Method)
	case c.Concurrency < 1 || c.Concurrency > maxConcurrency:
		return fmt.Errorf("concurrency: %d, want 1 to %d", c.Concurrency, maxConcurrency)
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("cert and key go together")
	}
	_, err := c.Grants.of("x")
	return err // names the key
}

func (c Config) checkURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return errors.New("is missing: the address of your application that says who is logged in")
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%q is not a URL; write it like https://app.example.com/carillon-auth.php", c.URL)
	case u.User != nil:
		return errors.New("there is a user name or a password in it, where logs would show it")
	case u.Fragment != "":
		return errors.New("there is a fragment (#…) in it, which no server is sent")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%q is of the scheme %q, want https", c.URL, u.Scheme)
	case !webclient.IsLoopback(u.Hostname()) && !c.PlainHTTP:
		return fmt.Errorf("%q is http to another machine: cookies and tokens would cross the network unencrypted; write https, or plain_http: true where the network is yours alone", c.URL)
	}
	return nil
}

// of are the grants of a user; the levels {user} of an anonymous one (user "") give none. The errors name the list and the entry.
func (g Grants) of(user string) ([]broker.Grant, error) {
	var all []broker.Grant
	for _, list := range []struct {
		name    string
		action  broker.Action
		filters []string
	}{
		{"publish", broker.ActionPublish, g.Publish},
		{"subscribe", broker.ActionSubscribe, g.Subscribe},
		{"history", broker.ActionHistory, g.History},
		{"presence", broker.ActionPresence, g.Presence},
		{"exclude", broker.ActionExclude, g.Exclude},
	} {
		for i, filter := range list.filters {
			levels := strings.Split(filter, ".")
			if slices.Contains(levels, userLevel) && user == "" {
				continue
			}
			for l, level := range levels {
				if level == userLevel {
					levels[l] = protocol.EscapeLevel(user)
				} else if strings.ContainsAny(level, "{}") {
					return nil, fmt.Errorf("grants.%s[%d]: %q: {user} has to be a whole level, and there is no other name in braces", list.name, i, filter)
				}
			}
			written := strings.Join(levels, ".")
			if err := protocol.ValidateFilter(written); err != nil {
				return nil, fmt.Errorf("grants.%s[%d]: %q: %s", list.name, i, filter, err.Error()) // no refusal of the client's: its code goes no further
			}
			all = append(all, broker.Grant{Actions: list.action, Filter: written})
		}
	}
	return all, nil
}

const userLevel = "{user}"
