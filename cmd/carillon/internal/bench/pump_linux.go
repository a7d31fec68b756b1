package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// split gives each goroutine that polls its connections; plain are those that cannot be polled.
func split(conns []*conn) (raw [][]*conn, plain []*conn) {
	raw = make([][]*conn, min(runtime.GOMAXPROCS(0), max(len(conns), 1)))
	for i, c := range conns {
		if c.detach() {
			raw[i%len(raw)] = append(raw[i%len(raw)], c)
		} else {
			plain = append(plain, c)
		}
	}
	return raw, plain
}

// detached is a connection that the runtime's poller does not know, so that what comes wakes only who polls for it.
type detached struct {
	net.Conn // closed; for its addresses
	fd       int
}

// detach takes c away from the runtime's poller, and reports whether that was possible.
func (c *conn) detach() bool {
	if _, ok := c.nc.(*detached); ok {
		return true
	}
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	fd := -1
	err = raw.Control(func(old uintptr) {
		var dupErr error
		if fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); dupErr != nil {
			fd = -1
		}
	})
	if err != nil || fd < 0 {
		return false
	}
	_ = tcp.Close() // the duplicate stays
	c.nc = &detached{Conn: tcp, fd: fd}
	return true
}

// Write implements net.Conn. It waits while the socket is full.
func (d *detached) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, err := unix.Write(d.fd, b[sent:])
		switch {
		case err == nil:
			sent += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := d.await(unix.POLLOUT); err != nil {
				return sent, err
			}
		default:
			return sent, os.NewSyscallError("write", err)
		}
	}
	return sent, nil
}

// Read implements net.Conn. It waits until something comes.
func (d *detached) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(d.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if err := d.await(unix.POLLIN); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (d *detached) await(events int16) error {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: events}}, int(patience/time.Millisecond))
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return os.NewSyscallError("poll", err)
	case n == 0:
		return errStuck
	}
	return nil
}

// Close implements net.Conn.
func (d *detached) Close() error { return unix.Close(d.fd) }

// SetLinger has Close reset the connection if seconds is 0.
func (d *detached) SetLinger(seconds int) error {
	return unix.SetsockoptLinger(d.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(seconds)})
}

// poller reads from its connections, with one system call for whatever many have become ready and one for each.
type poller struct {
	*pump
	epoll int
	byFD  map[int32]*conn
	times *times
	buf   []byte
}

func (p *pump) poll(ctx context.Context, conns []*conn) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	defer func() { _ = unix.Close(epoll) }() // nothing is left in it
	q := &poller{pump: p, epoll: epoll, byFD: make(map[int32]*conn, len(conns)), times: p.newTimes(), buf: make([]byte, 256<<10)}
	for _, c := range conns {
		if err := q.add(c); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, 512)
	for quiet := time.Duration(0); len(q.byFD) > 0; {
		n, err := unix.EpollWait(epoll, events, int(time.Second/time.Millisecond))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("epoll_wait", err)
		case n == 0:
			if quiet += time.Second; quiet >= patience {
				return q.stuck()
			}
			continue
		}
		quiet = 0
		if err := q.batch(events[:n]); err != nil {
			return err
		}
	}
	return nil
}

// batch reads from all that have become ready.
func (q *poller) batch(events []unix.EpollEvent) error {
	began := clock()
	for _, e := range events {
		if c := q.byFD[e.Fd]; c != nil {
			if err := q.readable(c, e); err != nil {
				return c.failed(err)
			}
		}
	}
	if q.times != nil {
		record(q.times.batches, clock()-began)
	}
	return nil
}

// stuck is the error for connections to which nothing comes any more.
func (q *poller) stuck() error {
	for _, c := range q.byFD {
		return c.failed(errStuck)
	}
	return nil
}

// add begins to poll for c, unless what it has read already is all.
func (q *poller) add(c *conn) error {
	fd := int32(c.nc.(*detached).fd)
	c.times = q.times
	if err := unix.EpollCtl(q.epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: fd}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	q.byFD[fd] = c
	if c.n == 0 {
		return nil
	}
	_, err := q.take(c, fd, 0)
	return err
}

// readable reads all that c has, to its end if that has come: the kernel does not tell of it again.
func (q *poller) readable(c *conn, e unix.EpollEvent) error {
	ended := e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	for {
		if c.n >= len(q.buf)/2 { // a frame that long
			q.buf = make([]byte, 2*len(q.buf))
		}
		room := q.buf[c.n:]
		n, err := unix.Read(int(e.Fd), room)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return os.NewSyscallError("read", err)
		case n == 0:
			return io.EOF
		}
		if done, err := q.take(c, e.Fd, n); err != nil || done || n < len(room) && !ended {
			return err
		}
	}
}

// take looks at what is left of c's last read and at read bytes that stand behind the place for that.
func (q *poller) take(c *conn, fd int32, read int) (done bool, err error) {
	copy(q.buf, c.buf[:c.n])
	b := q.buf[:c.n+read]
	now := clock()
	if q.times != nil {
		q.times.now = now
	}
	used, counts, err := c.consume(b)
	if err != nil {
		return false, err
	}
	rest := b[used:]
	if len(rest) > len(c.buf) {
		c.buf = make([]byte, len(rest))
	}
	c.n = copy(c.buf, rest)
	if done, err = q.got(c, counts, now); done {
		delete(q.byFD, fd)
		_ = unix.EpollCtl(q.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) // it is polled for no longer than the epoll lives
	}
	return done, err
}
