package host

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAFailedCallIsToldInThePluginsWords(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"its own", status.Error(codes.Internal, "the disk is full"), "configure: the disk is full"},
		{"none", status.Error(codes.DeadlineExceeded, "context deadline exceeded"), "configure: no answer in time"},
		{"not gRPC's", errors.New("broken"), "configure: broken"},
	} {
		err := &callError{"configure", tc.err}
		if err.Error() != tc.want || !errors.Is(err, tc.err) || status.Code(err) != status.Code(tc.err) {
			t.Errorf("%s: %v (%v), want %s", tc.name, err, status.Code(err), tc.want)
		}
	}
}
