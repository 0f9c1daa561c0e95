package tabletest

import (
	"context"
	"fmt"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// conditionCase is a condition and whether it holds of no item, and of an item
// with version "v1".
type conditionCase struct {
	name            string
	cond            table.Condition
	absent, present bool
}

var conditionCases = []conditionCase{
	{"Always", table.Always(), true, true},
	{"IfAbsent", table.IfAbsent(), true, false},
	{"IfPresent", table.IfPresent(), false, true},
	{"IfVersion of the item", table.IfVersion("v1"), false, true},
	{"IfVersion of another", table.IfVersion("v2"), false, false},
	{"IfVersion of its beginning", table.IfVersion("v"), false, false},
	{"IfVersion with more behind", table.IfVersion("v10"), false, false},
	{"IfVersion in other letters", table.IfVersion("V1"), false, false},
	{"IfVersion of nothing", table.IfVersion(""), false, false},
}

// actionCases are the kinds of action, and what is under the key after one
// that succeeded.
var actionCases = []struct {
	name  string
	make  func(next table.Item, c table.Condition) table.Action
	after func(before *table.Item, next table.Item) *table.Item
}{
	{
		"Put",
		table.Put,
		func(_ *table.Item, next table.Item) *table.Item { return &next },
	},
	{
		"Delete",
		func(next table.Item, c table.Condition) table.Action { return table.Delete(next.Key, c) },
		func(*table.Item, table.Item) *table.Item { return nil },
	},
	{
		"Check",
		func(next table.Item, c table.Condition) table.Action { return table.Check(next.Key, c) },
		func(before *table.Item, _ table.Item) *table.Item { return before },
	},
}

// testConditions: each condition on each action, with and without an item,
// alone and in company, because engines have another path for one action.
func testConditions(t *testing.T, s *subject) {
	for _, action := range actionCases {
		for _, cond := range conditionCases {
			for _, present := range []bool{false, true} {
				for _, alone := range []bool{true, false} {
					name := fmt.Sprintf("%s/%s/present=%v/alone=%v", action.name, cond.name, present, alone)
					t.Run(name, func(t *testing.T) {
						s := s.fresh()
						var before *table.Item
						holds := cond.absent
						if present {
							it := s.item("p", "x", "v1")
							s.put(t, it)
							before, holds = &it, cond.present
						}
						next := s.item("p", "x", "v2")
						other := s.item("p", "other", "v1")
						actions := []table.Action{action.make(next, cond.cond)}
						if !alone {
							actions = append(actions, table.Put(other, table.IfAbsent()))
						}
						err := s.Write(context.Background(), actions)
						want := before
						if holds {
							if err != nil {
								t.Errorf("write: %v, want success", err)
							}
							want = action.after(before, next)
						} else {
							wantRefused(t, err, next.Key)
						}
						s.wantState(t, next.Key, want)
						if !alone {
							if holds {
								s.wantItem(t, other)
							} else {
								s.wantAbsent(t, other.Key)
							}
						}
					})
				}
			}
		}
	}
}

// wantState checks that there is the item, or none where it is nil.
func (s *subject) wantState(t tb, key table.Key, want *table.Item) {
	t.Helper()
	if want == nil {
		s.wantAbsent(t, key)
	} else {
		s.wantItem(t, *want)
	}
}

// testAllOrNothing: one condition that fails, on an action of any kind and in
// any position, keeps all the other actions from happening.
func testAllOrNothing(t *testing.T, s *subject) {
	for _, action := range actionCases {
		for position := range 5 {
			t.Run(fmt.Sprintf("%s at %d", action.name, position), func(t *testing.T) {
				s := s.fresh()
				replaced, deleted, checked, stale := s.item("p", "replaced", "v1"), s.item("p", "deleted", "v1"),
					s.item("q", "checked", "v1"), s.item("p", "stale", "v1")
				s.put(t, replaced, deleted, checked, stale)
				made := s.item("p", "made", "v1")
				actions := []table.Action{
					table.Put(made, table.IfAbsent()),
					table.Put(s.item("p", "replaced", "v2"), table.Always()),
					table.Delete(deleted.Key, table.IfPresent()),
					table.Check(checked.Key, table.IfVersion("v1")),
				}
				failing := action.make(s.item("p", "stale", "v2"), table.IfVersion("v0"))
				actions = append(actions[:position:position], append([]table.Action{failing}, actions[position:]...)...)

				wantRefused(t, s.Write(context.Background(), actions), stale.Key)
				s.wantAbsent(t, made.Key)
				for _, it := range []table.Item{replaced, deleted, checked, stale} {
					s.wantItem(t, it)
				}
			})
		}
	}
	t.Run("the last of the most", func(t *testing.T) {
		s := s.fresh()
		var actions []table.Action
		for i := range table.MaxActions {
			cond := table.IfAbsent()
			if i == table.MaxActions-1 {
				cond = table.IfPresent()
			}
			actions = append(actions, table.Put(s.item("p", fmt.Sprintf("%03d", i), "v1"), cond))
		}
		last := &actions[table.MaxActions-1]
		wantRefused(t, s.Write(context.Background(), actions), last.Item.Key)
		if items := s.drain(t, table.Range{PK: s.space + "p", Limit: 100}); len(items) != 0 {
			t.Errorf("%d items of a refused write are there", len(items))
		}
		last.If = table.IfAbsent()
		s.write(t, actions...)
		if items := s.drain(t, table.Range{PK: s.space + "p", Limit: 100}); len(items) != table.MaxActions {
			t.Errorf("%d items after a write of %d", len(items), table.MaxActions)
		}
	})
}

// testConditionError: it names every key whose condition failed and no other,
// and a refusal is told from every other error.
func testConditionError(t *testing.T, s *subject) {
	ctx := context.Background()
	s.put(t, s.item("p", "a", "v1"), s.item("p", "b", "v1"), s.item("q", "c", "v1"))
	err := s.Write(ctx, []table.Action{
		table.Put(s.item("p", "a", "v2"), table.IfAbsent()),        // fails
		table.Put(s.item("p", "b", "v2"), table.IfVersion("v1")),   // holds
		table.Delete(s.key("q", "c"), table.IfVersion("v0")),       // fails
		table.Check(s.key("q", "none"), table.IfPresent()),         // fails
		table.Check(s.key("q", "free"), table.IfAbsent()),          // holds
		table.Put(s.item("r", "new", "v1"), table.IfVersion("v1")), // fails
		table.Delete(s.key("r", "nothing"), table.Always()),        // holds
	})
	wantRefused(t, err, s.key("p", "a"), s.key("q", "c"), s.key("q", "none"), s.key("r", "new"))
	if !table.IsCondition(err) {
		t.Errorf("IsCondition(%v) is false", err)
	}
	s.wantItem(t, s.item("p", "b", "v1"))

	_, err = s.Get(ctx, s.key("p", "none"))
	if table.IsCondition(err) {
		t.Errorf("IsCondition(%v) is true for a read", err)
	}
	if err := s.Write(ctx, nil); table.IsCondition(err) {
		t.Errorf("IsCondition(%v) is true for a write over a limit", err)
	}
	t.Run("only checks", func(t *testing.T) {
		s.write(t,
			table.Check(s.key("p", "a"), table.IfVersion("v1")),
			table.Check(s.key("q", "none"), table.IfAbsent()),
		)
		err := s.Write(ctx, []table.Action{
			table.Check(s.key("p", "a"), table.IfVersion("v1")),
			table.Check(s.key("q", "none"), table.IfPresent()),
		})
		wantRefused(t, err, s.key("q", "none"))
	})
}
