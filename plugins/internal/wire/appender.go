package wire

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
	"github.com/carillon-mq/carillon/protocol"
)

// errAppenderEnded is the outcome of a batch given to an appender that has ended.
var errAppenderEnded = errors.New("the connection to the store has ended")

// appender sends batches over one stream at a time, without waiting for answers. When the stream breaks, everything without an
// answer fails, and the next batch opens a new stream. No lock is held while done is called.
type appender struct {
	rpc  storev1pb.StoreServiceClient
	wake chan struct{} // something is queued

	mu    sync.Mutex
	ended error
	queue []*part // not sent yet
	sent  []*part // sent and not answered
	last  uint64  // highest offset answered on this stream
}

// batch is one call of Append.
type batch struct {
	records []broker.Record
	results []broker.AppendResult
	parts   int // without an answer
	done    func([]broker.AppendResult, error)
}

// part is the piece of a batch that goes into one message: the records with these indexes.
type part struct {
	batch *batch
	index []int
}

func newAppender(rpc storev1pb.StoreServiceClient) *appender {
	return &appender{rpc: rpc, wake: make(chan struct{}, 1)}
}

func (a *appender) append(records []broker.Record, done func([]broker.AppendResult, error)) {
	b := &batch{records: records, results: make([]broker.AppendResult, len(records)), done: done}
	parts := b.split()
	if len(parts) == 0 {
		done(b.results, nil)
		return
	}
	a.mu.Lock()
	ended := a.ended
	if ended == nil {
		a.queue = append(a.queue, parts...)
	}
	a.mu.Unlock()
	if ended != nil {
		done(nil, ended)
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// split cuts a batch into messages. Records that cannot cross the wire are refused here.
func (b *batch) split() []*part {
	var parts []*part
	size := 0
	for i := range b.records {
		r := &b.records[i]
		b.results[i].Ref = r.Ref
		if b.results[i].Err = refuseRecord(r); b.results[i].Err != nil {
			continue
		}
		size += recordSize(r)
		if len(parts) == 0 || size > pageBytes || len(parts[len(parts)-1].index) == pageRecords {
			parts, size = append(parts, &part{batch: b}), recordSize(r)
		}
		last := parts[len(parts)-1]
		last.index = append(last.index, i)
	}
	b.parts = len(parts)
	return parts
}

func (a *appender) run(ctx context.Context) {
	for {
		select {
		case <-a.wake:
			a.fail(a.stream(ctx))
		case <-ctx.Done():
			a.mu.Lock()
			a.ended = errAppenderEnded
			a.mu.Unlock()
			a.fail(context.Cause(ctx))
			return
		}
	}
}

// fail answers everything without an answer: its outcome is unknown. Only the first part of a batch does it.
func (a *appender) fail(err error) {
	a.mu.Lock()
	parts := append(a.sent, a.queue...)
	a.sent, a.queue, a.last = nil, nil, 0
	a.mu.Unlock()
	for _, p := range parts {
		if p.batch.parts > 0 {
			p.batch.parts = 0
			p.batch.done(nil, err)
		}
	}
}

// stream opens a stream and serves it until it breaks.
func (a *appender) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := a.rpc.Append(ctx, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return err
	}
	var receiver sync.WaitGroup
	receiver.Go(func() { cancel(a.receive(stream)) })
	err = a.send(ctx, stream)
	cancel(err)
	receiver.Wait()
	return context.Cause(ctx)
}

func (a *appender) send(ctx context.Context, stream grpc.ClientStream) error {
	for n := uint64(1); ; n++ {
		p := a.next()
		for p == nil {
			select {
			case <-a.wake:
				p = a.next()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := stream.SendMsg(&appendRequest{batch: n, records: p.batch.records, index: p.index})
		if errors.Is(err, io.EOF) { // the reason is for the receiver
			<-ctx.Done()
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// next moves a part from the queue to those on their way.
func (a *appender) next() *part {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return nil
	}
	p := a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	a.sent = append(a.sent, p)
	return p
}

func (a *appender) receive(stream grpc.ClientStream) error {
	var m appendResponse
	for n := uint64(1); ; n++ {
		err := stream.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			return malformed("the store ended the stream without an error")
		}
		if err != nil {
			return err
		}
		if m.batch != n {
			return malformed("an answer to batch %d, wanted to %d", m.batch, n)
		}
		if err := a.answered(m.results); err != nil {
			return err
		}
	}
}

// answered settles the oldest part on its way.
func (a *appender) answered(results []appendResult) error {
	a.mu.Lock()
	if len(a.sent) == 0 || len(a.sent[0].index) != len(results) {
		a.mu.Unlock()
		return malformed("an answer with %d results to no such batch", len(results))
	}
	p := a.sent[0]
	a.mu.Unlock()
	for i, at := range p.index {
		result, err := a.resultFromWire(&results[i])
		if err != nil {
			return err
		}
		result.Ref = p.batch.records[at].Ref
		p.batch.results[at] = result
	}
	a.mu.Lock()
	a.sent[0] = nil
	a.sent = a.sent[1:]
	a.mu.Unlock()
	if p.batch.parts--; p.batch.parts == 0 {
		p.batch.done(p.batch.results, nil)
	}
	return nil
}

func (a *appender) resultFromWire(p *appendResult) (broker.AppendResult, error) {
	if p.refusal != nil {
		if p.offset != 0 || p.duplicate || p.repeats {
			return broker.AppendResult{}, malformed("a record both refused and committed")
		}
		refusal, err := refusalFromWire(p.refusal, refusesRecord)
		return broker.AppendResult{Err: refusal}, err
	}
	if p.duplicate {
		return broker.AppendResult{Offset: p.offset, Duplicate: true, Repeats: p.repeats}, nil
	}
	if p.repeats {
		return broker.AppendResult{}, malformed("a record repeats another one and is no duplicate")
	}
	if p.offset <= a.last {
		return broker.AppendResult{}, malformed("offset %d was given after %d", p.offset, a.last)
	}
	a.last = p.offset
	return broker.AppendResult{Offset: p.offset}, nil
}

// resultToWire is the plugin's side. A code that the contract does not have becomes store_unavailable.
func resultToWire(r *broker.AppendResult) appendResult {
	if r.Err == nil {
		return appendResult{offset: r.Offset, duplicate: r.Duplicate, repeats: r.Repeats}
	}
	refusal := r.Err
	if !refusesRecord(refusal.Code) {
		refusal = protocol.Errorf(protocol.CodeStoreUnavailable, "%s", refusal.Error())
	}
	return appendResult{refusal: refusalToWire(refusal)}
}
