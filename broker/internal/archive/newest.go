package archive

import (
	"context"

	"github.com/carillon-mq/carillon/broker/store"
)

// newestRounds bounds how often Newest looks further back.
const newestRounds = 32

// Newest finds where the newest q.Last records of q begin that a session of origin is sent: they come after the offset returned, which
// is q.Through when there are none. Where very many are excluded it gives up early, and there are fewer.
func (a *Archive) Newest(ctx context.Context, q store.HistoryQuery, origin string) (after, head uint64, err error) {
	if err := a.takeSlot(ctx); err != nil {
		return 0, 0, err
	}
	defer func() { <-a.slots }()
	after = q.Through
	for range newestRounds {
		begin, excluded, err := a.countExcluded(ctx, q, origin, &head)
		if err != nil {
			return 0, 0, err
		}
		after = begin
		if excluded == 0 || after == 0 {
			break
		}
		q.Through, q.Last = after, excluded
	}
	return after, head, nil
}

// countExcluded reads the newest q.Last records of q, which begin behind the offset returned, and counts those that exclude origin.
func (a *Archive) countExcluded(ctx context.Context, q store.HistoryQuery, origin string, head *uint64) (after uint64, excluded int, err error) {
	if q.Limit = 0; origin == "" {
		q.Limit = 1 // where they begin is enough
	}
	for first := true; ; first = false {
		found, err := a.store.ReadHistory(ctx, q)
		if err != nil {
			return 0, 0, err
		}
		if first {
			after, *head = found.After, max(*head, found.Head)
			if len(found.Records) == 0 && found.Done {
				return q.Through, 0, nil
			}
		}
		for i := range found.Records {
			if origin != "" && found.Records[i].Exclude == origin {
				excluded++
			}
		}
		if found.Done || origin == "" {
			return after, excluded, nil
		}
		q.After, q.Last = found.Through, 0
	}
}
