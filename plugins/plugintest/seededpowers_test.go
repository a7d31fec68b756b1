package plugintest_test

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/internal/wire/authv1pb"
)

// Authorize implements broker.Authorizer: everybody may publish below their own name, and read what is shared.
func (k *tokens) Authorize(_ context.Context, who broker.Principal, questions []broker.Question) ([]broker.Decision, error) {
	if k.fault == "rights-of-another" {
		k.mu.Lock()
		k.last = who.User
		k.mu.Unlock()
		time.Sleep(time.Millisecond)
		k.mu.Lock()
		who.User = k.last
		k.mu.Unlock()
	}
	if k.fault == "decisions-sorted" {
		questions = slices.Clone(questions)
		slices.SortFunc(questions, func(a, b broker.Question) int { return cmp.Compare(a.Filter, b.Filter) })
	}
	decisions := make([]broker.Decision, len(questions))
	for i, q := range questions {
		if k.fault == "lookup-a-question" {
			time.Sleep(20 * time.Millisecond)
		}
		decisions[i] = broker.Decision{Allowed: k.may(who, q), TTL: time.Minute, Reason: "it is somebody else's"}
	}
	return decisions, nil
}

func (k *tokens) may(who broker.Principal, q broker.Question) bool {
	own, shared := strings.HasPrefix(q.Filter, who.User+"."), strings.HasPrefix(q.Filter, "shared.")
	if k.fault == "wider-allowed" {
		begin, _, _ := strings.Cut(q.Filter, "*")
		begin, _, _ = strings.Cut(begin, ">")
		shared = shared || strings.HasPrefix("shared.", begin)
	}
	switch {
	case k.fault == "yes-to-everybody":
		return true
	case who.User == "":
		return false
	case k.fault == "action-ignored":
		return own || shared
	case q.Action == broker.ActionPublish:
		return own
	case q.Action == broker.ActionSubscribe:
		return own || shared
	default:
		return false
	}
}

// authorize spoils what the wire would not let through.
func (h *handmade) authorize(ctx context.Context, asked *authv1pb.AuthorizeRequest, next grpc.UnaryHandler) (any, error) {
	answer, err := next(ctx, asked)
	if err != nil {
		return nil, err
	}
	response := answer.(*authv1pb.AuthorizeResponse)
	if h.fault == "a-hundred-decisions" {
		response.Decisions = response.Decisions[:min(len(response.Decisions), 100)]
	}
	for _, d := range response.GetDecisions() {
		denied := d.GetVerdict() == authv1pb.Decision_VERDICT_DENIED
		switch {
		case h.fault == "ttl-in-seconds":
			d.TtlMs /= 1000
		case !denied:
		case h.fault == "denial-without-verdict":
			d.Verdict = authv1pb.Decision_VERDICT_UNSPECIFIED
		case h.fault == "denial-as-error":
			return nil, status.Error(codes.PermissionDenied, d.GetReason())
		case h.fault == "denial-for-no-time":
			d.TtlMs = 0
		case h.fault == "nul-in-reason":
			d.Reason = "\x00"
		}
	}
	return response, nil
}

// revoked are the lines of the file.
func (k *tokens) revoked() []string {
	text, _ := os.ReadFile(k.file)
	if k.fault == "told-of-who-is-not" {
		text = append([]byte("john\n"), text...)
	}
	lines := strings.Split(string(text), "\n")
	return lines[min(k.from, len(lines)-1) : len(lines)-1]
}

// Revocations implements broker.Revoker. The cursor is the number of lines told.
func (k *tokens) Revocations(ctx context.Context, cursor []byte, on func([]broker.Revocation, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if k.fault == "one-broker" {
		k.mu.Lock()
		if k.end != nil {
			k.end()
		}
		k.end = cancel
		k.mu.Unlock()
	}
	all := k.revoked()
	told, err := strconv.Atoi(string(cursor))
	switch {
	case err != nil && len(cursor) > 0 && k.fault == "strange-cursor-is-newest":
		told = len(all)
	case err != nil || told > len(all) && k.fault != "cursor-ahead" || k.fault == "cursor-ignored":
		told = 0
	}
	for first := true; ; first = false {
		if k.fault != "told-once" || first {
			all = k.revoked()
		}
		fresh := all[min(told, len(all)):]
		if len(fresh) > 0 || first && k.fault != "silent-while-empty" {
			told = len(all)
			if k.fault == "cursor-ahead" {
				told++
			}
			if err := on(k.revocations(fresh), strconv.AppendInt(nil, int64(told), 10)); err != nil {
				return err
			}
			told = len(all)
		}
		if k.fault == "revocations-end" {
			return errors.New("that is all")
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *tokens) revocations(users []string) []broker.Revocation {
	var all []broker.Revocation
	for _, user := range users {
		r := broker.Revocation{User: user, IssuedBefore: time.Now().Add(time.Second), Until: time.Now().Add(2 * time.Hour)}
		switch k.fault {
		case "until-too-soon":
			r.Until = time.Now().Add(time.Minute)
		case "spares-all-of-today":
			r.IssuedBefore = time.Now().Add(-24 * time.Hour)
		}
		all = append(all, r)
	}
	return all
}

// spoiling spoils what the wire would not let through.
type spoiling struct {
	grpc.ServerStream
	fault string
}

// SendMsg implements grpc.ServerStream.
func (s *spoiling) SendMsg(m any) error {
	for _, r := range m.(*authv1pb.RevocationsResponse).GetRevocations() {
		switch s.fault {
		case "until-missing":
			r.UntilMs = 0
		case "until-in-seconds":
			r.UntilMs /= 1000
		}
	}
	return s.ServerStream.SendMsg(m)
}
