package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/storev1pb"
)

// keyedRecord has every field that a record may have.
func keyedRecord(ref uint64) broker.Record {
	r := record(ref)
	r.Expires, r.Key, r.Digest = 1_700_000_001_000, bytes.Repeat([]byte{byte(ref)}, 16), bytes.Repeat([]byte{9}, 32)
	r.Headers = map[string]string{"traceparent": "00-1", "": "", "empty": ""}
	return r
}

var elidedRecord = broker.Record{Offset: 1 << 40, Origin: run1, Ref: 1 << 63, Elided: true}

// encoded is what m is on the wire, by the codec.
func encoded(t testing.TB, m any) []byte {
	t.Helper()
	data, err := newCodec().Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data.Materialize()
}

// seeds are encoded messages, and some that are none.
func seeds(f *testing.F) {
	for _, m := range []any{
		&appendRequest{},
		&appendRequest{batch: 1 << 60, records: []broker.Record{record(1), keyedRecord(2), {}, elidedRecord}, index: []int{0, 1, 2, 3}},
		&appendResponse{batch: 2, results: []appendResult{
			{}, {offset: 3}, {offset: 1 << 63, duplicate: true, repeats: true}, {refusal: &commonv1pb.Refusal{Code: "quota", RetryAfterMs: 5}},
		}},
		&followResponse{records: []broker.Record{elidedRecord, committed(7, 3)}, caughtUp: &storev1pb.CaughtUp{Term: run2[:], Head: 7}},
	} {
		f.Add(encoded(f, m))
	}
	for _, broken := range []string{
		"\x0a", "\x12\x01", "\x12\x02\x08", "\x08\x80", "\x00\x01", "\x0b\x0c", "\x0b", "\x0c", "\x12\x03\x2a\x01\xff", "\x12\x04\x4a\x02\x0a\x01",
		"\x12\x05\x4a\x03\x0a\x01\xff", "\x0a\x03\x12\x01\x01", "\x12\x03\x12\x01\x01", "\x12\x02\x18\x07", "\xff\xff\xff\xff\x7f\x00", strings.Repeat("\xff", 11),
	} {
		f.Add([]byte(broken))
	}
}

func FuzzAppendRequestIsProtobuf(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m appendRequest
		var p storev1pb.AppendRequest
		if !sameOutcome(t, m.decode(bytes.Clone(b)), proto.Unmarshal(b, &p)) {
			return
		}
		sameRecords(t, m.records, m.bad, p.GetRecords())
		if m.batch != p.GetBatch() {
			t.Errorf("batch %d, wanted %d", m.batch, p.GetBatch())
		}
		m.index = make([]int, len(m.records))
		for i := range m.index {
			m.index[i] = i
		}
		if m.bad == nil {
			again := storev1pb.AppendRequest{Batch: m.batch, Records: recordsToWire(m.records)}
			sameBytes(t, &m, &again, &storev1pb.AppendRequest{})
		}
	})
}

func FuzzAppendResponseIsProtobuf(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := appendResponse{batch: 9, results: make([]appendResult, 3, 8)} // one that was used before
		var p storev1pb.AppendResponse
		if !sameOutcome(t, m.decode(bytes.Clone(b)), proto.Unmarshal(b, &p)) {
			return
		}
		again := storev1pb.AppendResponse{Batch: m.batch}
		for _, r := range m.results {
			again.Results = append(again.Results, &storev1pb.AppendResult{
				Offset: r.offset, Duplicate: r.duplicate, Repeats: r.repeats, Refusal: r.refusal,
			})
		}
		want := proto.Clone(&p).(*storev1pb.AppendResponse)
		if diff := cmp.Diff(want, &again, protocmp.Transform(), protocmp.IgnoreUnknown()); diff != "" {
			t.Errorf("decoded (-want +got):\n%s", diff)
		}
		sameBytes(t, &m, &again, &storev1pb.AppendResponse{})
	})
}

func FuzzFollowResponseIsProtobuf(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m followResponse
		var p storev1pb.FollowResponse
		if !sameOutcome(t, m.decode(bytes.Clone(b)), proto.Unmarshal(b, &p)) {
			return
		}
		sameRecords(t, m.records, m.bad, p.GetRecords())
		if diff := cmp.Diff(p.GetCaughtUp(), m.caughtUp, protocmp.Transform()); diff != "" {
			t.Errorf("caught up (-want +got):\n%s", diff)
		}
		if m.bad == nil {
			sameBytes(t, &m, &storev1pb.FollowResponse{Records: recordsToWire(m.records), CaughtUp: m.caughtUp}, &storev1pb.FollowResponse{})
		}
	})
}

// sameOutcome reports whether both have decoded; it is an error if only one has.
func sameOutcome(t *testing.T, ours, generated error) bool {
	if (ours == nil) != (generated == nil) {
		t.Fatalf("decoding ended with %v, the generated code with %v", ours, generated)
	}
	return ours == nil
}

func sameRecords(t *testing.T, got []broker.Record, bad error, p []*storev1pb.Record) {
	want, wrong := recordsFromWire(p)
	if (bad == nil) != (wrong == nil) {
		t.Fatalf("found wrong with the records: %v, wanted %v", bad, wrong)
	}
	if bad != nil {
		return
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// sameBytes wants ours to be encoded as something that empty decodes to want, in as many bytes as the generated code needs.
func sameBytes(t *testing.T, ours message, want, empty proto.Message) {
	b := encoded(t, ours)
	if len(b) != ours.size() || len(b) != proto.Size(want) {
		t.Errorf("%d bytes, announced were %d, the generated code needs %d", len(b), ours.size(), proto.Size(want))
	}
	if err := proto.Unmarshal(b, empty); err != nil {
		t.Fatalf("the generated code does not read it: %v", err)
	}
	if diff := cmp.Diff(want, empty, protocmp.Transform()); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
}

func TestTheCodecKnowsEveryField(t *testing.T) {
	for want, m := range map[string]proto.Message{
		"offset origin ref elided topic retain payload content_type headers time_ms user expires_ms key digest exclude": &storev1pb.Record{},
		"batch records":                    &storev1pb.AppendRequest{},
		"batch results":                    &storev1pb.AppendResponse{},
		"offset duplicate refusal repeats": &storev1pb.AppendResult{},
		"records caught_up":                &storev1pb.FollowResponse{},
	} {
		fields := m.ProtoReflect().Descriptor().Fields()
		var names []string
		for i := range fields.Len() {
			names = append(names, string(fields.Get(i).Name()))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%T has the fields %q, the codec knows %q: add what is missing to recordcodec.go or storemessages.go, and here", m, got, want)
		}
	}
}

func TestTheCodecLeavesOtherMessagesToGRPC(t *testing.T) {
	want := &storev1pb.FollowRequest{After: 7, Origin: run1[:]}
	got := &storev1pb.FollowRequest{}
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(encoded(t, want))}, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := newCodec().Marshal("text"); err == nil {
		t.Error("a string was encoded")
	}
}

// benchmarkMessages are the three messages of a batch of 64 records.
func benchmarkMessages() (map[string]message, map[string]func() message) {
	request := &appendRequest{batch: 1}
	response, follow := &appendResponse{batch: 1}, &followResponse{}
	for i := range 64 {
		r := keyedRecord(uint64(i))
		r.Headers = nil
		request.records, request.index = append(request.records, r), append(request.index, i)
		response.results = append(response.results, appendResult{offset: uint64(1_000_000 + i)})
		follow.records = append(follow.records, broker.Record{Offset: uint64(1_000_000 + i), Origin: run1, Ref: uint64(i), Elided: true})
	}
	return map[string]message{"request": request, "response": response, "follow": follow}, map[string]func() message{
		"request":  func() message { return &appendRequest{} },
		"response": func() message { return response },
		"follow":   func() message { return &followResponse{} },
	}
}

// BenchmarkEncode is one message about 64 records.
func BenchmarkEncode(b *testing.B) {
	messages, _ := benchmarkMessages()
	for name, m := range messages {
		b.Run(name, func(b *testing.B) {
			codec := newCodec()
			b.ReportAllocs()
			for b.Loop() {
				data, err := codec.Marshal(m)
				if err != nil {
					b.Fatal(err)
				}
				data.Free()
			}
		})
	}
}

// BenchmarkDecode is one message about 64 records.
func BenchmarkDecode(b *testing.B) {
	messages, empty := benchmarkMessages()
	for name, m := range messages {
		b.Run(name, func(b *testing.B) {
			codec, data := newCodec(), mem.BufferSlice{mem.SliceBuffer(encoded(b, m))}
			b.ReportAllocs()
			for b.Loop() {
				if err := codec.Unmarshal(data, empty[name]()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGenerated is what the generated code takes for the records of BenchmarkEncode and BenchmarkDecode.
func BenchmarkGenerated(b *testing.B) {
	messages, _ := benchmarkMessages()
	request := messages["request"].(*appendRequest)
	data := encoded(b, request)
	b.Run(fmt.Sprintf("encode/%d", len(request.records)), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := proto.Marshal(&storev1pb.AppendRequest{Batch: 1, Records: recordsToWire(request.records)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(fmt.Sprintf("decode/%d", len(request.records)), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m storev1pb.AppendRequest
			if err := proto.Unmarshal(data, &m); err != nil {
				b.Fatal(err)
			}
			if _, err := recordsFromWire(m.GetRecords()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
