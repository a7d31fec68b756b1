// Command auth-jwt is the bundled authentication plugin as an executable of its own. See package authjwt.
package main

import (
	"github.com/carillon-mq/carillon/plugins/auth-jwt/authjwt"
	"github.com/carillon-mq/carillon/plugins/kit"
)

func main() {
	kit.Serve(authjwt.Plugin())
}
