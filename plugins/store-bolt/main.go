// Command store-bolt is the bundled store plugin as an executable of its own. See package storebolt.
package main

import (
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
)

func main() {
	kit.Serve(storebolt.Plugin())
}
