package main

import (
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// faults are what `-fault` may name: mistakes that an SDK could make, each of which some script has to find, with the rule that it breaks.
var faults = map[string]string{
	"hide-gaps":         "GAP-5",  // gaps are kept from the application
	"deliver-twice":     "MSG-2",  // every message is handed on twice
	"lose-first":        "MSG-2",  // the first message of all is not handed on
	"no-message-id":     "REC-5",  // publishes have no message id, and are never repeated
	"publish-anew":      "REC-5",  // a publish whose outcome is not known is made again, with an id of its own
	"slow-to-return":    "REC-1",  // a lost connection is made again after seconds
	"give-up":           "REC-1",  // a lost connection is not made again
	"start-over":        "POS-10", // subscriptions begin anew after a loss
	"token-in-url":      "TRA-6",  // the token is in the URL
	"never-silent":      "PNG-4",  // a connection on which nothing comes counts as alive
	"impatient":         "PNG-4",  // one that is silent for a second counts as dead
	"stale-token":       "REC-3",  // the same token is shown again after it has expired
	"compressed-anyway": "CON-12", // compression is asked for where it is not to be
	"insists":           "RGT-5",  // a subscription that has ended is asked for again
	"asks-once":         "PRE-5",  // who is there is asked for, and changes are not followed
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
	}
}

// endFaultily is called when a subscription has been ended by the broker.
func (d *driver) endFaultily(name string) {
	if d.fault != "insists" {
		return
	}
	again := d.client.Subscribe(d.subscription(name).Filter(), carillon.NoRetained())
	d.read(name, again)
}

// failFaultily is called when a publish has failed.
func (d *driver) failFaultily(c *command) {
	if d.fault == "publish-anew" {
		_ = d.publish(c) // which tells what becomes of it
	}
}
