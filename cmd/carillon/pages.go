package main

import (
	"io"
	"net/http"

	"github.com/carillon-mq/carillon/cmd/carillon/internal/devpage"
	"github.com/carillon-mq/carillon/sdk/js"
)

// pages are what is served on the public port beside the API, by path.
func pages(m mode) map[string]http.Handler {
	if m.dev {
		return devpage.Pages(js.Bundle)
	}
	return map[string]http.Handler{"/": http.HandlerFunc(introduce)}
}

const introduction = `This is Carillon, a pub/sub broker for the web.

  /ws                               WebSocket, subprotocol carillon.v1 or carillon.v1.json
  POST /v1/topics/{topic}           publish the body
  POST /v1/publish                  publish what a JSON object or a form describes
  GET  /v1/topics/{topic}           read the retained message
  GET  /v1/topics/{topic}/history   read the messages that the store keeps
  GET  /v1/subscribe?filter=FILTER  receive, by server-sent events or long-poll
  GET  /v1/presence?filter=TOPIC    who is there

There is no page here; "carillon dev" has one to try things with.
`

// introduce tells who comes to / with a browser where they are.
func introduce(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, introduction) // the client has gone: nobody is left to tell
}
