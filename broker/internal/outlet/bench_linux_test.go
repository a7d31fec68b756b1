package outlet_test

import (
	"io"
	"testing"

	"github.com/carillon-mq/carillon/broker/internal/outlet"
)

func BenchmarkSend(b *testing.B) {
	o, client := pair(b, false)
	go func() { _, _ = io.Copy(io.Discard, client) }() // until the pair ends
	piece := make([]byte, 180)
	b.ReportAllocs()
	for b.Loop() {
		done, err := o.Send(piece)
		if err == nil && !done {
			err = o.Flush()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	o, client := pair(b, false)
	piece := make([]byte, 180)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(piece); err != nil {
			b.Fatal(err)
		}
		if _, err := o.Read(); err != nil {
			b.Fatal(err)
		}
	}
}

// echo answers what comes and parks.
type echo struct {
	place outlet.Place
	o     *outlet.Outlet
	over  func()
}

func (e *echo) Run() {
	for {
		piece, _, err := e.o.TryRead()
		if err == nil && len(piece) > 0 {
			_, err = e.o.Send(piece)
		}
		if err != nil {
			e.over()
			return
		}
		e.o.Release()
		if e.place.Park() {
			return
		}
	}
}

func BenchmarkPark(b *testing.B) {
	var p outlet.Poller
	o, client := pair(b, false)
	ended := make(chan struct{})
	e := &echo{o: o}
	e.over = func() {
		o.End(false)
		p.Remove(&e.place)
		close(ended)
	}
	if !p.Add(&e.place, o, e) {
		b.Fatal("a TCP connection was not taken")
	}
	piece := make([]byte, 180)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(piece); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client, piece); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	<-ended
	p.Stop()
}
