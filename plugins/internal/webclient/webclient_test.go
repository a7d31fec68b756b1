package webclient

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/testcert"
)

// serve is a TLS server of an authority. It asks for a certificate, and redirects /away to another place.
func serve(t *testing.T, a *testcert.Authority) *httptest.Server {
	t.Helper()
	cert, key := a.Issue(t, testcert.Request{})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/taken", http.StatusFound)
			return
		}
		if len(r.TLS.PeerCertificates) > 0 {
			w.Header().Set("Shown", "yes")
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestAClientTrustsWhomItIsToldTo(t *testing.T) {
	ours, theirs := testcert.New(t), testcert.New(t)
	cert, key := ours.Files(t, t.TempDir(), testcert.Request{})
	s := serve(t, ours)
	for name, tc := range map[string]struct {
		o     Options
		fails bool
		shown string
	}{
		"the system's authorities": {o: Options{}, fails: true},
		"another authority":        {o: Options{CA: theirs.File}, fails: true},
		"its authority":            {o: Options{CA: ours.File, Handshake: time.Minute}},
		"with a certificate":       {o: Options{CA: ours.File, Cert: cert, Key: key, Conns: 2}, shown: "yes"},
	} {
		client, err := New(tc.o)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Get(s.URL)
		if err == nil {
			_ = answer.Body.Close()
		}
		if (err != nil) != tc.fails || err == nil && answer.Header.Get("Shown") != tc.shown {
			t.Errorf("%s: %v %v", name, answer, err)
		}
		client.CloseIdleConnections()
	}
}

func TestARedirectIsAnAnswer(t *testing.T) {
	ours := testcert.New(t)
	s := serve(t, ours)
	client, err := New(Options{CA: ours.File})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(s.URL + "/away")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusFound || answer.Request.URL.Path != "/away" {
		t.Errorf("found %s of %s, wanted the redirect itself", answer.Status, answer.Request.URL)
	}
}

func TestAMistakeIsNamed(t *testing.T) {
	cert, key := testcert.New(t).Files(t, t.TempDir(), testcert.Request{})
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"ca: open":                  {CA: text + ".not"},
		"ca: " + text + " holds no": {CA: text},
		"cert and key: open":        {Cert: cert, Key: text + ".not"},
		"cert and key: tls":         {Cert: text, Key: key},
		"cert and key go together":  {Cert: cert},
		"cert and key go together ": {Key: key},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}

func TestWhichHostsAreThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.8.8.8": true, "::1": true,
		"": false, "app.example": false, "localhost.example": false, "192.0.2.1": false, "0.0.0.0": false, "127.0.0.1.example": false,
	} {
		if IsLoopback(host) != want {
			t.Errorf("%q: %t", host, !want)
		}
	}
}
