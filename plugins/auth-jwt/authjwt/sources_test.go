package authjwt

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// newAuthOf makes an Auth with the tests' clock, and closes it.
func newAuthOf(t testing.TB, cfg Config) *Auth {
	t.Helper()
	cfg.Logger = discard
	cfg.Now = func() time.Time { return time.Unix(now, 0) }
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// signed is a good token signed with a key of testKeys.
func signed(t testing.TB, kid, key string, claims map[string]any) string {
	t.Helper()
	token, err := newSigner(t, kid, string(newKeyFiles(t, testKeys()[key]).private)).Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// idp is an issuer whose key set and state a test sets.
type idp struct {
	set   atomic.Pointer[keySet]
	asked atomic.Int32
	away  atomic.Bool
}

func (i *idp) publish(t testing.TB, keys ...map[string]any) {
	t.Helper()
	set, err := parseKeySet(setOf(t, keys...), publicAlgorithms)
	if err != nil {
		t.Fatal(err)
	}
	i.set.Store(&set)
}

// load takes as long as a network does.
func (i *idp) load(ctx context.Context) (keySet, error) {
	i.asked.Add(1)
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return keySet{}, ctx.Err()
	}
	if i.away.Load() {
		return keySet{}, errors.New("connection refused")
	}
	return *i.set.Load(), nil
}

// served is an Auth whose only issuer's keys come from an idp.
func served(t testing.TB) (*Auth, *idp) {
	t.Helper()
	a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", JWKS: JWKS{URL: "https://id.example/jwks"}})
	i := &idp{}
	i.publish(t, jwk(t, ES256, kid("one")))
	a.issuers[0].source.load = i.load
	return a, i
}

func TestARotatedKeyIsFoundAtOnceAndTheIssuerIsAskedOnce(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		a, idp := served(t)
		a.Start()
		one, two := signed(t, "one", ES256, goodClaims()), signed(t, "two", "other ES256", goodClaims())
		if _, err := authenticate(a, one); err != nil {
			t.Fatal(err)
		}
		time.Sleep(askAgain)
		idp.publish(t, jwk(t, ES256, kid("one")), jwk(t, "other ES256", kid("two")))
		asked := idp.asked.Load()
		answers := make(chan error, 100)
		for range cap(answers) {
			go func() {
				_, err := authenticate(a, two)
				answers <- err
			}()
		}
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if n := idp.asked.Load() - asked; n != 1 {
			t.Errorf("100 tokens with the new key had the issuer asked %d times, want once", n)
		}
		if _, err := authenticate(a, one); err != nil {
			t.Errorf("the old key, which is still published: %v", err)
		}
		_ = a.Close()
	})
}

func TestInventedKeyIDsDoNotHaveTheIssuerAskedAllTheTime(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		a, idp := served(t)
		begin := time.Now()
		for time.Since(begin) < time.Minute {
			token := signed(t, fmt.Sprintf("invented-%d", time.Since(begin)), ES256, goodClaims())
			_, err := authenticate(a, token)
			wantRefusal(t, token, err, protocol.CodeTokenUnknownKey, "no such ES256 key")
			time.Sleep(100 * time.Millisecond)
		}
		if n := idp.asked.Load(); n < 2 || n > int32(time.Minute/askAgain)+1 {
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

func TestTheLastGoodKeysAreUsedAsLongAsKeepSays(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		a, idp := served(t)
		a.Start()
		token := signed(t, "one", ES256, goodClaims())
		if _, err := authenticate(a, token); err != nil {
			t.Fatal(err)
		}
		idp.away.Store(true)
		time.Sleep(defaultKeep - time.Hour)
		if _, err := authenticate(a, token); err != nil {
			t.Errorf("an hour before keep has passed: %v", err)
		}
		unknown := signed(t, "two", "other ES256", goodClaims())
		if _, err := authenticate(a, unknown); protocol.CodeOf(err) != protocol.CodeInternal || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("an unknown key while the issuer is away: %v, want no decision", err)
		}
		time.Sleep(time.Hour + 2*defaultRefresh)
		if id, err := authenticate(a, token); id != nil || protocol.CodeOf(err) != protocol.CodeInternal {
			t.Errorf("after keep: %v, %v, want no decision", id, err)
		}
		idp.away.Store(false)
		time.Sleep(2 * longestRetry)
		if _, err := authenticate(a, token); err != nil {
			t.Errorf("the issuer is back: %v", err)
		}
		_ = a.Close()
	})
}

func TestAStartWithoutTheIssuerDecidesNothingUntilItIsThere(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		a, idp := served(t)
		idp.away.Store(true)
		a.Start()
		token := signed(t, "one", ES256, goodClaims())
		if id, err := authenticate(a, token); id != nil || protocol.CodeOf(err) != protocol.CodeInternal {
			t.Errorf("%v, %v, want no decision", id, err)
		}
		forged, err := newSigner(t, "", secret1).signRaw([]byte(`{"alg":"none","kid":"one"}`), []byte(payload("")))
		if err != nil {
			t.Fatal(err)
		}
		_, err = authenticate(a, forged) // needs no key
		wantRefusal(t, forged, err, protocol.CodeTokenBadSignature, `alg is "none"`)
		time.Sleep(10 * time.Second)
		if n := idp.asked.Load(); n < 3 || n > 12 {
			t.Errorf("asked %d times in the first 10 s", n)
		}
		idp.away.Store(false)
		time.Sleep(longestRetry)
		if _, err := authenticate(a, token); err != nil {
			t.Errorf("the issuer is there: %v", err)
		}
		_ = a.Close()
	})
}

func TestATokenWaitsForTheKeysNoLongerThanItsCallerDoes(t *testing.T) {
	testKeys()
	synctest.Test(t, func(t *testing.T) {
		a, _ := served(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := a.Authenticate(ctx, broker.Credentials{Token: signed(t, "one", ES256, goodClaims())})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the caller's deadline", err)
		}
		_ = a.Close()
		if err := a.issuers[0].source.askNow(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestAKeySetIsAskedForOverTLSAndTakenOnlyAsItShouldBe(t *testing.T) {
	good := setOf(t, jwk(t, ES256, kid("one")))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write(good)
		case "/large":
			_, _ = w.Write([]byte(strings.Repeat(" ", maxSetBytes) + "{}"))
		case "/moved":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/page":
			_, _ = w.Write([]byte("<html>"))
		default:
			http.NotFound(w, r)
		}
	}))
	quiet := log.New(io.Discard, "", 0)
	server.Config.ErrorLog = quiet
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := signed(t, "one", ES256, goodClaims())
	for _, test := range []struct{ path, ca, want string }{
		{"/good", ca, ""},
		{"/large", ca, "more than 262144 bytes"},
		{"/moved", ca, `redirects (302) to "/good"`},
		{"/page", ca, "is not JSON"},
		{"/none", ca, "status 404"},
		{"/good", "", "certificate"},
	} {
		t.Run(test.path+test.want, func(t *testing.T) {
			a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", JWKS: JWKS{URL: server.URL + test.path, CA: test.ca}})
			_, err := authenticate(a, token)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || protocol.CodeOf(err) != protocol.CodeInternal || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want no decision and %q", err, test.want)
			}
		})
	}
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11} //nolint:gosec // an old server is the point
	old.Config.ErrorLog = quiet
	old.StartTLS()
	defer old.Close()
	a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", JWKS: JWKS{URL: old.URL, CA: ca}})
	if _, err := authenticate(a, token); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
}

func TestAKeySetInAFileIsReadAgainWhenItHasChanged(t *testing.T) {
	path := writeFile(t, setOf(t, jwk(t, ES256, kid("one"))))
	a := newAuthOf(t, Config{Issuer: issuer, Audience: "carillon", JWKS: JWKS{File: path}})
	one, two := signed(t, "one", ES256, goodClaims()), signed(t, "two", "other ES256", goodClaims())
	if _, err := authenticate(a, one); err != nil {
		t.Fatal(err)
	}
	_, err := authenticate(a, two)
	wantRefusal(t, two, err, protocol.CodeTokenUnknownKey, `kid is "two"`)
	replaceFile(t, path, setOf(t, jwk(t, "other ES256", kid("two"))))
	if _, err := authenticate(a, two); err != nil { // the unknown kid has the file looked at
		t.Errorf("the new key: %v", err)
	}
	_, err = authenticate(a, one)
	wantRefusal(t, one, err, protocol.CodeTokenUnknownKey, `kid is "one"`)
	replaceFile(t, path, []byte("{"))
	if _, err := authenticate(a, one); protocol.CodeOf(err) != protocol.CodeInternal || !strings.Contains(err.Error(), "is not JSON") {
		t.Errorf("a broken file and an unknown key: %v, want no decision", err)
	}
	if _, err := authenticate(a, two); err != nil {
		t.Errorf("a broken file and the last good key: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := authenticate(a, two); err != nil {
		t.Errorf("no file and the last good key: %v", err)
	}
	replaceFile(t, path, setOf(t, jwk(t, ES256, kid("one"))))
	if _, err := authenticate(a, one); err != nil {
		t.Errorf("a file again: %v", err)
	}
}

// replaceFile puts a file in place as careful programs do, in one step.
func replaceFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
