package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// driver is the program that drives an SDK: it takes commands and tells events, a JSON object a line. README.md says which.
type driver struct {
	process *exec.Cmd
	in      io.WriteCloser
	log     *transcript
	reading sync.WaitGroup

	mu     sync.Mutex
	queues map[string][]map[string]any // events by what they are about, see about
	ended  bool
	news   chan struct{} // one waits in it when something has been added
}

// driverStart is how long a driver may take until it is ready.
const driverStart = 20 * time.Second

// driverEnd is how long a driver may take to end when nothing more is wanted of it.
const driverEnd = 3 * time.Second

func startDriver(ctx context.Context, command []string, log *transcript) (*driver, error) {
	if len(command) == 0 {
		return nil, errors.New("there is no driver")
	}
	d := &driver{process: exec.CommandContext(ctx, command[0], command[1:]...), log: log, queues: map[string][]map[string]any{}, news: make(chan struct{}, 1)}
	d.process.Stderr = os.Stderr
	d.process.WaitDelay = driverEnd
	var err error
	if d.in, err = d.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("driver: %w", err)
	}
	d.reading.Go(func() { d.read(out) })
	return d, nil
}

// ready waits for the driver's first event, and reports as a skip that the SDK lacks something that the script needs.
func (d *driver) ready(ctx context.Context, s *Script) error {
	ctx, cancel := context.WithTimeout(ctx, driverStart)
	defer cancel()
	e, err := d.next(ctx, "ready")
	if err != nil {
		return fmt.Errorf("%w, wanted the event ready", err)
	}
	lacks, _ := e["lacks"].([]any)
	for _, need := range s.Needs {
		if slices.Contains(lacks, any(need)) {
			return &skip{"the SDK's driver says that it lacks " + need}
		}
	}
	return nil
}

// read sorts events until there are no more.
func (d *driver) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		var e map[string]any
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = map[string]any{"event": "garbage", "line": lines.Text()}
		}
		d.log.add("driver", "told", lines.Text())
		d.mu.Lock()
		key := about(e)
		d.queues[key] = append(d.queues[key], e)
		d.mu.Unlock()
		d.wake()
	}
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.wake()
}

func (d *driver) wake() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// about is what an event is about: a subscription, a publish, or its kind. The order of events is looked at among those about the same.
func about(e map[string]any) string {
	for _, name := range []string{"subscription", "name"} {
		if of, ok := e[name].(string); ok {
			return name + " " + of
		}
	}
	return fmt.Sprint(e["event"])
}

func (d *driver) send(command map[string]any) error {
	line, err := json.Marshal(command)
	if err != nil {
		return err
	}
	d.log.add("driver", "is to", show(hidden(command)))
	_, err = d.in.Write(append(line, '\n'))
	return err
}

// event takes the next event about the same as the one wanted, {kind: {…}}. Of statuses others are passed over.
func (d *driver) event(ctx context.Context, vars variables, want map[string]any) error {
	kinds := slices.Collect(maps.Keys(want))
	if len(kinds) != 1 {
		return fmt.Errorf("%s is not one event", show(want))
	}
	inner, _ := want[kinds[0]].(map[string]any)
	wanted := map[string]any{"event": kinds[0]}
	maps.Copy(wanted, inner)
	key := about(wanted)
	for {
		e, err := d.next(ctx, key)
		if err != nil {
			return fmt.Errorf("%w, wanted the event %s", err, show(want))
		}
		err = vars.matchMap(wanted, e)
		if err == nil || kinds[0] != "status" {
			if err != nil {
				return fmt.Errorf("event: %w, in %s", err, show(e))
			}
			return nil
		}
	}
}

func (d *driver) next(ctx context.Context, key string) (map[string]any, error) {
	for {
		d.mu.Lock()
		queue := d.queues[key]
		if len(queue) > 0 {
			d.queues[key] = queue[1:]
			d.mu.Unlock()
			return queue[0], nil
		}
		ended := d.ended
		d.mu.Unlock()
		if ended {
			return nil, errors.New("the driver has ended")
		}
		select {
		case <-d.news:
		case <-ctx.Done():
			return nil, errLate
		}
	}
}

// silent waits so long and reports an event about a subscription or a publish that nobody has waited for.
func (d *driver) silent(ctx context.Context, wait time.Duration) error {
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.queues)) {
		if key != "status" && len(d.queues[key]) > 0 {
			return fmt.Errorf("found the event %s, wanted none", show(d.queues[key][0]))
		}
	}
	return nil
}

// close ends the driver.
func (d *driver) close() {
	d.in.Close() // the end of its input is its own
	late := time.AfterFunc(driverEnd, func() { _ = d.process.Process.Kill() })
	d.reading.Wait()
	_ = d.process.Wait() // how it ends tells nothing
	late.Stop()
}
