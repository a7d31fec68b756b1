package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/brokertest"
	"github.com/carillon-mq/carillon/protocol"
)

// openStore gives the model a store, with or without its powers.
func (m *model) openStore(rt *rapid.T) {
	m.store, m.keeps, m.terms = brokertest.NewStore(), true, true
	switch rapid.IntRange(0, 7).Draw(rt, "powers") {
	case 0:
		m.store.Without(broker.PowerHistory)
		m.keeps = false
	case 1:
		m.store.Without(broker.PowerTerms)
		m.terms = false
	case 2:
		m.store.Without(broker.PowerKeys)
	}
	m.store.PageSize(rapid.SampledFrom([]int{0, 1, 5}).Draw(rt, "records of a page"), rapid.SampledFrom([]uint64{0, 3, 20}).Draw(rt, "offsets of a page"))
	m.opt.Store = m.store
	m.opt.Topics = append(m.opt.Topics,
		broker.TopicRule{Match: "kept.*", Class: broker.ClassStored, History: broker.History{Count: 40}},
		broker.TopicRule{Match: "aged.>", Class: broker.ClassStored, History: broker.History{Age: time.Minute, Bytes: 100_000}})
}

// start begins a run of the broker, which goes on with the log of the last one if that is not nil.
func (m *model) start(rt *rapid.T, carried io.Reader) {
	opt := m.opt
	opt.Log = carried
	var err error
	if m.b, err = broker.New(opt); err != nil {
		rt.Fatal(err)
	}
	m.b.Start()
	if err := m.b.WaitReady(rt.Context()); err != nil {
		rt.Fatal(err)
	}
	synctest.Wait()
	if r, known := m.runs[m.b.Epoch()]; known {
		m.run = r
		return
	}
	m.run = modelRun{base: m.b.Position().Seq, first: uint64(len(m.log)) + 1}
	m.runs[m.b.Epoch()] = m.run
}

// restart ends the broker and begins another one on the same store, or on an older copy of it. Everybody comes back.
func (m *model) restart(rt *rapid.T) {
	m.mend(rt)
	m.check(rt)
	comeBack := []func(){}
	for _, c := range m.clients {
		goesOn := c.leave(rt)
		comeBack = append(comeBack, func() { c.resume(rt, goesOn) })
	}
	for _, f := range m.followers {
		r := f.leave(rt)
		comeBack = append(comeBack, func() { f.open(rt, r) })
	}
	for range rapid.IntRange(0, 4).Draw(rt, "published meanwhile") {
		m.publish(rt)
	}
	carried, goesOn := m.endRun(rt)
	if m.store != nil {
		m.store.GoAway()
		if rapid.IntRange(0, 3).Draw(rt, "what of the store") == 0 {
			goesOn = goesOn && !m.restore()
		}
		m.store.ComeBack()
		for range rapid.IntRange(0, 3).Draw(rt, "published elsewhere") {
			m.elsewhere(rapid.SampledFrom([]string{"kept.x", "aged.x"}).Draw(rt, "topic"))
		}
	}
	epoch := m.b.Epoch()
	if m.start(rt, carried); goesOn && m.b.Epoch() != epoch {
		rt.Fatal("found a new epoch after a planned restart")
	}
	for _, f := range comeBack {
		f()
	}
}

// elsewhere has another broker publish.
func (m *model) elsewhere(topic string) {
	m.log = append(m.log, published{topic: topic, stored: m.mayBeStored(topic)})
	n := len(m.log)
	m.log[n-1].offset = m.store.Commit(broker.Record{Topic: topic, Payload: []byte("x"), Headers: map[string]string{"n": fmt.Sprint(n)}})
}

// endRun ends the run of the broker, as planned or not, and reports whether its log has to go on.
func (m *model) endRun(rt *rapid.T) (carried io.Reader, goesOn bool) {
	defer m.b.Close()
	if !rapid.Bool().Draw(rt, "planned") {
		return nil, false
	}
	var log bytes.Buffer
	if err := m.b.Drain(rt.Context()); err != nil {
		rt.Fatal(err)
	}
	if err := m.b.WriteLog(&log); err != nil {
		rt.Fatal(err)
	}
	return &log, m.store == nil || m.terms
}

// storeFault does something to the store, and sees to it that whoever suffered from it comes back.
func (m *model) storeFault(rt *rapid.T) {
	if m.store == nil {
		return
	}
	m.mend(rt)
	switch rapid.SampledFrom([]string{"cut", "away", "trim", "copy", "restore", "hold", "fail", "damage", "forget", "wait"}).Draw(rt, "fault of the store") {
	case "cut":
		m.store.Cut()
	case "away":
		m.whileAway(rt, func() {})
	case "trim": // the feed cannot go on
		m.whileAway(rt, func() { m.store.Trim(m.store.Copy().Head) })
	case "copy":
		c := m.store.Copy()
		m.copy = &c
	case "restore":
		m.whileAway(rt, func() { m.restore() })
	case "hold": // until it is mended
		m.store.HoldReads()
	case "fail":
		m.store.FailReads(rapid.IntRange(1, 3).Draw(rt, "reads"))
	case "damage":
		if head := m.store.Copy().Head; head > 0 {
			m.store.Damage(rapid.Uint64Range(1, head).Draw(rt, "offset"))
		}
	case "forget":
		m.store.Forget(rapid.SampledFrom([]string{"kept.x", "aged.x"}).Draw(rt, "topic"))
	case "wait":
		time.Sleep(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
	}
}

// whileAway has the store go away, and come back when f and something of what clients do has happened.
func (m *model) whileAway(rt *rapid.T, f func()) {
	m.check(rt)
	m.away = true
	m.store.GoAway()
	synctest.Wait()
	for range rapid.IntRange(0, 3).Draw(rt, "meanwhile") {
		switch rapid.IntRange(0, 2).Draw(rt, "what") {
		case 0:
			m.cut(rt, m.client(rt))
		case 1:
			m.reopen(rt)
		default:
			m.appendPlain(rt)
		}
	}
	f()
	m.store.ComeBack()
	m.mend(rt)
}

// mend waits until the store is there, and brings back whom the broker has sent away.
func (m *model) mend(rt *rapid.T) {
	if m.store == nil {
		return
	}
	m.store.ReleaseReads()
	m.store.FailReads(0)
	m.awaitStore()
	m.check(rt)
	m.away = false
	m.bringBack(rt)
	synctest.Wait()
}

// bringBack has everybody connect again whom the broker has sent away, and reports whether there was somebody.
func (m *model) bringBack(rt *rapid.T) (some bool) {
	for _, c := range m.clients {
		some = some || c.gone
		if c.gone {
			m.cut(rt, c)
		}
	}
	for _, f := range m.followers {
		if some = some || f.gone; f.gone {
			f.open(rt, f.leave(rt))
		}
	}
	return some
}

// awaitStore waits until the broker follows the store.
func (m *model) awaitStore() {
	synctest.Wait()
	for !m.b.Stats().StoreUp || m.b.Ready() != nil {
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
	}
}

// restore puts the copy in the store's place, if there is one.
func (m *model) restore() bool {
	if m.copy == nil {
		return false
	}
	for i := range m.log {
		if e := &m.log[i]; e.stored && e.offset > m.copy.Head {
			e.lost = true
		}
	}
	m.store.Restore(*m.copy)
	m.restored = uint64(len(m.log))
	return true
}

// ahead reports whether a token has to be told that it is ahead of the store.
func (m *model) ahead(rt *rapid.T, filter string, token []byte) bool {
	pos, err := protocol.ParsePosition(token)
	if err != nil {
		rt.Fatal(err)
	}
	if m.away || !m.mayBeStored(filter) || pos.Epoch == m.b.Epoch() || pos.Term.IsZero() {
		return false
	}
	common, known := m.common(rt, pos)
	return !known || common < pos.Offset
}
