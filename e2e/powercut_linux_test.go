package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/internal/workload"
)

// cutsOfRound is how often a load loses power.
const cutsOfRound = 5

// G2: what was acknowledged as committed, and what anybody was shown, outlives a loss of power at any instant.
func TestPowerCutsLoseNothing(t *testing.T) {
	disks := map[*broker]*disk{}
	fresh := func() *broker {
		d := newDisk(t)
		b := newDiskBroker(t, d)
		disks[b] = d
		b.start()
		return b
	}
	rounds(t, 10*time.Second, 500, fresh, func(b *broker, name string) workload.Report {
		floor := workload.Floor{Acked: 100 * cutsOfRound, Shown: 200 * cutsOfRound, Kept: 50 * cutsOfRound, Faults: cutsOfRound}
		return load(t, b, powerOptions(b, name), floor, func(ctx context.Context, l *workload.Load) {
			for range cutsOfRound {
				cutUnderLoad(ctx, t, b, disks[b], l)
				b.start()
			}
			await(ctx, t, l, 100)
		})
	})
}

// newDiskBroker is a broker whose data are on d.
func newDiskBroker(t *testing.T, d *disk) *broker {
	t.Helper()
	b := newBroker(t)
	b.dir = filepath.Join(d.mount, "data")
	b.env = append([]string{}, loadSettings...)
	return b
}

func powerOptions(b *broker, name string) workload.Options {
	return workload.Options{
		URL: b.url(), Name: name, Classes: []workload.Class{workload.Stored, workload.Retained}, Topics: 6, Pause: 2 * time.Millisecond,
		Subscriptions: []workload.Subscription{{Filter: name + ".stored.>", NoRetained: true}, {}}, Client: patient,
	}
}

// cutUnderLoad cuts the power at a random instant, ends the broker, and turns the power on again.
func cutUnderLoad(ctx context.Context, t *testing.T, b *broker, d *disk, l *workload.Load) {
	t.Helper()
	await(ctx, t, l, 100)
	wait(t, time.Duration(rand.Int64N(int64(150*time.Millisecond))))
	fault(l, "power")
	d.cutPower()
	wait(t, 10*time.Millisecond)
	store := b.storePID()
	b.kill()
	eventually(t, 20*time.Second, "the plugin has ended with the broker", func() bool { return store == 0 || !alive(store) })
	d.powerUp()
}

// storePID is the process of the store plugin, 0 if there is none.
func (b *broker) storePID() int {
	for _, p := range b.plugins() {
		if strings.HasPrefix(p.Name, "store") {
			return p.PID
		}
	}
	return 0
}

// A store that does not sync is found out by the first power cut: the test above can fail.
func TestPowerCutsFindAStoreThatDoesNotSync(t *testing.T) {
	d := newDisk(t)
	plugin, checksum := buildUnsynced(t)
	for trial := range count(2, 30) {
		b := newDiskBroker(t, d)
		if err := os.MkdirAll(b.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		config, _ := json.Marshal(map[string]string{"dir": filepath.Join(b.dir, "store")})
		b.env = append(b.env, "CARILLON_STORE_PATH="+plugin, "CARILLON_STORE_SHA256="+checksum, "CARILLON_STORE_CONFIG="+string(config))
		b.start()
		_, err := tryLoad(t, b, powerOptions(b, "n"), workload.Floor{}, func(ctx context.Context, l *workload.Load) {
			cutUnderLoad(ctx, t, b, d, l)
			if err := b.tryStart(); err != nil {
				t.Logf("trial %d: the broker does not start any more: found", trial)
				l.Close()
			}
		})
		if err == nil {
			t.Errorf("trial %d: nothing was found", trial)
		} else {
			t.Logf("trial %d: found: %.200s", trial, err)
		}
		b.kill()
		eventually(t, 10*time.Second, "the folder is empty", func() bool { return os.RemoveAll(b.dir) == nil })
	}
}

// buildUnsynced builds store-bolt with the option of bbolt that leaves out every fdatasync.
func buildUnsynced(t *testing.T) (path, checksum string) {
	t.Helper()
	const line = "InitialMmapSize: initialMmap(),"
	path = buildEdited(t, "plugins/store-bolt", []edit{{"plugins/store-bolt/storebolt/file.go", line, line + " NoSync: true,"}}, nil)
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%x", sha256.Sum256(binary))
}
