package authhttp

import (
	"bufio"
	"net"
	"net/http"
	"testing"

	"github.com/carillon-mq/carillon/broker"
)

// A web server closes a connection that has been idle for a while, or with its worker process, just when the next question comes.
func TestAQuestionIsAskedAgainWhenTheConnectionWasClosedMeanwhile(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				for n := 0; ; n++ {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					serveOne(conn, n == 0)
				}
			}()
			a, err := New(Config{URL: "http://" + listener.Addr().String() + "/who", Method: method, Remember: never})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = a.Close()
				_ = listener.Close()
				<-served
			}()
			for range 2 {
				id, err := a.Authenticate(t.Context(), broker.Credentials{Transport: "ws", Header: http.Header{"Cookie": {"sid=ada"}}})
				if err != nil || id.User != "ada" {
					t.Errorf("%v, %v", id, err)
				}
			}
		})
	}
}

// serveOne answers questions on conn; with once, it takes a second one and closes the connection without an answer.
func serveOne(conn net.Conn, once bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		request, err := http.ReadRequest(in)
		if err != nil || once && n == 1 {
			return
		}
		_ = request.Body.Close()
		if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"user\": \"ada\"}")); err != nil {
			return
		}
	}
}
