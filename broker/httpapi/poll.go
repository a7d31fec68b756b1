package httpapi

import (
	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

func (h *Handler) servePoll(r *request, _ *broker.Identity, _ *subscription) {
	h.refuse(r, protocol.Errorf(protocol.CodeUnsupported, "mode=poll is not served yet"))
}
