package shop_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/built"
	"github.com/carillon-mq/carillon/internal/freeport"
	"github.com/carillon-mq/carillon/internal/require"
)

// carillonBinary is the broker, built by TestMain.
var carillonBinary string

func TestMain(m *testing.M) { os.Exit(built.Run(m, &carillonBinary)) }

// process runs a command until the test ends, and returns when a line of its stderr has the word ready in it.
func process(t *testing.T, cmd *exec.Cmd, ready string) {
	t.Helper()
	cmd.Env = append(built.Environ(), cmd.Env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := &transcript{}
	isReady, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		found := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			said.add(lines.Text())
			if !found && strings.Contains(lines.Text(), ready) {
				found = true
				close(isReady)
			}
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), said)
		}
	})
	select {
	case <-isReady:
	case <-ended:
		t.Fatalf("%s ended: %s", cmd.Path, said)
	case <-time.After(30 * time.Second):
		t.Fatalf("%s was not ready in time: %s", cmd.Path, said)
	}
}

type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *transcript) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.WriteString(line + "\n")
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

const key = "0123456789abcdef0123456789abcdef\n"

// startBroker runs the broker with the shop's own configuration and returns its address.
func startBroker(t *testing.T) string {
	t.Helper()
	addr := freeAddr(t)
	config, err := filepath.Abs("carillon.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(carillonBinary, "serve", "-c", config, "--listen", addr, "--admin-listen", "none")
	cmd.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cmd.Dir, "carillon.key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	process(t, cmd, "carillon: ready")
	return addr
}

// startShop runs the shop with the broker at broker and returns its address.
func startShop(t *testing.T, broker string) string {
	t.Helper()
	php := require.Program(t, "php", "php")
	addr, dir := freeAddr(t), t.TempDir()
	keyFile := filepath.Join(dir, "carillon.key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(php, "-d", "session.save_path="+dir, "-S", addr, "-t", "public")
	cmd.Env = []string{"CARILLON_URL=http://" + broker, "CARILLON_PAGE_URL=http://" + broker, "CARILLON_KEY=" + keyFile, "SHOP_DATA=" + filepath.Join(dir, "data")}
	process(t, cmd, "Development Server")
	return addr
}

// visitor is a browser without JavaScript.
type visitor struct {
	t    *testing.T
	shop string
	http *http.Client
}

func visit(t *testing.T, shop string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, "http://" + shop + "/", &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// logIn is a visitor who has logged in as user.
func logIn(t *testing.T, shop, user string) *visitor {
	t.Helper()
	v := visit(t, shop)
	if got := v.post("login.php", url.Values{"user": {user}, "password": {"demo"}}); got.StatusCode != http.StatusSeeOther {
		t.Fatalf("logging in as %s: %s\n%s", user, got.Status, got.body)
	}
	return v
}

type answer struct {
	*http.Response
	body string
}

func (v *visitor) get(page string) answer {
	v.t.Helper()
	return v.do(http.MethodGet, page, nil)
}

func (v *visitor) post(page string, form url.Values) answer {
	v.t.Helper()
	return v.do(http.MethodPost, page, form)
}

func (v *visitor) do(method, page string, form url.Values) answer {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.shop+page, bytes.NewBufferString(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

var csrfField = regexp.MustCompile(`name="csrf" value="([0-9a-f]{64})"`)

// csrf is the token of the forms on page.
func (v *visitor) csrf(page string) string {
	v.t.Helper()
	found := csrfField.FindStringSubmatch(v.get(page).body)
	if found == nil {
		v.t.Fatalf("there is no form on %s", page)
	}
	return found[1]
}

// token is what the page of v connects with.
func (v *visitor) token() string {
	v.t.Helper()
	got := v.post("token.php", url.Values{})
	if got.StatusCode != http.StatusOK || !strings.HasPrefix(got.body, "eyJ") {
		v.t.Fatalf("token.php: %s %s", got.Status, got.body)
	}
	return got.body
}
