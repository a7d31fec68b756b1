package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Door is how subscribers receive.
type Door string

// The doors.
const (
	WebSocket Door = "ws"
	SSE       Door = "sse"
	Poll      Door = "poll"
)

// subscribers are the clients of a fan-out.
type subscribers struct {
	ws   []*conn
	http []httpSubscriber
}

// httpSubscriber is one that receives by HTTP.
type httpSubscriber interface {
	// messages reads until n have come, in order, and returns how many have.
	messages(n int) (int, error)
	close()
}

var (
	_ httpSubscriber = (*sseClient)(nil)
	_ httpSubscriber = (*pollClient)(nil)
)

// subscribeAll connects the subscribers of a fan-out through its door. Those that have been connected are returned with an error, too.
func subscribeAll(ctx context.Context, s Server, d Dialect, o FanoutOptions) (subs subscribers, err error) {
	if o.Door == WebSocket {
		subs.ws, err = connectAll(ctx, s, d, o.Subscribers, func(int) string { return o.Topic }, 512)
		return subs, err
	}
	subs.http = make([]httpSubscriber, o.Subscribers)
	err = each(o.Subscribers, func(i int) error {
		c, err := newHTTPClient(ctx, s, o)
		if err != nil {
			return err
		}
		if o.Door == SSE {
			subs.http[i], err = c.stream()
		} else {
			subs.http[i], err = c.poll()
		}
		return err
	})
	return subs, err
}

// read returns when each has got n messages, or with the first error.
func (s subscribers) read(ctx context.Context, n int) error {
	if len(s.http) == 0 {
		return (&pump{conns: s.ws, got: until(n)}).run(ctx)
	}
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	all := make([]func(context.Context) error, len(s.http))
	for i, c := range s.http {
		all[i] = func(context.Context) error {
			_, err := c.messages(n)
			return err
		}
	}
	return together(ctx, all...)
}

func (s subscribers) close() {
	closeAll(s.ws)
	for _, c := range s.http {
		if c != nil {
			c.close()
		}
	}
}

// httpClient is a connection that asks for /v1/subscribe.
type httpClient struct {
	nc    net.Conn
	host  string
	path  string // with the query
	token string
	order
}

func newHTTPClient(ctx context.Context, s Server, o FanoutOptions) (*httpClient, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	nc, err := s.connect(ctx, u)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(u.Path, "/ws") + "/v1/subscribe?retained=false&filter=" + url.QueryEscape(o.Topic)
	return &httpClient{nc: nc, host: u.Host, path: path, token: o.Token}, nil
}

func (c *httpClient) close() { c.nc.Close() }

func (c *httpClient) get(more string) error {
	authorization := ""
	if c.token != "" {
		authorization = "Authorization: Bearer " + c.token + "\r\n"
	}
	_, err := fmt.Fprintf(c.nc, "GET %s%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", c.path, more, c.host, authorization)
	return err
}

// answer reads the head of an answer.
func answer(br *bufio.Reader) (*http.Response, error) {
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return nil, fmt.Errorf("subscribing was answered %s: %s", resp.Status, body)
	}
	return resp, nil
}

// sseClient reads a stream of events.
type sseClient struct {
	*httpClient
	buf []byte
	n   int
}

var (
	eventEnd  = []byte("\n\n")
	eventLive = []byte("event: live\n")
)

// stream subscribes and waits until the stream is live.
func (c *httpClient) stream() (httpSubscriber, error) {
	s := &sseClient{httpClient: c, buf: make([]byte, 32<<10)}
	if err := c.get(""); err != nil {
		return s, err
	}
	br := bufio.NewReaderSize(c.nc, 1024)
	if _, err := answer(br); err != nil {
		return s, err
	}
	early, _ := br.Peek(br.Buffered())
	s.n = copy(s.buf, early)
	for live := false; !live; {
		events, err := s.read()
		if err != nil {
			return s, err
		}
		live = bytes.Contains(events, eventLive)
	}
	return s, nil
}

// read waits for whole events; they are valid until the next read.
func (s *sseClient) read() ([]byte, error) {
	for {
		if i := bytes.LastIndex(s.buf[:s.n], eventEnd); i >= 0 {
			whole := bytes.Clone(s.buf[:i+len(eventEnd)])
			s.n = copy(s.buf, s.buf[i+len(eventEnd):s.n])
			return whole, nil
		}
		if s.n == len(s.buf) {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		n, err := s.nc.Read(s.buf[s.n:])
		if err != nil {
			return nil, err
		}
		s.n += n
	}
}

func (s *sseClient) messages(n int) (int, error) {
	total := 0
	for total < n {
		events, err := s.read()
		if err == nil && (bytes.Contains(events, []byte("event: gap\n")) || bytes.Contains(events, []byte("event: end\n"))) {
			err = errors.New("the broker told of a gap or an end: the run is invalid")
		}
		var count int
		if err == nil {
			count, err = s.takeJSON(events)
		}
		if err != nil {
			return total, fmt.Errorf("after %d of %d messages: %w", total, n, err)
		}
		total += count
	}
	return total, nil
}

// pollClient polls, over one connection.
type pollClient struct {
	*httpClient
	br     *bufio.Reader
	cursor string
}

// poll asks for the cursor to begin with.
func (c *httpClient) poll() (httpSubscriber, error) {
	p := &pollClient{httpClient: c, br: bufio.NewReaderSize(c.nc, 16<<10)}
	_, err := p.ask("&mode=poll")
	return p, err
}

func (p *pollClient) ask(more string) (count int, err error) {
	if err := p.get(more); err != nil {
		return 0, err
	}
	resp, err := answer(p.br)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	const key = `"cursor":"`
	i := bytes.LastIndex(body, []byte(key))
	if i < 0 || bytes.Contains(body, []byte(`"gap":{`)) {
		return 0, fmt.Errorf("found an answer without a cursor, or with a gap: %.200s", body)
	}
	cursor, _, _ := bytes.Cut(body[i+len(key):], []byte(`"`))
	p.cursor = string(cursor)
	return p.takeJSON(body)
}

func (p *pollClient) messages(n int) (int, error) {
	total := 0
	for total < n {
		count, err := p.ask("&mode=poll&after=" + p.cursor)
		if err != nil {
			return total, fmt.Errorf("after %d of %d messages: %w", total, n, err)
		}
		total += count
	}
	return total, nil
}
