package host

import "runtime"

// spawner starts processes from one operating system thread, which lives as long as it does: Linux sends a child's death signal
// when the thread that started it ends, and Go's threads come and go.
type spawner struct {
	jobs  chan func()
	ended chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), ended: make(chan struct{})}
	go s.run()
	return s
}

func (s *spawner) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	slackenTimers()
	defer close(s.ended)
	for job := range s.jobs {
		job()
	}
}

// do runs f on the thread and returns its error.
func (s *spawner) do(f func() error) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- f() }
	return <-result
}

// close ends the thread, and with it on Linux whatever it has started.
func (s *spawner) close() {
	close(s.jobs)
	<-s.ended
}
