package broker_test

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// TestWalkThroughs plays section 16 of the spec: what the client and somebody else send there is sent, and the broker has to send
// what stands there, and nothing else.
func TestWalkThroughs(t *testing.T) {
	_, section, _ := strings.Cut(specText(t), "\n## 16. Walk-throughs\n")
	synctest.Test(t, func(t *testing.T) {
		w := newWalk(t)
		packets := 0
		for _, block := range strings.Split(section, "```exchange\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			for line := range strings.Lines(block) {
				if !strings.HasPrefix(line, " ") { // what a line before says goes on
					w.line(line)
					packets++
				}
			}
		}
		w.nothingMore("the end")
		if packets < 40 {
			t.Errorf("found %d lines of packets", packets)
		}
		if err := <-w.drained; err != nil {
			t.Errorf("the drain: %v", err)
		}
		last := shownToken.FindAllString(section, -1)
		w.comesBackFrom(1, w.encoded(last[len(last)-1])[2:])
	})
}

var shownToken = regexp.MustCompile(`<01 E [0-9a-f]+ T [0-9a-f]+>`)

func specText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../spec/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// walk is one client's life.
type walk struct {
	t       *testing.T
	b       *broker.Broker
	store   *brokertest.Store
	other   *brokertest.Client
	client  *brokertest.Client
	tracker brokertest.Tracker
	sends   []byte            // one message, until the client waits for something
	came    []protocol.Packet // and was not looked at
	drained chan error
}

func newWalk(t *testing.T) *walk {
	t.Helper()
	began := time.Now()
	w := &walk{t: t, drained: make(chan error, 1)}
	w.b, w.store = startStored(t, broker.Options{Authenticator: tokens{
		"token-1": {User: "ada", Grants: grants("prices.>", "orders.>"), Expires: began.Add(time.Hour)},
		"token-2": {User: "ada", Grants: grants("prices.>"), Expires: began.Add(2 * time.Hour)},
	}})
	w.other = brokertest.Dial(t, w.b, broker.Everybody())
	return w
}

func (w *walk) line(line string) {
	w.t.Helper()
	who, what, _ := strings.Cut(strings.TrimSpace(line), " ")
	what = strings.TrimSpace(what)
	if who != "C" {
		w.send()
	}
	if who != "S" {
		w.nothingMore(line)
	}
	switch who {
	case "C":
		w.says(w.encoded(what))
	case "O":
		if err := w.other.SendBytes(w.encoded(what)); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
	case "S":
		w.hears(w.encoded(what), line)
	case "--":
		w.happens(what)
	default:
		w.t.Fatalf("found the line %q", line)
	}
	synctest.Wait()
}

// says has the client send a packet, from the position that it would send.
func (w *walk) says(b []byte) {
	w.t.Helper()
	switch p := decoded(w.t, b).(type) {
	case *protocol.Connect:
		w.client = brokertest.Open(w.t, w.b, broker.ConnInfo{})
	case *protocol.Subscribe:
		if p.Position != nil {
			w.comesBackFrom(p.ID, p.Position)
		}
		w.tracker.Subscribe(p)
	}
	w.sends = append(w.sends, b...)
}

// comesBackFrom fails the test if a subscription would not be resumed from there ([POS-10]).
func (w *walk) comesBackFrom(id uint64, position []byte) {
	w.t.Helper()
	if at := w.tracker.Token(w.tracker.Subs[id]); !slices.Equal(at, position) {
		w.t.Errorf("subscription %d: found it resumed from %x, wanted %x", id, position, at)
	}
}

func (w *walk) send() {
	w.t.Helper()
	if len(w.sends) > 0 {
		if err := w.client.SendBytes(w.sends); err != nil {
			w.t.Fatal(err)
		}
		w.sends = nil
		synctest.Wait()
	}
}

// take looks at what has come. Retained messages come in no order, and stand in that of their topics.
func (w *walk) take() {
	if w.client == nil {
		return
	}
	synctest.Wait()
	w.came = append(w.came, w.client.Packets()...)
	for i, p := range w.came {
		if r, ok := p.(*protocol.Replay); ok && r.Kind == protocol.ReplayRetained && len(w.came) > i+int(r.Count) {
			slices.SortFunc(w.came[i+1:][:r.Count], func(a, b protocol.Packet) int {
				return strings.Compare(a.(*protocol.Message).Topic, b.(*protocol.Message).Topic)
			})
		}
	}
}

func (w *walk) nothingMore(before string) {
	w.t.Helper()
	if w.take(); len(w.came) > 0 {
		w.t.Fatalf("before %q: found %q too", before, brokertest.Describe(w.came...))
	}
}

func (w *walk) hears(b []byte, line string) {
	w.t.Helper()
	if w.take(); len(w.came) == 0 {
		w.t.Fatalf("found nothing, wanted %q", line)
	}
	p := w.came[0]
	w.came = w.came[1:]
	if err := w.tracker.Handle(p); err != nil {
		w.t.Error(err)
	}
	want := decoded(w.t, b)
	sameRun(p, want)
	if !slices.Equal(p.Append(nil), want.Append(nil)) {
		w.t.Errorf("found %+v, wanted %+v: %s", p, want, line)
	}
}

// happens does what no packet says.
func (w *walk) happens(what string) {
	w.t.Helper()
	switch what, _, _ = strings.Cut(what, ","); what {
	case "the upgrade":
	case "the connection is lost; the client waits for its turn ([REC-1])":
		w.client.Leave()
	case "four fifths of the time to expires are over: the application is asked for a fresh token ([REF-6])":
	case "the store takes its time":
		w.store.Hold()
	case "the server is told to stop":
		go func() { w.drained <- w.b.Drain(w.t.Context()) }()
	case "the store has committed it":
		w.store.Release()
		time.Sleep(time.Second) // of the bubble: a drain looks now and then
	default:
		w.t.Fatalf("found the event %q", what)
	}
}

// sameRun takes out of two packets what differs from run to run, and what the text leaves out.
func sameRun(found, wanted protocol.Packet) {
	switch want := wanted.(type) {
	case *protocol.Connected:
		if p, ok := found.(*protocol.Connected); ok {
			want.Session, want.Expires, want.Limits = p.Session, p.Expires, p.Limits
		}
	case *protocol.Refreshed:
		if p, ok := found.(*protocol.Refreshed); ok {
			want.Expires, want.Limits = p.Expires, p.Limits
		}
	case *protocol.Message:
		if p, ok := found.(*protocol.Message); ok {
			want.Time = p.Time
		}
	case *protocol.ErrorPacket:
		if p, ok := found.(*protocol.ErrorPacket); ok {
			want.Detail, want.Hint, want.RetryAfter = leftOut(want.Detail, p.Detail), leftOut(want.Hint, p.Hint), p.RetryAfter
		}
	case *protocol.Disconnect:
		if p, ok := found.(*protocol.Disconnect); ok {
			want.After, want.Hint = p.After, leftOut(want.Hint, p.Hint)
		}
	}
}

// leftOut is text with what was found in the place of its end.
func leftOut(text, found string) string {
	if begin, cut := strings.CutSuffix(text, "…"); cut && strings.HasPrefix(found, begin) && found != begin {
		return found
	}
	return text
}

func decoded(t *testing.T, b []byte) protocol.Packet {
	t.Helper()
	raw, rest, err := protocol.Next(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%x: %v, with %d bytes behind", b, err, len(rest))
	}
	p, err := protocol.DecodePacket(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// encoded reads what text begins with, in the notation of the spec, and writes it as MessagePack.
func (w *walk) encoded(text string) []byte {
	w.t.Helper()
	at := w.b.Position()
	n := notation{t: w.t, rest: text, runs: strings.NewReplacer("E", hex.EncodeToString(at.Epoch[:]), "T", hex.EncodeToString(at.Term[:]), " ", "")}
	return n.value(nil)
}

type notation struct {
	t    *testing.T
	rest string
	runs *strings.Replacer
}

// upTo takes the text up to one of the characters.
func (n *notation) upTo(characters string) string {
	end := strings.IndexAny(n.rest, characters)
	if end < 0 {
		n.t.Fatalf("no %s in %q", characters, n.rest)
	}
	text := n.rest[:end]
	n.rest = n.rest[end:]
	return text
}

func (n *notation) value(dst []byte) []byte {
	switch n.rest = strings.TrimLeft(n.rest, " "); n.rest[0] {
	case '[':
		items, count := n.list(']', n.value)
		return append(append(dst, 0x90|count), items...)
	case '{':
		items, count := n.list('}', func(dst []byte) []byte {
			name := strings.TrimSpace(n.upTo(":}"))
			if name == "…" {
				return dst
			}
			n.rest = n.rest[1:]
			return n.value(appendText(dst, name))
		})
		return append(append(dst, 0x80|count), items...)
	case '"':
		quoted, err := strconv.QuotedPrefix(n.rest)
		text, _ := strconv.Unquote(quoted)
		if err != nil {
			n.t.Fatalf("%q: %v", n.rest, err)
		}
		n.rest = n.rest[len(quoted):]
		return appendText(dst, text)
	case '<':
		text := n.upTo(">")
		n.rest = n.rest[1:]
		b, err := hex.DecodeString(n.runs.Replace(text[1:]))
		if err != nil {
			n.t.Fatalf("%q: %v", text, err)
		}
		return append(append(dst, 0xc4, byte(len(b))), b...)
	}
	word := n.upTo(",]}")
	switch word {
	case "nil":
		return append(dst, 0xc0)
	case "true":
		return append(dst, 0xc3)
	case "false":
		return append(dst, 0xc2)
	}
	number, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		n.t.Fatal(err)
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), number)
}

// list reads elements up to end; one that is left out does not count.
func (n *notation) list(end byte, element func([]byte) []byte) (items []byte, count byte) {
	n.rest = strings.TrimLeft(n.rest[1:], " ")
	for n.rest[0] != end {
		before := len(items)
		if items = element(items); len(items) > before {
			count++
		}
		n.rest = strings.TrimLeft(n.rest, ", ")
	}
	n.rest = n.rest[1:]
	return items, count
}

func appendText(dst []byte, text string) []byte {
	return append(append(dst, 0xd9, byte(len(text))), text...)
}
