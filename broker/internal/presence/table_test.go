package presence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// room is a table with a clock, and what it has told.
type room struct {
	*Table
	now  time.Time
	next time.Time
	said []string
}

func newRoom(mostLost int) *room {
	return &room{Table: New(mostLost), now: time.Unix(1e9, 0)}
}

func (r *room) join(user string)             { r.look(r.Join("t", user, r.now)) }
func (r *room) leave(user string, lost bool) { r.look(r.Leave("t", user, lost, r.now)) }

func (r *room) look(earlier bool) {
	if earlier {
		r.tell()
	}
}

func (r *room) tell() {
	r.next = r.Tell(r.now, func(string) bool { return true }, func(c Change) {
		r.said = append(r.said, fmt.Sprintf("%d +%s -%s", c.Count, strings.Join(c.Joined, ","), strings.Join(c.Left, ",")))
	})
}

// sleep lets time pass, and Tell be called when it has to be.
func (r *room) sleep(d time.Duration) {
	until := r.now.Add(d)
	for !r.next.IsZero() && !r.next.After(until) {
		r.now = r.next
		r.tell()
	}
	r.now = until
}

func (r *room) want(t *testing.T, said ...string) {
	t.Helper()
	if diff := cmp.Diff(said, r.said); diff != "" {
		t.Fatalf("told (-wanted +found):\n%s", diff)
	}
	r.said = nil
}

func (r *room) wantMembers(t *testing.T, want ...string) {
	t.Helper()
	users, count := r.Members("t")
	if !slices.Equal(users, want) || count != len(want) {
		t.Fatalf("found %d members, %q, wanted %q", count, users, want)
	}
}

// wantEmpty fails the test if anything is left of what is over.
func (r *room) wantEmpty(t *testing.T) {
	t.Helper()
	if topics, members := r.Size(); topics != 0 || members != 0 || !r.next.IsZero() || r.lost.len != 0 || r.lost.first != nil {
		t.Fatalf("found %d topics, %d members, %d lost, the next look at %s", topics, members, r.lost.len, r.next)
	}
}

// [PRE-2], [PRE-3]: a user is there once, from the first join to the last leave.
func TestAUserIsAMemberOnce(t *testing.T) {
	r := newRoom(-1)
	r.join("bob")
	r.join("ada")
	r.join("ada")
	r.wantMembers(t, "ada", "bob")
	r.sleep(Gather)
	r.want(t, "2 +ada,bob -")
	r.leave("ada", false)
	r.wantMembers(t, "ada", "bob")
	r.leave("ada", false)
	r.wantMembers(t, "bob")
	r.sleep(Every)
	r.want(t, "1 + -ada")
	r.leave("bob", false)
	r.sleep(time.Minute)
	r.want(t, "0 + -bob")
	r.wantEmpty(t)
}

// [PRE-2]: who is back within ten seconds has never left; who is not is gone then.
func TestALostMemberHasTenSecondsToComeBack(t *testing.T) {
	r := newRoom(-1)
	r.join("ada")
	r.sleep(time.Minute)
	r.want(t, "1 +ada -")
	r.leave("ada", true)
	r.sleep(Grace - time.Millisecond)
	r.join("ada")
	r.sleep(time.Minute)
	r.want(t)
	r.leave("ada", true)
	r.sleep(Grace - time.Millisecond)
	r.wantMembers(t, "ada")
	r.sleep(time.Millisecond)
	r.wantMembers(t)
	r.sleep(Every)
	r.want(t, "0 + -ada")
	r.sleep(Every)
	r.wantEmpty(t)
}

// [PRE-2]: that one tab leaves does not take the other one's ten seconds, and a tab that is back is not waited for.
func TestEachLostConnectionHasItsTenSeconds(t *testing.T) {
	r := newRoom(-1)
	r.join("ada")
	r.join("ada")
	r.leave("ada", true)
	r.sleep(4 * time.Second)
	r.leave("ada", false)
	r.sleep(6*time.Second - time.Millisecond)
	r.wantMembers(t, "ada")
	r.sleep(time.Millisecond)
	r.wantMembers(t)
	r.sleep(time.Minute)
	r.wantEmpty(t)

	r.join("ada")
	r.leave("ada", true)
	r.sleep(time.Second)
	r.join("ada")
	r.leave("ada", false)
	r.wantMembers(t)
	r.sleep(time.Minute)
	r.wantEmpty(t)
}

// [PRE-3]: at most one change a second is told of a topic, and who left and came back meanwhile is not in it.
func TestChangesAreToldOnceASecond(t *testing.T) {
	r := newRoom(-1)
	r.join("ada")
	r.sleep(Gather)
	r.want(t, "1 +ada -")
	for i := range 9 {
		r.join(fmt.Sprint(i))
		r.leave("ada", false)
		r.join("ada")
		r.sleep(Every / 10)
	}
	r.want(t)
	r.leave("3", false)
	r.sleep(Every / 10)
	r.want(t, "9 +0,1,2,4,5,6,7,8 -")
	r.join("eve")
	r.leave("eve", false)
	r.sleep(time.Minute)
	r.want(t)
}

// [PRE-5]: who has asked between two changes is told what differs from the answer.
func TestAChangeFollowsTheAnswersBeforeIt(t *testing.T) {
	r := newRoom(-1)
	r.join("ada")
	r.sleep(Gather)
	r.said = nil
	r.join("eve")
	r.leave("ada", false)
	r.wantMembers(t, "eve")
	r.join("ada")
	r.leave("eve", false)
	r.sleep(Every)
	r.want(t, "1 +ada -eve")
}

// [PRE-3], [PRE-4]: with more than a thousand members, before or behind it, a change has the count alone.
func TestManyMembersAreNotNamed(t *testing.T) {
	var named []bool
	r := newRoom(-1)
	step := func(count int) {
		for _, n := r.Members("t"); n < count; n++ {
			r.join(fmt.Sprintf("%04d", n))
		}
		for _, n := r.Members("t"); n > count; n-- {
			r.leave(fmt.Sprintf("%04d", n-1), false)
		}
		r.now = r.now.Add(2 * Every)
		r.Tell(r.now, func(string) bool { return true }, func(c Change) {
			if named = append(named, c.Named); c.Count != uint64(count) || !c.Named && len(c.Joined)+len(c.Left) > 0 {
				t.Errorf("found %d of %d members, %d and %d named", c.Count, count, len(c.Joined), len(c.Left))
			}
		})
		if users, n := r.Members("t"); n != count || (users == nil) != (count > 1000) {
			t.Errorf("found %d members, %d named, wanted %d", n, len(users), count)
		}
	}
	for _, count := range []int{1000, 1001, 1000, 999} {
		step(count)
	}
	if !slices.Equal(named, []bool{true, false, false, true}) {
		t.Errorf("found changes named %v", named)
	}
}

// Memory is bounded: beyond so many lost members the oldest are given up.
func TestLostMembersAreBounded(t *testing.T) {
	r := newRoom(2)
	for _, user := range []string{"a", "b", "c"} {
		r.join(user)
		r.leave(user, true)
	}
	r.wantMembers(t, "b", "c")
	r.sleep(time.Minute)
	r.wantEmpty(t)
}

// What nobody wants to be told is not told later either.
func TestWhatNobodyWantsIsNotTold(t *testing.T) {
	r := newRoom(-1)
	r.join("ada")
	r.next = r.Tell(r.now.Add(Gather), func(string) bool { return false }, func(c Change) { t.Errorf("found %+v told", c) })
	r.sleep(2 * Every)
	r.leave("ada", false)
	r.sleep(time.Minute)
	r.want(t, "0 + -ada")
	r.wantEmpty(t)
}

// [PRE-2], [PRE-3], [PRE-5]: whatever happens, whoever asks at any moment and applies what is told from there knows who is there in the end.
func TestWhoAsksAndFollowsKnowsWhoIsThere(t *testing.T) {
	for seed := range uint64(300) {
		chance := rand.New(rand.NewPCG(seed, 1))
		r := newRoom(3)
		var follows []map[string]bool
		joins, last := map[string]int{}, time.Time{}
		tell := func() {
			r.next = r.Tell(r.now, func(string) bool { return true }, func(c Change) {
				if r.now.Sub(last) < Every {
					t.Fatalf("seed %d: found a change %s behind another", seed, r.now.Sub(last))
				}
				last = r.now
				if _, count := r.Members("t"); c.Count != uint64(count) {
					t.Fatalf("seed %d: found a change with %d members, there are %d", seed, c.Count, count)
				}
				for _, known := range follows {
					for _, user := range c.Joined {
						known[user] = true
					}
					for _, user := range c.Left {
						delete(known, user)
					}
				}
			})
		}
		pass := func(d time.Duration) {
			for until := r.now.Add(d); ; r.now, d = r.next, 0 {
				tell()
				if r.next.IsZero() || r.next.After(until) {
					r.now = until
					return
				}
			}
		}
		for range 200 {
			user := string(rune('a' + chance.IntN(5)))
			switch n := chance.IntN(10); {
			case n < 4:
				joins[user]++
				r.Join("t", user, r.now)
			case n < 7 && joins[user] > 0:
				joins[user]--
				r.Leave("t", user, n < 5, r.now)
			case n == 7:
				known := map[string]bool{}
				users, _ := r.Members("t")
				for _, u := range users {
					known[u] = true
				}
				follows = append(follows, known)
			default:
				pass(time.Duration(chance.IntN(3000)) * time.Millisecond)
			}
		}
		pass(Grace + 3*Every)
		want := map[string]bool{}
		for user, n := range joins {
			if n > 0 {
				want[user] = true
			}
		}
		for i, known := range follows {
			if diff := cmp.Diff(want, known); diff != "" {
				t.Fatalf("seed %d: follower %d (-there +known):\n%s", seed, i, diff)
			}
		}
		for user, n := range joins {
			for range n {
				r.Leave("t", user, chance.IntN(2) == 0, r.now)
			}
		}
		pass(Grace + 3*Every)
		r.wantEmpty(t)
	}
}

// One tab of many comes and goes, at 10,000 topics: it costs no memory.
func BenchmarkATabOfManyComesAndGoes(b *testing.B) {
	t := New(-1)
	topics, now := make([]string, 10_000), time.Now()
	for i := range topics {
		topics[i] = fmt.Sprintf("room.%d", i)
		t.Join(topics[i], "ada", now)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		topic := topics[i%len(topics)]
		t.Join(topic, "ada", now)
		t.Leave(topic, "ada", i%2 == 0, now)
	}
}

// Somebody comes and goes, at 10,000 topics with members, and nobody watches.
func BenchmarkAMemberComesAndGoes(b *testing.B) {
	t := New(-1)
	topics, now := make([]string, 10_000), time.Now()
	for i := range topics {
		topics[i] = fmt.Sprintf("room.%d", i)
		t.Join(topics[i], "ada", now)
	}
	never := func(string) bool { return false }
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		topic := topics[i%len(topics)]
		t.Join(topic, "bob", now)
		t.Leave(topic, "bob", false, now)
		if i%1000 == 0 {
			now = now.Add(Gather)
			t.Tell(now, never, nil)
		}
	}
}
