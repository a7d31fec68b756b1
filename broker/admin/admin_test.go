package admin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

type fake struct {
	notReady error
	stats    broker.Stats
}

func (f *fake) Ready() error        { return f.notReady }
func (f *fake) Stats() broker.Stats { return f.stats }

func get(t *testing.T, h http.Handler, method, path string, headers ...string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, path, nil)
	req.Host = "127.0.0.1:8081"
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func newHandler(t *testing.T, b Broker, o Options) *Handler {
	t.Helper()
	h, err := New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPaths(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, header string
		notReady                   error
		status                     int
		body                       string
	}{
		{"alive", "GET", "/livez", "", errors.New("starting"), 200, "alive"},
		{"ready", "GET", "/readyz", "", nil, 200, "ready"},
		{"not ready", "GET", "/readyz", "", errors.New("retained messages are being loaded"), 503, "retained messages are being loaded"},
		{"HEAD", "HEAD", "/readyz", "", nil, 200, ""},
		{"metrics", "GET", "/metrics", "", nil, 200, "carillon_sessions"},
		{"no plugins", "GET", "/v1/admin/plugins", "", nil, 200, `{"plugins":[]}`},
		{"unknown", "GET", "/", "", nil, 404, "not_found"},
		{"not cleaned", "GET", "//metrics", "", nil, 404, "not_found"},
		{"profiles are not served", "GET", "/debug/pprof/", "", nil, 404, "not_found"},
		{"POST", "POST", "/livez", "", nil, 405, "method_not_allowed"},
		{"foreign host", "GET", "/metrics", "Host: evil.test", nil, 421, "bad_host"},
		{"foreign page", "GET", "/metrics", "Origin: http://evil.test", nil, 403, "no setting lets it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHandler(t, &fake{notReady: tc.notReady}, Options{})
			var headers []string
			if tc.header != "" {
				headers = append(headers, tc.header)
			}
			status, body := get(t, h, tc.method, tc.path, headers...)
			if status != tc.status || !strings.Contains(body, tc.body) {
				t.Errorf("status %d, want %d: %s", status, tc.status, body)
			}
		})
	}
}

func TestMetricsHaveThePromisedNames(t *testing.T) {
	b := &fake{stats: broker.Stats{
		Sessions: 3, Subscriptions: 4, Lagging: 1, LagEntries: 7, LagSpan: 1500 * time.Millisecond, DrainSessions: 2, Delivered: 9, Saved: 8, RingBytes: 1024, RingSpan: 90 * time.Second, StoreUp: true, StoreBroken: true, StoreFaults: 5, MessageIDs: 12, Members: 13,
		Published:          map[broker.Class]uint64{broker.ClassLive: 1, broker.ClassMemory: 2, broker.ClassStored: 3},
		Gaps:               map[protocol.GapReason]uint64{"epoch": 5},
		Rejected:           map[protocol.Code]uint64{protocol.CodeForbidden: 6},
		PublishSeconds:     broker.Histogram{Count: 2, Sum: 0.5, Buckets: map[float64]uint64{0.1: 1, 1: 2}},
		StoreCommitSeconds: broker.Histogram{Count: 1, Sum: 0.25, Buckets: map[float64]uint64{1: 1}},
	}}
	delayed := func() uint64 { return 14 }
	h := newHandler(t, b, Options{Version: "1.2.3", AcceptsDelayed: delayed, Plugins: func() []Plugin {
		return []Plugin{{Name: "store-bolt", Kind: "store", State: "ready", Up: true, Restarts: 2, Version: "3", OnFailure: "wait(5s)"}}
	}})
	_, body := get(t, h, "GET", "/metrics")
	for _, line := range []string{
		"carillon_sessions 3", "carillon_subscriptions 4", "carillon_sessions_lagging 1", "carillon_lag_entries_max 7", "carillon_lag_seconds_max 1.5", "carillon_drain_sessions 2",
		`carillon_messages_published_total{class="live"} 1`, `carillon_messages_published_total{class="memory"} 2`,
		`carillon_messages_published_total{class="stored"} 3`, "carillon_messages_delivered_total 9", "carillon_compression_saved_bytes_total 8",
		`carillon_gaps_total{reason="epoch"} 5`, `carillon_rejected_total{code="forbidden"} 6`,
		`carillon_publish_seconds_bucket{le="0.1"} 1`, "carillon_publish_seconds_count 2", "carillon_store_commit_seconds_sum 0.25",
		"carillon_ring_bytes 1024", "carillon_ring_seconds 90", "carillon_store_up 1", "carillon_store_breaker_open 1", "carillon_store_faults_total 5", "carillon_message_ids 12", "carillon_presence_members 13", "carillon_accepts_delayed_total 14",
		`carillon_plugin_info{kind="store",name="store-bolt",on_failure="wait(5s)",version="3"} 1`, `carillon_plugin_up{kind="store"} 1`, `carillon_plugin_restarts_total{kind="store"} 2`, `carillon_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("missing %s", line)
		}
	}
}

func TestPluginsAreShown(t *testing.T) {
	want := Plugin{
		Name: "store-bolt", Kind: "store", Version: "0.1.0", State: "restarting", PID: 42, Restarts: 1,
		Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), LastError: "signal: killed", Breaker: "open",
	}
	h := newHandler(t, &fake{stats: broker.Stats{StoreBroken: true}}, Options{Plugins: func() []Plugin { return []Plugin{want} }})
	_, body := get(t, h, "GET", "/v1/admin/plugins")
	var got struct{ Plugins []Plugin }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Plugin{want}, got.Plugins); d != "" {
		t.Error(d)
	}
}

// Collect brings nothing that Describe does not name, and nothing twice.
func TestEveryMetricIsDescribed(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	full := &collector{b: &fake{stats: broker.Stats{
		Published: map[broker.Class]uint64{broker.ClassLive: 1}, Gaps: map[protocol.GapReason]uint64{"epoch": 1}, Rejected: map[protocol.Code]uint64{protocol.CodeForbidden: 1},
	}}, opt: Options{Plugins: func() []Plugin {
		return []Plugin{
			{Name: "auth", Kind: "auth", Processes: 1, Guard: &Guard{}, Calls: []PluginCall{{Call: "authenticate"}}},
			{Name: "auth-shadow", Kind: "auth", Shadow: true, Compared: &Comparison{}},
		}
	}}, statistics: statistics{store: &store{figures: broker.StoreStatistics{CommitBuckets: []uint64{1}}}}}
	if err := r.Register(full); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Error(err)
	}
	described := make(chan *prometheus.Desc, 1000)
	full.Describe(described)
	if len(families) != len(described) {
		t.Errorf("%d metrics are there, %d are described", len(families), len(described))
	}
}

func TestOnePluginIsShownWithWhatItSays(t *testing.T) {
	says := Description{ContractVersions: []uint32{1}, Capabilities: []string{"revocations"}, ConfigSchema: json.RawMessage(`{"type":"object"}`)}
	h := newHandler(t, &fake{}, Options{Plugins: func() []Plugin {
		return []Plugin{
			{Name: "auth", Kind: "auth", Plugin: "auth-doors", PID: 1, Says: says},
			{Name: "auth-shadow", Kind: "auth", Plugin: "auth-doors", PID: 2, Shadow: true},
			{Name: "store-bolt", Kind: "store", Plugin: "store-bolt", PID: 3},
		}
	}})
	for name, pid := range map[string]int{"auth": 1, "auth-doors": 1, "auth-shadow": 2, "store": 3, "store%2Dbolt": 3, "nobody": 0, "": 0, "auth/nothing": 0} {
		status, body := get(t, h, "GET", "/v1/admin/plugins/"+name)
		var got DescribedPlugin
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if found := status == 200; found != (pid > 0) || !found && (status != 404 || !strings.Contains(body, "not_found")) || found && got.PID != pid {
			t.Errorf("%q: %d %s", name, status, body)
		}
		if pid == 1 {
			if d := cmp.Diff(says, got.Description); d != "" {
				t.Error(d)
			}
		}
	}
	if _, body := get(t, h, "GET", "/v1/admin/plugins"); strings.Contains(body, "config_schema") {
		t.Errorf("the list has what one plugin is shown with: %s", body)
	}
}
