package plugintest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/plugintest"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
	"github.com/carillon-mq/carillon/protocol"
)

// This test binary is also the plugins under test: good ones, and the same with one fault each. The suite has to pass with the
// former and to fail with every one of the latter.
const (
	serveStore = "serve-store"
	serveAuth  = "serve-auth"
	// serveByHand and a kind is a plugin without the kit.
	serveByHand = "by-hand-"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch fault := os.Args[2]; os.Args[1] {
		case serveStore:
			kit.Serve(faultyStorePlugin(fault))
			return
		case serveAuth:
			kit.Serve(faultyAuthPlugin(fault))
			return
		case serveByHand + kit.KindStore, serveByHand + kit.KindAuth:
			serveHandmade(strings.TrimPrefix(os.Args[1], serveByHand), fault)
			return
		}
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // a process with the race detector takes a second to end otherwise
	_ = flag.Set("test.parallel", "6")           // most of them wait for what a faulty plugin does not do; -parallel goes before this
	goleak.VerifyTestMain(m)
}

// none is the plugin without a fault.
const none = "none"

func storePlugin(fault string) plugintest.Plugin {
	return plugintest.Plugin{Path: os.Args[0], Args: []string{serveStore, fault}, Bundled: true, Kills: 3, Config: `{"dir": "{dir}/store"}`}
}

func authPlugin(t *testing.T, fault string) plugintest.Plugin {
	t.Helper()
	signer, err := authjwt.NewSigner("", []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	login := func(name string, left time.Duration, refused protocol.Code) plugintest.Login {
		token, err := signer.Sign(map[string]any{"iss": "i", "aud": "a", "sub": "john", "exp": time.Now().Add(left).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		l := plugintest.Login{Name: name, Credentials: broker.Credentials{Token: token}, Refused: refused}
		if refused == 0 {
			l.User = "john"
		}
		return l
	}
	return plugintest.Plugin{
		Path: os.Args[0], Args: []string{serveAuth, fault}, Bundled: true, BadConfigs: map[string]string{"color": `{"color": "red"}`},
		Logins: []plugintest.Login{login("good", time.Hour, 0), login("expired", -time.Hour, protocol.CodeTokenExpired)},
	}
}

func TestTheSuitesPassWithGoodPlugins(t *testing.T) {
	for name, p := range map[string]plugintest.Plugin{
		"store": storePlugin(none), "auth": authPlugin(t, none), "store by hand": handmadePlugin(kit.KindStore, none), "auth by hand": handmadePlugin(kit.KindAuth, none),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugintest.Run(t, p)
		})
	}
}

func handmadePlugin(kind, fault string) plugintest.Plugin {
	p := plugintest.Plugin{
		Path: os.Args[0], Args: []string{serveByHand + kind, fault}, Kills: 3, Config: `{"dir": "{dir}"}`,
		BadConfigs: map[string]string{"color": `{"color": "red"}`},
	}
	for token, user := range map[string]string{tokenOfJohn: "john", tokenOfJane: "jane"} {
		p.Logins = append(p.Logins, plugintest.Login{
			Name: user, User: user, Credentials: broker.Credentials{Token: token},
			May:    questions("publish "+user+".a", "subscribe shared.>", "subscribe "+user+".>"),
			MayNot: questions("publish shared.a", "subscribe >", "publish jo.a", "subscribe jim.a", "history "+user+".a"),
			Revoke: func(_ context.Context, dir string) error { return appendTo(filepath.Join(dir, "revoked"), user+"\n") },
		})
	}
	p.Logins = append(p.Logins, plugintest.Login{Name: "expired", Refused: protocol.CodeTokenExpired, Credentials: broker.Credentials{Token: tokenPassed}})
	return p
}

func questions(texts ...string) (all []broker.Question) {
	for _, text := range texts {
		q, err := plugintest.ParseQuestion(text)
		if err != nil {
			panic(err)
		}
		all = append(all, q)
	}
	return all
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// seededFaults are the rows of testdata/faults.md, by kind.
func seededFaults(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("testdata/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	faults := map[string][]string{}
	kind := ""
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "## A store"):
			kind = kit.KindStore
			if strings.Contains(line, "power is lost") {
				kind += " without power"
			}
		case strings.HasPrefix(line, "## An auth plugin"):
			kind = kit.KindAuth
			if strings.Contains(line, "powers") {
				kind += " with powers"
			}
		case strings.HasPrefix(line, "| `"):
			faults[kind] = append(faults[kind], strings.Split(line, "`")[1])
		}
	}
	return faults
}

func TestEverySeededFaultIsFound(t *testing.T) {
	faults := seededFaults(t)
	for of, want := range map[string]int{kit.KindStore: 22, kit.KindStore + " without power": 4, kit.KindAuth: 22, kit.KindAuth + " with powers": 26} {
		if len(faults[of]) != want {
			t.Errorf("%d faults of kind %s, want %d", len(faults[of]), of, want)
		}
		kind, _, _ := strings.Cut(of, " ")
		for _, fault := range faults[of] {
			t.Run(kind+"/"+fault, func(t *testing.T) {
				t.Parallel()
				finds(t, fault, handmadePlugin(kind, fault))
			})
		}
	}
}

// The seeded fault no-sync is found by the first look at what the process does. What it does to the data is found, too.
func TestAStoreThatDoesNotSyncIsFoundByALossOfPower(t *testing.T) {
	findsBy(t, "no-sync", "store/nothing acknowledged is lost when the power is", handmadePlugin(kit.KindStore, "no-sync"))
}

func TestTheStoreSuiteFindsEveryFault(t *testing.T) {
	faults := maps.Clone(storeFaults)
	maps.Copy(faults, powerFaults)
	maps.Copy(faults, keyspaceFaults)
	for fault := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			finds(t, fault, storePlugin(fault))
		})
	}
}

func TestTheAuthSuiteFindsEveryFault(t *testing.T) {
	for fault := range authFaults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			finds(t, fault, authPlugin(t, fault))
		})
	}
}

// foundBy is the case that finds each fault, so that no other one is run for it. In a campaign all are run for each fault, and with a
// fault that is not in the file all are run until one goes red.
var foundBy = sync.OnceValue(func() map[string]string {
	text, err := os.ReadFile("testdata/found.json")
	if err != nil {
		panic(err)
	}
	var found map[string]string
	if err := json.Unmarshal(text, &found); err != nil {
		panic(err)
	}
	return found
})

// finds fails the test unless a case goes red, and says which.
func finds(t *testing.T, fault string, p plugintest.Plugin) {
	t.Helper()
	findsBy(t, fault, foundBy()[fault], p)
}

// findsBy is finds by one case; "" is by any, and "start: " with words is by an error with these words before any case is played.
func findsBy(t *testing.T, fault, id string, p plugintest.Plugin) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	campaign := os.Getenv("CARILLON_CAMPAIGN") != ""
	o := plugintest.Options{}
	if id != "" && !campaign {
		o.Only = regexp.MustCompile("^" + regexp.QuoteMeta(id) + "$")
	}
	p.Patience = 3 * time.Second // what is not there does not come by waiting
	red := 0
	o.Tell = func(r *plugintest.Result) {
		if r.Outcome != plugintest.Failed {
			return
		}
		red++
		t.Logf("found by %q: %.300s", r.Case.ID(), r.Failures[0])
		if !campaign {
			cancel()
		}
	}
	_, results, err := plugintest.Play(ctx, p, o)
	if failed, ok := errors.AsType[*plugintest.StartError](err); ok {
		t.Logf("found: it does not even start: %v", failed)
		if words, of := strings.CutPrefix(id, "start: "); of && !strings.Contains(failed.Error(), words) {
			t.Errorf("expected the words %q, got: %v", words, failed)
		}
		return
	}
	if red == 0 {
		t.Errorf("%s: not found by any of %d cases: %v", fault, len(results), err)
	}
}

// config is what both faulty plugins read.
type config struct {
	Dir string `json:"dir"`
}

func parse(raw json.RawMessage) (c config, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err = d.Decode(&c); err != nil {
		err = kit.BadConfig("%v", err)
	}
	return c, err
}

// storeFaults make a store out of a good one. Each is one mistake that an author could make.
var storeFaults = map[string]func(s *storebolt.Store) kit.Store{
	"a feed drops one of 50": func(s *storebolt.Store) kit.Store {
		n := 0
		return &faulty{Store: s, onFeed: func(f broker.Feed) broker.Feed {
			var kept []broker.Record
			for _, r := range f.Records {
				if n++; n%50 != 0 {
					kept = append(kept, r)
				}
			}
			f.Records = kept
			return f
		}}
	},
	"a feed forgets headers": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onFeed: eachRecord(func(r *broker.Record) { r.Headers = nil })}
	},
	"the excluded origin is forgotten": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onFeed: eachRecord(func(r *broker.Record) { r.Exclude = "" })}
	},
	"a feed elides what is another's": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onFeed: eachRecord(func(r *broker.Record) {
			*r = broker.Record{Offset: r.Offset, Origin: r.Origin, Ref: r.Ref, Elided: true}
		})}
	},
	"a feed has caught up before it has": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onFollow: func(from *broker.FollowFrom) { from.After += 3 }}
	},
	"the term is always the same": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onFeed: func(f broker.Feed) broker.Feed {
			if f.CaughtUp {
				f.Term = protocol.RunID{1}
			}
			return f
		}}
	},
	"payloads are cut at 60,000 bytes": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onAppend: func(r *broker.Record) { r.Payload = r.Payload[:min(len(r.Payload), 60_000)] }}
	},
	"clearing is ignored": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onAppend: func(r *broker.Record) { r.Retain = r.Retain && len(r.Payload) > 0 }}
	},
	"repeats are committed again": func(s *storebolt.Store) kit.Store {
		var ref uint64
		return &faulty{Store: s, onAppend: func(r *broker.Record) { ref++; r.Ref += ref * 1000 }}
	},
	"offsets are off by one": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onResult: func(r *broker.AppendResult) { r.Offset++ }}
	},
	"repeats get no answer of their own": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onResult: func(r *broker.AppendResult) { r.Duplicate = false }}
	},
	"loading skips a topic": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, onPage: func(page []broker.Record) []broker.Record { return page[:len(page)-1] }}
	},
	"loading promises too much": func(s *storebolt.Store) kit.Store {
		return &faulty{Store: s, headOffset: 5}
	},
	"acknowledged before it is committed": func(s *storebolt.Store) kit.Store { return &early{faulty: faulty{Store: s}} },
	"batches overtake each other":         func(s *storebolt.Store) kit.Store { return &overtaking{faulty: faulty{Store: s}} },
}

func eachRecord(change func(*broker.Record)) func(broker.Feed) broker.Feed {
	return func(f broker.Feed) broker.Feed {
		for i := range f.Records {
			change(&f.Records[i])
		}
		return f
	}
}

func faultyStorePlugin(fault string) kit.Plugin {
	powers := []string{"terms", "history", "ttl", "keys", "statistics", "backup", "keyspace"}
	return kit.Plugin{Name: "store-faulty", Kind: kit.KindStore, Capabilities: powers, Store: func(raw json.RawMessage) (kit.Store, error) {
		c, err := parse(raw)
		if err != nil {
			return nil, err
		}
		s, err := storebolt.Open(storebolt.Config{Dir: c.Dir})
		if err != nil {
			return nil, err
		}
		if wrap, ok := storeFaults[fault]; ok {
			return wrap(s), nil
		}
		if wrap, ok := powerFaults[fault]; ok {
			return wrap(s), nil
		}
		if wrap, ok := keyspaceFaults[fault]; ok {
			return wrap(s), nil
		}
		return s, nil
	}}
}
