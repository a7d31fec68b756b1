// Command faultyauth is an auth plugin for tests of the whole: right until a file names the fault that it is to have (see main and wrongs).
//
// A faulty answer lets everybody in, with every right, but for its fault. Whoever takes one for an answer grants what nobody may have.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/carillon-mq/carillon/plugins/internal/wire"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
)

// control is the path of the file that names the fault. Without one, or with nothing in it, there is none. The linker sets it
// (-X main.control=…): a plugin gets no argument, and its configuration comes too late.
var control string

func present() string {
	name, err := os.ReadFile(control)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

func main() {
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		fmt.Fprintln(os.Stderr, "a plugin of a test")
		os.Exit(2)
	}
	switch present() {
	case "ends at its start":
		fmt.Fprintln(os.Stderr, "it ends")
		os.Exit(3)
	case "hangs at its start":
		_ = os.WriteFile(control+".hangs", nil, 0o600) // who waits for it sees when it is not there
		_, _ = io.Copy(io.Discard, os.Stdin)           // until the broker ends
		return
	}
	go func() { // as long as the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	address := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s")
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	credentials, certificate, err := identify(os.Getenv("PLUGIN_CLIENT_CERT"))
	if err != nil {
		return err
	}
	open := &connections{Listener: listener}
	server := grpc.NewServer(grpc.Creds(credentials), grpc.MaxSendMsgSize(16<<20))
	commonv1pb.RegisterPluginServiceServer(server, common{})
	authv1pb.RegisterAuthServiceServer(server, &auth{hangUp: open.cut})
	fmt.Printf("1|1|unix|%s|grpc|%s\n", address, certificate)
	return server.Serve(open)
}

type common struct {
	commonv1pb.UnimplementedPluginServiceServer
}

func (common) Describe(context.Context, *commonv1pb.DescribeRequest) (*commonv1pb.DescribeResponse, error) {
	return &commonv1pb.DescribeResponse{Name: "faulty", Kind: wire.KindAuth, ContractVersions: []uint32{1}, Capabilities: []string{"authorize"}}, nil
}

func (common) Configure(context.Context, *commonv1pb.ConfigureRequest) (*commonv1pb.ConfigureResponse, error) {
	return &commonv1pb.ConfigureResponse{}, nil
}

func (common) Health(context.Context, *commonv1pb.HealthRequest) (*commonv1pb.HealthResponse, error) {
	return &commonv1pb.HealthResponse{Status: commonv1pb.HealthResponse_STATUS_SERVING}, nil
}

// auth knows two users, by tokens that are their names: "right" may come in and is to be asked about, "other" has a grant and no more.
type auth struct {
	authv1pb.UnimplementedAuthServiceServer
	hangUp func()
}

// Authenticate implements the service.
func (a *auth) Authenticate(ctx context.Context, r *authv1pb.AuthenticateRequest) (*authv1pb.AuthenticateResponse, error) {
	if fault := present(); fault != "" {
		if err := a.disturb(ctx, fault); err != nil {
			return nil, err
		}
		return wrongIdentity(fault)
	}
	refuse := func(code string) (*authv1pb.AuthenticateResponse, error) { return refusal(code), nil }
	both := []authv1pb.Grant_Action{authv1pb.Grant_ACTION_PUBLISH, authv1pb.Grant_ACTION_SUBSCRIBE}
	switch r.GetToken() {
	case "":
		return refuse("token_missing")
	case "right":
		return identity(&authv1pb.Identity{
			User: "right", NeverExpires: true, Ask: both, Limits: &authv1pb.Limits{Subscriptions: -1},
			Grants: []*authv1pb.Grant{{Filter: "canary.>", Actions: both}},
		}), nil
	case "other":
		return identity(&authv1pb.Identity{User: "other", NeverExpires: true, Grants: []*authv1pb.Grant{{Filter: "other.>", Actions: both}}}), nil
	}
	return refuse("token_bad_signature")
}

// Authorize implements the service: the topics below "ok" are allowed.
func (a *auth) Authorize(ctx context.Context, r *authv1pb.AuthorizeRequest) (*authv1pb.AuthorizeResponse, error) {
	if fault := present(); fault != "" {
		if err := a.disturb(ctx, fault); err != nil {
			return nil, err
		}
		return wrongDecisions(fault, len(r.GetQuestions()))
	}
	answer := &authv1pb.AuthorizeResponse{}
	for _, q := range r.GetQuestions() {
		d := &authv1pb.Decision{Verdict: authv1pb.Decision_VERDICT_DENIED, TtlMs: 3_600_000}
		if strings.HasPrefix(q.GetFilter(), "ok.") {
			d.Verdict = authv1pb.Decision_VERDICT_ALLOWED
		}
		answer.Decisions = append(answer.Decisions, d)
	}
	return answer, nil
}

// disturb is a fault in the middle of a call. It returns nil if the fault is in the answer.
func (a *auth) disturb(ctx context.Context, fault string) error {
	switch fault {
	case "panics in a call":
		panic("so the file says")
	case "ends in a call":
		os.Exit(0)
	case "hangs in a call":
		<-ctx.Done()
		return ctx.Err()
	case "is too late":
		<-ctx.Done()
		<-time.After(200 * time.Millisecond) // whoever asked knows by then that the deadline has passed, however busy the machine is
	case "hangs up":
		a.hangUp()
		return errors.New("nobody hears this")
	case "answers with statuses":
		return nextStatus()
	}
	return nil
}
