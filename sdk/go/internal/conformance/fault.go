package main

import (
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// faults are what `-fault` may name: mistakes that an SDK could make, each of which some script has to find, with the rule that it breaks.
var faults = map[string]string{
	"hide-gaps":           "GAP-5",  // gaps are kept from the application
	"deliver-twice":       "MSG-2",  // every message is handed on twice
	"lose-first":          "MSG-2",  // the first message of all is not handed on
	"no-message-id":       "REC-5",  // publishes have no message id, and are never repeated
	"publish-anew":        "REC-5",  // a publish whose outcome is not known is made again, with an id of its own
	"slow-to-return":      "REC-1",  // a lost connection is made again after seconds
	"give-up":             "REC-1",  // a lost connection is not made again
	"start-over":          "POS-10", // subscriptions begin anew after a loss
	"token-in-url":        "TRA-6",  // the token is in the URL
	"never-silent":        "PNG-4",  // a connection on which nothing comes counts as alive
	"impatient":           "PNG-4",  // one that is silent for a second counts as dead
	"stale-token":         "REC-3",  // the same token is shown again after it has expired
	"compressed-anyway":   "CON-12", // compression is asked for where it is not to be
	"insists":             "RGT-5",  // a subscription that has ended is asked for again
	"asks-once":           "PRE-5",  // who is there is asked for, and changes are not followed
	"answers-in-order":    "PUB-12", // an answer is taken for that to the oldest publish
	"hears-too-late":      "PUB-12", // the answer to a publish that was given up is told as well
	"repeats-all":         "REC-5",  // what was acknowledged is published again too, when the connection has been lost
	"forgets-unconfirmed": "REC-4",  // a subscription that was not confirmed when the connection was lost is not asked for again
}

// seed is what some faults remember. It is guarded by the driver's mu.
type seed struct {
	sent         []sent // publishes, the oldest first
	acknowledged []acknowledged
	confirmed    map[*carillon.Subscription]bool
}

type sent struct {
	name string
	p    *carillon.Publishing
}

type acknowledged struct {
	command *command
	id      string
}

// slowly is the bound of a random delay: a hundredth of a percent of its times are what a script takes for at once.
const slowly = 10 * time.Hour

// faulty are the options that make the client have the fault.
func (d *driver) faulty() []carillon.Option {
	switch d.fault {
	case "slow-to-return":
		return []carillon.Option{carillon.WithBackoff(slowly, slowly)}
	case "never-silent":
		return []carillon.Option{carillon.WithMaxSilence(time.Hour)}
	case "impatient":
		return []carillon.Option{carillon.WithMaxSilence(time.Second)}
	}
	return nil
}

func (d *driver) faultyPublish() []carillon.PublishOption {
	if d.fault == "no-message-id" {
		return []carillon.PublishOption{carillon.ID("")}
	}
	return nil
}

// address is where the client connects.
func (d *driver) address(url string) string {
	if d.fault == "token-in-url" {
		return url + "?token=x"
	}
	return url
}

// tellMessage tells a message.
func (d *driver) tellMessage(e event) {
	switch d.fault {
	case "deliver-twice":
		d.tell(e)
	case "lose-first":
		if !d.lost.Swap(true) {
			return
		}
	}
	d.tell(e)
}

// loseFaultily is called when a connection has been lost.
func (d *driver) loseFaultily() {
	switch d.fault {
	case "give-up":
		d.stop()
	case "start-over":
		d.mu.Lock()
		defer d.mu.Unlock()
		for name, s := range d.subs {
			s.Close()
			d.subs[name] = d.client.Subscribe(s.Filter())
			d.read(name, d.subs[name])
		}
	case "forgets-unconfirmed":
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range d.subs {
			if !d.confirmed[s] {
				s.Close()
			}
		}
	case "repeats-all":
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, a := range d.acknowledged {
			data := carillon.Raw{Data: []byte{a.command.Data}}
			_, _ = d.client.PublishAsync(d.ctx, a.command.Topic, data, carillon.ID(a.id)) // what becomes of it is told to nobody
		}
	}
}

// confirmFaultily is called for every subscription.
func (d *driver) confirmFaultily(s *carillon.Subscription) {
	if d.fault != "forgets-unconfirmed" {
		return
	}
	d.group.Go(func() {
		if s.Ready(d.ctx) == nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.confirmed[s] = true
		}
	})
}

// sendFaultily is called when a publish has been made. What it returns is called with the outcome, and says whose that is.
func (d *driver) sendFaultily(name string, p *carillon.Publishing) (whose func() string) {
	if d.fault != "answers-in-order" {
		return func() string { return name }
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, sent{name, p})
	return func() string {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range d.sent {
			select {
			case <-s.p.Done():
			default:
				return s.name
			}
			if s.p == p {
				break
			}
		}
		return name
	}
}

// acknowledgeFaultily is called when a publish has been acknowledged.
func (d *driver) acknowledgeFaultily(c *command, p *carillon.Publishing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acknowledged = append(d.acknowledged, acknowledged{c, p.ID()})
}

// endFaultily is called when a subscription has been ended by the broker.
func (d *driver) endFaultily(name string) {
	if d.fault != "insists" {
		return
	}
	again := d.client.Subscribe(d.subscription(name).Filter(), carillon.NoRetained())
	d.read(name, again)
}

// failFaultily is called when a publish has failed, or was given up.
func (d *driver) failFaultily(c *command, p *carillon.Publishing) {
	switch d.fault {
	case "publish-anew":
		_ = d.publish(c) // which tells what becomes of it
	case "hears-too-late":
		if ack, err := p.Wait(d.ctx); err == nil {
			d.tell(published(c.Name, ack))
		}
	}
}
