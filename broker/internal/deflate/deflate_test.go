package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
)

// orders is JSON of about n bytes, of the kind that an API sends.
func orders(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	b := []byte(`{"orders":[`)
	for len(b) < n-120 {
		b = fmt.Appendf(b, `{"id":%d,"status":%q,"total":%.2f,"currency":"EUR","customer":{"name":%q,"city":%q},"updated":"2026-11-%02dT%02d:%02d:%02dZ"},`,
			100000+r.IntN(900000), pick("open", "paid", "shipped", "returned"), r.Float64()*500,
			pick("Ada Lovelace", "Alan Turing", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov"),
			pick("Berlin", "Paris", "Rotterdam", "Lisboa", "Oslo"), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60))
	}
	return append(b, `{}]}`...)
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// [MSG-5]: one raw DEFLATE stream to its end, and nothing behind it.
func TestWhatIsCompressed(t *testing.T) {
	p := NewPool(1)
	for _, tt := range []struct {
		name    string
		payload []byte
		want    Result
	}{
		{"JSON", orders(2000), Done},
		{"much JSON", orders(64 << 10), Done},
		{"zeros", make([]byte, 1<<20), Done},
		{"noise", noise(2000), Worthless},
		{"noise with a little order", append(noise(1900), make([]byte, 200)...), Worthless},
		{"nothing", nil, Worthless},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, result := p.Append([]byte("x"), tt.payload)
			if result != tt.want {
				t.Fatalf("found %d, wanted %d", result, tt.want)
			}
			if result != Done {
				if string(out) != "x" {
					t.Errorf("found %d bytes left behind", len(out))
				}
				return
			}
			in := bytes.NewReader(out[1:])
			back, err := io.ReadAll(flate.NewReader(in))
			if err != nil || !bytes.Equal(back, tt.payload) || in.Len() > 0 {
				t.Errorf("found %d bytes, %d behind them: %v", len(back), in.Len(), err)
			}
			if 8*(len(out)-1) > 7*len(tt.payload) {
				t.Errorf("%d bytes became %d", len(tt.payload), len(out))
			}
		})
	}
}

// Writers are not made beyond their number, whoever asks.
func TestWritersAreBounded(t *testing.T) {
	p := NewPool(2)
	first, second := p.take(), p.take()
	if first == nil || second == nil {
		t.Fatal("found no writer")
	}
	if _, result := p.Append(nil, orders(1000)); result != Busy {
		t.Errorf("found %d, wanted that it is busy", result)
	}
	p.free <- first
	p.free <- second
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if out, result := p.Append(nil, orders(1000)); result == Done && len(out) == 0 {
					t.Error("found nothing")
				}
			}
		})
	}
	all.Wait()
	if made := p.made.Load(); made != 2 || len(p.free) != 2 {
		t.Errorf("found %d writers made and %d free, wanted 2", made, len(p.free))
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{600, 1200, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, in := NewPool(1), orders(n)
			dst := make([]byte, 0, n)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				out, result := p.Append(dst, in)
				if result != Done {
					b.Fatal(result)
				}
				b.ReportMetric(float64(len(out))/float64(len(in)), "ratio")
			}
		})
	}
}
