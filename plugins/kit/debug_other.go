//go:build !unix

package kit

import "net"

func listenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
