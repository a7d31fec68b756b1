package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/require"
	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// clockSource is put into package time: what its Now tells of the time of day is off by the seconds in a file, which all processes of the
// broker have in view. The monotonic clock goes on as it does.
const clockSource = `package time

import "syscall"

var offset = func() []byte {
	file, err := syscall.Open(%q, syscall.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(file)
	offset, _ := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	return offset
}()

func shiftedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	by := int64(0)
	for i := len(offset) - 1; i >= 0; i-- {
		by = by<<8 | int64(offset[i])
	}
	return sec + by, nsec, mono
}
`

// G18: when the machine's time of day is set, by a day forwards or back, nobody who is connected is cut off, and nothing that is kept for a
// time is forgotten. It takes a standard library of its own, which is a minute's work to build: a campaign's.
func TestAClockThatIsSetCutsNobodyOff(t *testing.T) {
	if !require.Campaign() {
		t.Skip("CARILLON_CAMPAIGN is not set: this builds the standard library")
	}
	clock := filepath.Join(t.TempDir(), "offset")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	pkg := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	const now = " := runtimeNow()\n\tif mono == 0 {\n\t\treturn Time{"
	clockEdits := []edit{{filepath.Join(pkg, "time.go"), now, strings.Replace(now, "runtimeNow", "shiftedNow", 1)}}
	sources := map[string]string{filepath.Join(pkg, "shifted.go"): fmt.Sprintf(clockSource, clock)}
	product := carillonBinary
	defer func() { carillonBinary = product }()

	carillonBinary = buildEdited(t, "cmd/carillon", clockEdits, sources)
	if lost := setClock(t, clock); len(lost) > 0 {
		t.Errorf("lost: %s", strings.Join(lost, "; "))
	}
	t.Run("one that counts by it is found", func(t *testing.T) {
		faulty := edit{
			"broker/heartbeat.go", "return now.Add(min(id.Expires.Sub(now), unlimitedTime) + leeway)", "return id.Expires.Add(leeway)",
		}
		carillonBinary = buildEdited(t, "cmd/carillon", append(clockEdits, faulty), sources)
		if lost := setClock(t, clock); len(lost) != 2 {
			t.Errorf("found %q, wanted the session and the stream", lost)
		}
	})
}

// setClock sets the time of day of a broker that is used, and returns what was lost by that.
func setClock(t *testing.T, clock string) (lost []string) {
	t.Helper()
	file, err := os.OpenFile(clock, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	set := func(seconds int64) { // in its place: the file is never shorter than what others have in view
		if _, err := file.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(seconds)), 0); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	b := openDoors(t, "CARILLON_LIMITS_PING_EVERY=1s", "CARILLON_LIMITS_PONG_WAIT=2s",
		`CARILLON_TOPICS=[{match: "orders.*", class: stored, history: {age: 1h}}]`).b
	all := token(t, "main", mistakesSecret, map[string]any{"carillon": map[string]any{
		"publish": []string{">"}, "subscribe": []string{">"}, "history": []string{">"},
	}})
	c := clientAt(t, b.url(), carillon.WithToken(all))
	session := c.Status().Session
	stream := openStream(t, "http://"+b.listen+"/v1/subscribe?filter=orders.*", all)
	publish := func(id string, duplicate bool) {
		ack, err := c.Publish(t.Context(), "orders.1", "x", carillon.ID(id), carillon.Retain(), carillon.TTL(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if ack.Duplicate != duplicate {
			lost = append(lost, "the id of "+id)
		}
	}
	publish("first", false)
	for i, day := range []int64{86_400, -86_400, 0} {
		set(day)
		wait(t, 5*time.Second) // five pings, and all that is done every second
		if now := c.Status().Session; now != session {
			lost, session = append(lost, fmt.Sprintf("the session, at %d s", day)), now
		}
		select {
		case <-stream:
			lost, stream = append(lost, fmt.Sprintf("the stream, at %d s", day)), nil
		default:
		}
		if len(lost) > 0 {
			return lost // who comes back has a token of another day
		}
		publish("first", true)
		publish(fmt.Sprint("next ", i), false)
		if page, err := c.History(t.Context(), "orders.1"); err != nil || len(page.Messages) != i+2 {
			lost = append(lost, fmt.Sprintf("history, at %d s: %v, %v", day, page, err))
		}
		sub := c.Subscribe("orders.1")
		for m, err := range sub.Messages(t.Context()) {
			if err != nil || !m.Retain {
				lost = append(lost, fmt.Sprintf("the retained message, at %d s: %v", day, err))
			}
			break
		}
		sub.Close()
	}
	return lost
}

// openStream opens a stream of events. What it returns is closed when the stream ends.
func openStream(t *testing.T, url, token string) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, resp.Body) // its end is what is told
	}()
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
		<-ended
	})
	return ended
}
