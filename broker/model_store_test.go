package broker_test

import (
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

// start begins a run of the broker.
func (m *model) start(rt *rapid.T) {
	var err error
	if m.b, err = broker.New(m.opt); err != nil {
		rt.Fatal(err)
	}
	m.b.Start()
	if err := m.b.WaitReady(rt.Context()); err != nil {
		rt.Fatal(err)
	}
	synctest.Wait()
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
	m.b.Close()
	if m.store != nil {
		m.store.GoAway()
		if rapid.IntRange(0, 3).Draw(rt, "what of the store") == 0 {
			m.restore()
		}
		m.store.ComeBack()
	}
	m.start(rt)
	for _, f := range comeBack {
		f()
	}
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
		m.whileAway(rt, m.restore)
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

// restore puts the copy in the store's place.
func (m *model) restore() {
	if m.copy == nil {
		return
	}
	for i := range m.log {
		if e := &m.log[i]; e.stored && e.offset > m.copy.Head {
			e.lost = true
		}
	}
	m.store.Restore(*m.copy)
	m.restored = uint64(len(m.log))
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
