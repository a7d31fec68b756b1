package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// appendRequest is AppendRequest of store.proto. What is sent are the records at index, what was received has none.
type appendRequest struct {
	batch   uint64
	records []broker.Record
	index   []int
	bad     error // what was received breaks the contract
}

const (
	requestBatch   protowire.Number = 1
	requestRecords protowire.Number = 2
)

func (m *appendRequest) size() int {
	n := sizeUint(requestBatch, m.batch)
	for _, i := range m.index {
		n += sizeLength(requestRecords, sizeRecord(&m.records[i]))
	}
	return n
}

func (m *appendRequest) appendTo(b []byte) []byte {
	b = appendUint(b, requestBatch, m.batch)
	for _, i := range m.index {
		b = appendRecord(appendLength(b, requestRecords, sizeRecord(&m.records[i])), &m.records[i])
	}
	return b
}

func (m *appendRequest) decode(b []byte) error {
	*m = appendRequest{records: make([]broker.Record, 0, count(b, requestRecords))}
	f := fields{b: b}
	for f.next() {
		switch {
		case f.is(requestBatch, protowire.VarintType):
			m.batch = f.varint()
		case f.is(requestRecords, protowire.BytesType):
			m.records = takeRecord(m.records, &f, &m.bad)
		default:
			f.skip()
		}
	}
	return f.err
}

// takeRecord decodes a field that is a record, and notes in bad the first one that breaks the contract.
func takeRecord(records []broker.Record, f *fields, bad *error) []broker.Record {
	records = append(records, broker.Record{})
	wrong, err := decodeRecord(f.bytes(), &records[len(records)-1])
	if f.err == nil {
		f.err = err
	}
	if *bad == nil {
		*bad = wrong
	}
	return records
}

// appendResponse is AppendResponse.
type appendResponse struct {
	batch   uint64
	results []appendResult
}

// appendResult is AppendResult.
type appendResult struct {
	offset             uint64
	duplicate, repeats bool
	refusal            *commonv1pb.Refusal
}

const (
	responseBatch   protowire.Number = 1
	responseResults protowire.Number = 2

	resultOffset    protowire.Number = 1
	resultDuplicate protowire.Number = 2
	resultRefusal   protowire.Number = 3
	resultRepeats   protowire.Number = 4
)

func (m *appendResponse) size() int {
	n := sizeUint(responseBatch, m.batch)
	for i := range m.results {
		n += sizeLength(responseResults, m.results[i].size())
	}
	return n
}

func (m *appendResponse) appendTo(b []byte) []byte {
	b = appendUint(b, responseBatch, m.batch)
	for i := range m.results {
		b = m.results[i].appendTo(appendLength(b, responseResults, m.results[i].size()))
	}
	return b
}

func (r *appendResult) size() int {
	n := sizeUint(resultOffset, r.offset) + sizeBool(resultDuplicate, r.duplicate) + sizeBool(resultRepeats, r.repeats)
	if r.refusal != nil {
		n += sizeLength(resultRefusal, proto.Size(r.refusal))
	}
	return n
}

func (r *appendResult) appendTo(b []byte) []byte {
	b = appendUint(b, resultOffset, r.offset)
	b = appendBool(b, resultDuplicate, r.duplicate)
	if r.refusal != nil {
		b = appendMessage(b, resultRefusal, r.refusal)
	}
	return appendBool(b, resultRepeats, r.repeats)
}

// appendMessage appends a generated one, which is valid.
func appendMessage(b []byte, num protowire.Number, m proto.Message) []byte {
	encoded, err := proto.Marshal(m)
	if err != nil {
		panic(err) // a text in it is not UTF-8, which was seen to
	}
	return append(appendLength(b, num, len(encoded)), encoded...)
}

func (m *appendResponse) decode(b []byte) error {
	m.batch, m.results = 0, m.results[:0]
	f := fields{b: b}
	for f.next() {
		switch {
		case f.is(responseBatch, protowire.VarintType):
			m.batch = f.varint()
		case f.is(responseResults, protowire.BytesType):
			m.results = append(m.results, takeResult(&f))
		default:
			f.skip()
		}
	}
	return f.err
}

func takeResult(f *fields) (r appendResult) {
	inner := fields{b: f.bytes()}
	for inner.next() {
		switch {
		case inner.is(resultOffset, protowire.VarintType):
			r.offset = inner.varint()
		case inner.is(resultDuplicate, protowire.VarintType):
			r.duplicate = protowire.DecodeBool(inner.varint())
		case inner.is(resultRepeats, protowire.VarintType):
			r.repeats = protowire.DecodeBool(inner.varint())
		case inner.is(resultRefusal, protowire.BytesType):
			if r.refusal == nil {
				r.refusal = &commonv1pb.Refusal{}
			}
			inner.merge(r.refusal)
		default:
			inner.skip()
		}
	}
	if f.err == nil {
		f.err = inner.err
	}
	return r
}

// merge takes a field that is a generated message.
func (f *fields) merge(m proto.Message) {
	b := f.bytes()
	if f.err == nil {
		f.err = proto.UnmarshalOptions{Merge: true}.Unmarshal(b, m)
	}
}

// followResponse is FollowResponse.
type followResponse struct {
	records  []broker.Record
	caughtUp *storev1pb.CaughtUp
	bad      error // what was received breaks the contract
}

const (
	followRecords  protowire.Number = 1
	followCaughtUp protowire.Number = 2
)

func (m *followResponse) size() int {
	n := 0
	for i := range m.records {
		n += sizeLength(followRecords, sizeRecord(&m.records[i]))
	}
	if m.caughtUp != nil {
		n += sizeLength(followCaughtUp, proto.Size(m.caughtUp))
	}
	return n
}

func (m *followResponse) appendTo(b []byte) []byte {
	for i := range m.records {
		b = appendRecord(appendLength(b, followRecords, sizeRecord(&m.records[i])), &m.records[i])
	}
	if m.caughtUp != nil {
		b = appendMessage(b, followCaughtUp, m.caughtUp)
	}
	return b
}

func (m *followResponse) decode(b []byte) error {
	*m = followResponse{records: make([]broker.Record, 0, count(b, followRecords))}
	f := fields{b: b}
	for f.next() {
		switch {
		case f.is(followRecords, protowire.BytesType):
			m.records = takeRecord(m.records, &f, &m.bad)
		case f.is(followCaughtUp, protowire.BytesType):
			if m.caughtUp == nil {
				m.caughtUp = &storev1pb.CaughtUp{}
			}
			f.merge(m.caughtUp)
		default:
			f.skip()
		}
	}
	return f.err
}
