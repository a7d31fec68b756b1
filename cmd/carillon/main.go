// Command carillon is the broker, its client and its operator's tool in one executable.
//
// main -> run -> kong picks a verb -> its Run method, one file a verb. `dev` and `serve` build a broker (broker.go) from a
// configuration and run it until a signal (lifecycle.go). Bundled plugins are this executable again, with the hidden first
// argument plugin-serve (bundled.go).
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:]))
}
