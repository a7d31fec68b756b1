package protocol

import (
	"slices"
	"strconv"
)

// Code says why something was refused or ended. Its hundreds tell a client that does not know it what to do ([COD-1]):
//
//	40xx  the session ends; reconnect after a delay
//	41xx  the session ends; reconnect with a fresh token
//	42xx  the session ends; do not reconnect
//	43xx  the request failed; later it may work
//	44xx  the request failed and will fail again unchanged
//	45xx  answers of the HTTP API alone
//
// The number is also the WebSocket close code of a Disconnect.
type Code uint16

// The codes; the table in code_table.go says what they mean.
const (
	// 40xx: the session ends; reconnect after a delay.

	CodeGoingAway      Code = 4000
	CodeStalled        Code = 4001
	CodeNoPong         Code = 4002
	CodeUnavailable    Code = 4003
	CodeSessionLimit   Code = 4004
	CodeFlooding       Code = 4005
	CodeInternal       Code = 4006
	CodeConnectTimeout Code = 4007
	CodeReplaced       Code = 4008

	// 41xx: the session ends; reconnect with a fresh token.

	CodeTokenExpired   Code = 4100
	CodeSessionExpired Code = 4101

	// 42xx: the session ends; do not reconnect.

	CodeBadPacket          Code = 4200
	CodeTokenMissing       Code = 4201
	CodeTokenMalformed     Code = 4202
	CodeTokenBadSignature  Code = 4203
	CodeTokenWrongAudience Code = 4204
	CodeTokenWrongIssuer   Code = 4205
	CodeTokenUnknownKey    Code = 4206
	CodeTokenNotYetValid   Code = 4207
	CodeTokenBadClaims     Code = 4208
	CodeBadVersion         Code = 4209
	CodeBadOrder           Code = 4210
	CodeMessageTooLarge    Code = 4211
	CodeBadFrame           Code = 4212
	CodeRevoked            Code = 4213
	CodeKicked             Code = 4214
	CodeWrongUser          Code = 4215

	// 43xx: the request failed; later it may work.

	CodeRateLimited      Code = 4300
	CodeStoreUnavailable Code = 4301
	CodeNotReady         Code = 4302
	CodeQuota            Code = 4303
	CodeTimeout          Code = 4304
	CodeAuthUnavailable  Code = 4305

	// 44xx: the request failed and will fail again unchanged.

	CodeBadTopic          Code = 4400
	CodeBadFilter         Code = 4401
	CodeForbidden         Code = 4402
	CodeTooLarge          Code = 4403
	CodeUnknownType       Code = 4404
	CodeBadArgs           Code = 4405
	CodeDuplicateID       Code = 4406
	CodeBadPosition       Code = 4407
	CodeNotFound          Code = 4408
	CodeSubscriptionLimit Code = 4409
	CodeUnsupported       Code = 4410

	// 45xx: answers of the HTTP API and of the WebSocket upgrade alone.

	CodeBadOrigin            Code = 4500
	CodeBadHost              Code = 4501
	CodeBadSubprotocol       Code = 4502
	CodeUpgradeRequired      Code = 4503
	CodeMethodNotAllowed     Code = 4504
	CodeUnsupportedMediaType Code = 4505
	CodeBadBody              Code = 4506
	CodeTokenInURL           Code = 4507
	CodeHeadersTooLarge      Code = 4508
	CodeBadScheme            Code = 4509
)

// CodeInfo is a row of the table of codes.
type CodeInfo struct {
	Code    Code
	Name    string
	HTTP    int    // status of an HTTP answer; 0: never one
	Meaning string // what happened
	Cause   string // the likely cause
	Action  string // what to do about it
}

// Codes returns the table, sorted by number.
func Codes() []CodeInfo { return slices.Clone(table) }

// CodeByName returns the code of a name such as "bad_packet".
func CodeByName(name string) (Code, bool) {
	i := slices.IndexFunc(table, func(c CodeInfo) bool { return c.Name == name })
	if i < 0 {
		return 0, false
	}
	return table[i].Code, true
}

func (c Code) info() *CodeInfo {
	i, ok := slices.BinarySearchFunc(table, c, func(row CodeInfo, c Code) int { return int(row.Code) - int(c) })
	if !ok {
		return nil
	}
	return &table[i]
}

// Known reports whether the table has the code.
func (c Code) Known() bool { return c.info() != nil }

// String is the code's name, or "code_n" for one that the table does not have.
func (c Code) String() string {
	if row := c.info(); row != nil {
		return row.Name
	}
	return "code_" + strconv.Itoa(int(c))
}

// Hint is what to do about it, in a sentence.
func (c Code) Hint() string {
	if row := c.info(); row != nil {
		return row.Action
	}
	return ""
}

// Closes reports whether the session ends. WebSocket's own close codes, below 4000, do.
func (c Code) Closes() bool { return c < 4300 }

// Retry reports whether to try again: to reconnect after a code that closes, to repeat the request after another.
func (c Code) Retry() bool { return c < 4200 || c >= 4300 && c < 4400 }

// NeedsToken reports whether a fresh token is needed before trying again.
func (c Code) NeedsToken() bool { return c >= 4100 && c < 4200 }

// HTTPStatus is the status of an HTTP answer with this code. Codes that are never one, and unknown ones, get their range's.
func (c Code) HTTPStatus() int {
	if row := c.info(); row != nil && row.HTTP != 0 {
		return row.HTTP
	}
	switch {
	case c < 4100 || c >= 4300 && c < 4400:
		return 503
	case c < 4200:
		return 401
	}
	return 400
}
