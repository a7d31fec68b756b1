// Command auth-http is the bundled plugin that asks an application as an executable of its own. See package authhttp.
package main

import (
	"github.com/carillon-mq/carillon/plugins/auth-http/authhttp"
	"github.com/carillon-mq/carillon/plugins/kit"
)

func main() {
	kit.Serve(authhttp.Plugin())
}
