package apidocs

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-mq/carillon/internal/apidoc"
	"github.com/carillon-mq/carillon/protocol"
)

// metric is one as docs/http.md has it, or as a broker shows it.
type metric struct {
	kind   string   // gauge, counter or histogram
	labels []string // sorted
}

func (m metric) String() string { return fmt.Sprintf("a %s with the labels %q", m.kind, m.labels) }

// onlyOnLinux are what other systems do not tell.
var onlyOnLinux = []string{"carillon_plugin_memory_bytes", "carillon_plugin_processes", "carillon_plugin_cpu_seconds_total"}

// TestEveryMetricIsWrittenDown has a broker show every metric that it has, and finds each in docs/http.md, and nothing else there.
func TestEveryMetricIsWrittenDown(t *testing.T) {
	s := open(t, apidoc.Open(t))
	s.everythingCounted(t)
	written := writtenMetrics(t)
	var shown map[string]metric
	s.until(t, "the store tells its figures", func() bool { // they are left out when it takes long
		shown = s.metrics(t)
		_, there := shown["carillon_store_records"]
		return there
	})
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		got, there := written[name]
		if want := shown[name]; !there {
			t.Errorf("docs/http.md lacks %s: %v", name, want)
		} else if got.String() != want.String() {
			t.Errorf("docs/http.md has %s as %v; it is %v", name, got, want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if _, there := shown[name]; !there && (runtime.GOOS == "linux" || !slices.Contains(onlyOnLinux, name)) {
			t.Errorf("docs/http.md has %s, which no broker shows", name)
		}
	}
	operating, err := os.ReadFile("../../docs/plugins/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\bcarillon_[a-z_]+`).FindAllString(string(operating), -1) {
		if _, there := shown[name]; !there {
			t.Errorf("docs/plugins/operating.md has %s, which no broker shows", name)
		}
	}
}

// everythingCounted brings about what makes the metrics appear that come with their first event.
func (s *stand) everythingCounted(t *testing.T) {
	t.Helper()
	candidate := "  shadow: {plugin: auth-jwt, config: {issuer: '" + issuer + "', audience: carillon, keys: [{kid: main, alg: HS256, secret: " + secret + "}]}}\n"
	with := strings.Replace(config, "  cookie: session\n", "  cookie: session\n"+candidate, 1)
	if err := os.WriteFile(s.file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	w := s.dial(t, s.admin)
	w.ask(t, "POST", "/v1/admin/plugins/auth-shadow/reload", request("POST", "/v1/admin/plugins/auth-shadow/reload", "")).wants(t, "a candidate", 200, "")
	s.ask(t, "GET", "/v1/topics/orders.1", "").wants(t, "a refusal", 401, "token_missing")
	c := s.session(t, asyncAPI(t, closed))
	c.send(fmt.Sprintf(`[1,1,%q]`, token(t, nil)))
	c.until(protocol.TypeConnected)
	past := protocol.Position{Epoch: protocol.RunID{1}, Seq: 7, Term: protocol.RunID{2}, Offset: 3}
	c.send(fmt.Sprintf(`[3,12,"orders.>",{"position":%q}]`, past.Cursor()))
	c.until(protocol.TypeGap)
}

// metrics are the broker's own, without those of its runtime and its process.
func (s *stand) metrics(t *testing.T) map[string]metric {
	t.Helper()
	w := s.dial(t, s.admin)
	defer w.nc.Close()
	all := map[string]metric{}
	for line := range strings.Lines(w.ask(t, "GET", "/metrics", request("GET", "/metrics", "")).body) {
		if !strings.HasPrefix(line, "# TYPE carillon_") {
			series(line, all)
			continue
		}
		f := strings.Fields(line)
		all[f[2]] = metric{kind: f[3]}
	}
	return all
}

var (
	label  = regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
	suffix = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// series notes the labels of a line of metrics.
func series(line string, of map[string]metric) {
	name, rest, _ := strings.Cut(strings.Fields(line)[0], "{")
	if _, there := of[name]; !there {
		name = suffix.ReplaceAllString(name, "")
	}
	m, there := of[name]
	if !there {
		return
	}
	m.labels = nil
	for _, found := range label.FindAllStringSubmatch(rest, -1) {
		if found[1] != "le" {
			m.labels = append(m.labels, found[1])
		}
	}
	slices.Sort(m.labels)
	of[name] = m
}

var (
	metricRow  = regexp.MustCompile("(?m)^\\| (`carillon_[^|]*) \\| (gauge|counter|histogram) \\|")
	metricName = regexp.MustCompile("`(carillon_[a-z_]+)(?:\\{([a-z_,]+)\\})?`")
)

// writtenMetrics are those of the table in docs/http.md.
func writtenMetrics(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]metric{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		for _, found := range metricName.FindAllStringSubmatch(row[1], -1) {
			m := metric{kind: row[2]}
			if found[2] != "" {
				m.labels = strings.Split(found[2], ",")
			}
			slices.Sort(m.labels)
			if _, twice := all[found[1]]; twice {
				t.Errorf("docs/http.md has %s twice", found[1])
			}
			all[found[1]] = m
		}
	}
	return all
}
