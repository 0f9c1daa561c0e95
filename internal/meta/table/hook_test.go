package table_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
)

var errInjected = errors.New("injected")

func newTable(t *testing.T) table.Table {
	t.Helper()
	tab, err := bolt.Open(filepath.Join(t.TempDir(), "t.db"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tab.Close(); err != nil {
			t.Error(err)
		}
	})
	return tab
}

var (
	keyOne = table.Key{PK: "p", SK: "1"}
	keyTwo = table.Key{PK: "p", SK: "2"}
)

func item(k table.Key) table.Item {
	return table.Item{Key: k, Version: "v", Value: []byte("value"), Body: []byte("body")}
}

// callAll does one call of each operation, all of which succeed on a table
// without faults, and returns their errors.
func callAll(tab table.Table) map[table.Op]error {
	ctx := context.Background()
	errs := map[table.Op]error{}
	errs[table.OpWrite] = tab.Write(ctx, []table.Action{
		table.Put(item(keyOne), table.Always()),
		table.Put(item(keyTwo), table.Always()),
	})
	_, errs[table.OpGet] = tab.Get(ctx, keyOne)
	_, errs[table.OpBatchGet] = tab.BatchGet(ctx, []table.Key{keyOne, keyTwo, {PK: "p", SK: "none"}})
	_, errs[table.OpQuery] = tab.Query(ctx, table.Range{PK: "p", After: "1", Limit: 5})
	return errs
}

func TestHookSeesCalls(t *testing.T) {
	seen := map[table.Op]table.Call{}
	tab := table.WithHook(newTable(t), table.Hook{
		Before: func(c table.Call) error {
			if c.Items != 0 || c.Bytes != 0 || c.Duration != 0 {
				t.Errorf("%s: results known before the call: %+v", c.Op, c)
			}
			return nil
		},
		After: func(c table.Call, err error) error {
			seen[c.Op] = c
			return err
		},
	})
	for op, err := range callAll(tab) {
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
	}
	one := item(keyOne).Size()
	for op, want := range map[table.Op]table.Call{
		table.OpGet:      {Items: 1, Bytes: one},
		table.OpBatchGet: {Items: 2, Bytes: 2 * one},
		table.OpQuery:    {Items: 1, Bytes: one},
		table.OpWrite:    {Items: 2, Bytes: 2 * one},
	} {
		got := seen[op]
		if got.Items != want.Items || got.Bytes != want.Bytes || got.Duration <= 0 {
			t.Errorf("%s: %d items, %d bytes, %v; want %d items, %d bytes and a duration",
				op, got.Items, got.Bytes, got.Duration, want.Items, want.Bytes)
		}
	}
	if k := seen[table.OpGet].Keys; len(k) != 1 || k[0] != keyOne {
		t.Errorf("get: keys %v", k)
	}
	if k := seen[table.OpBatchGet].Keys; len(k) != 3 {
		t.Errorf("batch get: keys %v", k)
	}
	if r := seen[table.OpQuery].Range; r.PK != "p" || r.After != "1" || r.Limit != 5 {
		t.Errorf("query: range %+v", r)
	}
	if a := seen[table.OpWrite].Actions; len(a) != 2 || a[1].Item.Key != keyTwo {
		t.Errorf("write: actions %v", a)
	}
}

func TestHookBeforeStopsTheCall(t *testing.T) {
	inner := newTable(t)
	after := 0
	tab := table.WithHook(inner, table.Hook{
		Before: func(table.Call) error { return errInjected },
		After:  func(_ table.Call, err error) error { after++; return err },
	})
	for op, err := range callAll(tab) {
		if !errors.Is(err, errInjected) {
			t.Errorf("%s: %v, want the injected error", op, err)
		}
	}
	if after != 0 {
		t.Errorf("After ran %d times for calls that were not done", after)
	}
	if _, err := inner.Get(context.Background(), keyOne); !errors.Is(err, table.ErrNotFound) {
		t.Errorf("the stopped write reached the table: %v", err)
	}
}

func TestHookAfterReplacesTheError(t *testing.T) {
	ctx := context.Background()
	inner := newTable(t)
	tab := table.WithHook(inner, table.Hook{
		After: func(_ table.Call, err error) error {
			if err != nil {
				t.Errorf("the call failed: %v", err)
			}
			return errInjected
		},
	})
	for op, err := range callAll(tab) {
		if !errors.Is(err, errInjected) {
			t.Errorf("%s: %v, want the injected error", op, err)
		}
	}
	if _, err := inner.Get(ctx, keyOne); err != nil {
		t.Errorf("the write whose acknowledgement got lost did not happen: %v", err)
	}
	if it, _ := tab.Get(ctx, keyOne); it.Version != "" {
		t.Errorf("an item came along with an error: %+v", it)
	}
	if items, _ := tab.BatchGet(ctx, []table.Key{keyOne}); items != nil {
		t.Errorf("items came along with an error: %+v", items)
	}
	if p, _ := tab.Query(ctx, table.Range{PK: "p", Limit: 1}); p.Items != nil || p.More {
		t.Errorf("a page came along with an error: %+v", p)
	}
}

func TestHookFailedCallMovesNothing(t *testing.T) {
	var last table.Call
	tab := table.WithHook(newTable(t), table.Hook{After: func(c table.Call, err error) error {
		last = c
		return err
	}})
	err := tab.Write(context.Background(), []table.Action{table.Put(item(keyOne), table.IfPresent())})
	if !table.IsCondition(err) {
		t.Fatalf("write: %v, want a condition error", err)
	}
	if last.Items != 0 || last.Bytes != 0 {
		t.Errorf("a refused write counts %d items, %d bytes", last.Items, last.Bytes)
	}
}

func TestHooksNest(t *testing.T) {
	var order []string
	named := func(name string) table.Hook {
		return table.Hook{
			Before: func(table.Call) error { order = append(order, name+" before"); return nil },
			After:  func(_ table.Call, err error) error { order = append(order, name+" after"); return err },
		}
	}
	tab := table.WithHook(table.WithHook(newTable(t), named("inner")), named("outer"))
	if err := tab.Write(context.Background(), []table.Action{table.Delete(keyOne, table.Always())}); err != nil {
		t.Fatal(err)
	}
	want := [4]string{"outer before", "inner before", "inner after", "outer after"}
	if len(order) != len(want) || [4]string(order) != want {
		t.Errorf("order %q, want %q", order, want)
	}
}

func TestCounter(t *testing.T) {
	var calls table.Counter
	tab := table.WithHook(newTable(t), calls.Hook())
	callAll(tab)
	if _, err := tab.Get(context.Background(), table.Key{PK: "p", SK: "none"}); !errors.Is(err, table.ErrNotFound) {
		t.Fatal(err)
	}
	want := table.Counts{
		Get:      table.Count{Calls: 2, Items: 1},
		BatchGet: table.Count{Calls: 1, Items: 2},
		Query:    table.Count{Calls: 1, Items: 1},
		Write:    table.Count{Calls: 1, Items: 2},
	}
	if got := calls.Snapshot(); got != want || got.Calls() != 5 {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	if got := calls.Reset(); got != want {
		t.Errorf("reset returned %+v, want %+v", got, want)
	}
	if got := calls.Snapshot(); got != (table.Counts{}) {
		t.Errorf("counts after reset: %+v", got)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := tab.Get(context.Background(), keyOne); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := calls.Snapshot().Get; got != (table.Count{Calls: 400, Items: 400}) {
		t.Errorf("concurrent gets counted as %+v", got)
	}
}
