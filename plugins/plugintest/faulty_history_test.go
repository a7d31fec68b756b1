package plugintest_test

import (
	"context"
	"io"
	"os"
	"strconv"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/plugins/kit"
	"github.com/carillon-mq/carillon/plugins/store-bolt/storebolt"
	"github.com/carillon-mq/carillon/protocol"
)

// powerless is a store without any optional power, whatever the one underneath has.
type powerless struct{ broker.Store }

// forgetful is a good store whose optional powers have a fault.
type forgetful struct {
	faulty
	onQuery  func(*broker.HistoryQuery)
	onAnswer func(*broker.HistoryPage)
	onRules  func([]broker.RetentionRule)
	onTerms  func([]broker.Term) []broker.Term
	onStats  func(*broker.StoreStatistics)
	headUp   uint64 // told above a backup's own head
}

func (f *forgetful) ReadHistory(ctx context.Context, q broker.HistoryQuery) (broker.HistoryPage, error) {
	if f.onQuery != nil {
		f.onQuery(&q)
	}
	p, err := f.Store.ReadHistory(ctx, q)
	if f.onAnswer != nil {
		f.onAnswer(&p)
	}
	return p, err
}

func (f *forgetful) SetRetention(ctx context.Context, rules []broker.RetentionRule) error {
	if f.onRules != nil {
		f.onRules(rules)
	}
	return f.Store.SetRetention(ctx, rules)
}

func (f *forgetful) ListTerms(ctx context.Context) ([]broker.Term, error) {
	terms, err := f.Store.ListTerms(ctx)
	if f.onTerms != nil {
		terms = f.onTerms(terms)
	}
	return terms, err
}

func (f *forgetful) ReadStatistics(ctx context.Context) (broker.StoreStatistics, error) {
	s, err := f.Store.ReadStatistics(ctx)
	if f.onStats != nil {
		f.onStats(&s)
	}
	return s, err
}

func (f *forgetful) Backup(ctx context.Context, w io.Writer, pace int64) (uint64, error) {
	head, err := f.Store.Backup(ctx, w, pace)
	return head + f.headUp, err
}

func appendFault(change func(*broker.Record)) func(*storebolt.Store) kit.Store {
	return func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s, onAppend: change}}
	}
}

func answerFault(change func(*broker.HistoryPage)) func(*storebolt.Store) kit.Store {
	return func(s *storebolt.Store) kit.Store { return &forgetful{faulty: faulty{Store: s}, onAnswer: change} }
}

func rulesFault(change func([]broker.RetentionRule)) func(*storebolt.Store) kit.Store {
	return func(s *storebolt.Store) kit.Store { return &forgetful{faulty: faulty{Store: s}, onRules: change} }
}

// powerFaults are mistakes in the optional powers.
var powerFaults = map[string]func(s *storebolt.Store) kit.Store{
	"a power is announced and not there": func(s *storebolt.Store) kit.Store {
		return struct {
			broker.Store
			io.Closer
		}{powerless{s}, s}
	},
	"a history drops one of 20": func(s *storebolt.Store) kit.Store {
		n := 0
		return answerFault(func(p *broker.HistoryPage) {
			var kept []broker.Record
			for _, r := range p.Records {
				if n++; n%20 != 0 {
					kept = append(kept, r)
				}
			}
			p.Records = kept
		})(s)
	},
	"a history forgets headers and content": answerFault(func(p *broker.HistoryPage) {
		for i := range p.Records {
			p.Records[i].Time = 0
		}
	}),
	"a history forgets the excluded origin": answerFault(func(p *broker.HistoryPage) {
		for i := range p.Records {
			p.Records[i].Exclude = ""
		}
	}),
	"a history does not tell what is trimmed": answerFault(func(p *broker.HistoryPage) { p.TrimmedThrough, p.Floor = 0, 0 }),
	"a history tells what others have lost":   answerFault(func(p *broker.HistoryPage) { p.TrimmedThrough = p.Head }),
	"a page has looked further than it has": answerFault(func(p *broker.HistoryPage) {
		if !p.Done {
			p.Through++
		}
	}),
	"a page is the last one too early": answerFault(func(p *broker.HistoryPage) { p.Done, p.Through = true, p.Head }),
	"the newest are the oldest": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s}, onQuery: func(q *broker.HistoryQuery) {
			if q.Last > 0 && q.Last < broker.MaxHistoryRecords {
				q.Limit, q.Last = q.Last, 0
			}
		}}
	},
	"a history ends at the head whatever was asked": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s}, onQuery: func(q *broker.HistoryQuery) { q.Through = 0 }}
	},
	"one more is kept": rulesFault(func(rules []broker.RetentionRule) {
		for i := range rules {
			if rules[i].Count > 0 {
				rules[i].Count++
			}
		}
	}),
	"bytes are not counted": rulesFault(func(rules []broker.RetentionRule) {
		for i := range rules {
			rules[i].Bytes *= 100
		}
	}),
	"nothing is too old": rulesFault(func(rules []broker.RetentionRule) {
		for i := range rules {
			rules[i].Age *= 1000
		}
	}),
	"the last rule wins": rulesFault(func(rules []broker.RetentionRule) {
		for i, j := 0, len(rules)-1; i < j; i, j = i+1, j-1 {
			rules[i], rules[j] = rules[j], rules[i]
		}
	}),
	"rules are forgotten": func(s *storebolt.Store) kit.Store {
		_ = s.SetRetention(context.Background(), nil) // at every start
		return &forgetful{faulty: faulty{Store: s}}
	},
	"only the present term is known": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s}, onTerms: func(t []broker.Term) []broker.Term { return t[len(t)-1:] }}
	},
	"terms begin one too late": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s}, onTerms: func(t []broker.Term) []broker.Term {
			for i := range t {
				t[i].First++
			}
			return t
		}}
	},
	"nothing expires":             appendFault(func(r *broker.Record) { r.Expires = 0 }),
	"everything expires at once":  appendFault(func(r *broker.Record) { r.Expires = min(r.Expires, 1) }),
	"keys are not looked at":      appendFault(func(r *broker.Record) { r.Key, r.Digest = nil, nil }),
	"digests are not compared":    appendFault(sameDigest),
	"keys are forgotten by kills": appendFault(otherKey),
	"a repeat is told at the wrong offset": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s, onResult: func(r *broker.AppendResult) {
			if r.Repeats {
				r.Offset++
			}
		}}}
	},
	"a repeat is refused": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s, onResult: func(r *broker.AppendResult) {
			if r.Repeats {
				*r = broker.AppendResult{Ref: r.Ref, Err: protocol.Errorf(protocol.CodeDuplicateID, "no")}
			}
		}}}
	},
	"figures are invented": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s}, onStats: func(s *broker.StoreStatistics) { s.Head++ }}
	},
	"a backup promises too much": func(s *storebolt.Store) kit.Store {
		return &forgetful{faulty: faulty{Store: s}, headUp: 1}
	},
}

// sameDigest is one digest for every content.
func sameDigest(r *broker.Record) {
	if len(r.Key) > 0 {
		r.Digest = []byte("all same")
	}
}

// otherKey makes the key another one in every process.
func otherKey(r *broker.Record) {
	if len(r.Key) > 0 {
		r.Key = append([]byte(strconv.Itoa(os.Getpid())), r.Key[10:]...)
	}
}
