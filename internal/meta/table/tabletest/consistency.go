package tabletest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// testConsistency: every read sees the Write that was acknowledged before it,
// on whatever goroutine.
func testConsistency(t *testing.T, s *subject) {
	ctx := context.Background()
	for i := range s.rounds(40) {
		want := s.item("p", "x", strconv.Itoa(i))
		s.put(t, want)
		s.wantItem(t, want)
		items, err := s.BatchGet(ctx, []table.Key{want.Key})
		if err != nil || len(items) != 1 || !sameItem(items[0], want) {
			t.Fatalf("batch get after write %d: %v, error %v", i, items, err)
		}
		page, err := s.Query(ctx, table.Range{PK: want.PK, Limit: 1})
		if err != nil || len(page.Items) != 1 || !sameItem(page.Items[0], want) {
			t.Fatalf("query after write %d: %v, error %v", i, page.Items, err)
		}
	}
	if s.opts.Serial {
		return
	}
	acknowledged := make(chan table.Item)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for it := range acknowledged {
				got, err := s.Get(ctx, it.Key)
				if err != nil || !sameItem(got, it) {
					t.Errorf("get on another goroutine: %s, error %v; want %s", show(got), err, show(it))
				}
			}
		})
	}
	for i := range s.rounds(60) {
		it := s.item("q", strconv.Itoa(i), "v1")
		s.put(t, it)
		acknowledged <- it
	}
	close(acknowledged)
	wg.Wait()
}

// testStaleDecisions: a decision that was read before somebody else's Write
// is refused. These are the races of concurrent.go in their worst order.
func testStaleDecisions(t *testing.T, s *subject) {
	ctx := context.Background()
	for _, c := range []struct {
		name          string
		first, second func(s *subject) []table.Action
		failed        string
	}{
		{
			"lost update",
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "a", "v2"), table.IfVersion("v1"))}
			},
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "a", "v3"), table.IfVersion("v1"))}
			},
			"a",
		},
		{
			"write skew",
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "a", "v2"), table.Always()), table.Check(s.key("p", "b"), table.IfVersion("v1"))}
			},
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "b", "v2"), table.Always()), table.Check(s.key("p", "a"), table.IfVersion("v1"))}
			},
			"a",
		},
		{
			"reference to what went away",
			func(s *subject) []table.Action {
				return []table.Action{table.Delete(s.key("p", "a"), table.IfPresent())}
			},
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "c", "v1"), table.IfAbsent()), table.Check(s.key("p", "a"), table.IfPresent())}
			},
			"a",
		},
		{
			"deleted and made again",
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "a", "v1 again"), table.IfPresent())}
			},
			func(s *subject) []table.Action {
				return []table.Action{table.Delete(s.key("p", "a"), table.IfVersion("v1"))}
			},
			"a",
		},
		{
			"name taken",
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "c", "mine"), table.IfAbsent())}
			},
			func(s *subject) []table.Action {
				return []table.Action{table.Put(s.item("p", "c", "yours"), table.IfAbsent())}
			},
			"c",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.fresh()
			s.put(t, s.item("p", "a", "v1"), s.item("p", "b", "v1"))
			s.write(t, c.first(s)...)
			before := s.drain(t, table.Range{PK: s.space + "p", Limit: 10})
			wantRefused(t, s.Write(ctx, c.second(s)), s.key("p", c.failed))
			after := s.drain(t, table.Range{PK: s.space + "p", Limit: 10})
			if !slices.EqualFunc(before, after, sameItem) {
				t.Errorf("the refused write changed %q to %q", sortKeysOf(before), sortKeysOf(after))
			}
		})
	}
}
