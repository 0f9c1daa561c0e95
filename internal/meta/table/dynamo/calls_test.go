package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

func testItem(sk, version string) table.Item {
	return table.Item{
		Key:     table.Key{PK: "p", SK: sk},
		Version: version,
		Value:   fmt.Appendf(nil, `{"sk":%q,"version":%q}`, sk, version),
		Body:    []byte("body " + version),
	}
}

// TestCalls: what each operation asks of DynamoDB, because that is the bill.
func TestCalls(t *testing.T) {
	w := newWire()
	tab := newTable(t, Options{Endpoint: minidyn.start(t), HTTPClient: w, Retry: quick})
	ctx := context.Background()
	a, b := testItem("a", "v1"), testItem("b", "v1")
	if err := tab.Write(ctx, []table.Action{table.Put(a, table.Always()), table.Put(b, table.Always())}); err != nil {
		t.Fatal(err)
	}
	write := func(actions ...table.Action) func() error {
		return func() error { return tab.Write(ctx, actions) }
	}
	query := func(r table.Range) func() error {
		return func() error { _, err := tab.Query(ctx, r); return err }
	}
	for _, c := range []struct {
		name string
		do   func() error
		want map[string]int
	}{
		{"get", func() error { _, err := tab.Get(ctx, a.Key); return err }, map[string]int{"GetItem": 1}},
		{"batch get", func() error { _, err := tab.BatchGet(ctx, []table.Key{a.Key, b.Key}); return err }, map[string]int{"BatchGetItem": 1}},
		{"query", query(table.Range{PK: "p", Prefix: "a", Limit: 10}), map[string]int{"Query": 1}},
		{"query of nothing", query(table.Range{PK: "p", Prefix: "a", After: "b", Limit: 10}), nil},
		{"query behind everything", query(table.Range{PK: "p", After: "b", Before: "b", Limit: 10}), nil},
		{"replace a version", write(table.Put(testItem("a", "v2"), table.IfVersion("v1"))), map[string]int{"PutItem": 1}},
		{"replace a version by itself", write(table.Put(b, table.IfVersion("v1"))), map[string]int{"TransactWriteItems": 1}},
		{"put", write(table.Put(testItem("c", "v1"), table.Always())), map[string]int{"TransactWriteItems": 1}},
		{"create", write(table.Put(testItem("d", "v1"), table.IfAbsent())), map[string]int{"TransactWriteItems": 1}},
		{"delete", write(table.Delete(testItem("d", "").Key, table.Always())), map[string]int{"TransactWriteItems": 1}},
		{"check", write(table.Check(a.Key, table.IfVersion("v2"))), map[string]int{"GetItem": 1}},
		{"check of nothing", write(table.Check(a.Key, table.Always())), nil},
		{"checks of nothing", write(table.Check(a.Key, table.Always()), table.Check(b.Key, table.Always())), nil},
		{"checks", write(table.Check(a.Key, table.IfVersion("v2")), table.Check(b.Key, table.IfPresent())), map[string]int{"TransactWriteItems": 1}},
		{"put and check", write(table.Put(testItem("c", "v2"), table.IfVersion("v1")), table.Check(b.Key, table.IfPresent())), map[string]int{"TransactWriteItems": 1}},
		{"replace and check of nothing", write(table.Put(testItem("c", "v3"), table.IfVersion("v2")), table.Check(b.Key, table.Always())), map[string]int{"PutItem": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.reset()
			if err := c.do(); err != nil {
				t.Error(err)
			}
			if got := w.reset(); !maps.Equal(got, c.want) {
				t.Errorf("calls %v, want %v", got, c.want)
			}
		})
	}
	if len(w.stale) > 0 {
		t.Errorf("reads that may be stale: %v", w.stale)
	}
	t.Run("refused", func(t *testing.T) {
		for _, err := range []error{
			tab.Write(ctx, []table.Action{table.Put(a, table.IfVersion("v0"))}),
			tab.Write(ctx, []table.Action{table.Check(a.Key, table.IfAbsent())}),
			tab.Write(ctx, []table.Action{table.Delete(a.Key, table.IfAbsent())}),
		} {
			if !table.IsCondition(err) {
				t.Error(err)
			}
		}
		if got, want := w.reset(), (map[string]int{"PutItem": 1, "GetItem": 1, "TransactWriteItems": 1}); !maps.Equal(got, want) {
			t.Errorf("calls %v, want %v", got, want)
		}
	})
}

func TestOpen(t *testing.T) {
	ctx := context.Background()
	for name, o := range map[string]Options{
		"no table":       {Region: "eu-west-1", Endpoint: "http://127.0.0.1:1"},
		"no region":      {TableName: "t", Endpoint: "http://127.0.0.1:1"},
		"no credentials": {TableName: "t", Region: "eu-west-1"},
	} {
		if _, err := Open(ctx, o); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	w := newWire()
	tab, err := Open(ctx, Options{TableName: "t", Region: "eu-west-1", Endpoint: "http://127.0.0.1:1", HTTPClient: w})
	if err != nil || len(w.reset()) != 0 {
		t.Fatalf("open: %v; it has to call nobody", err)
	}
	// A client of the caller's is used as it is, but for its retries.
	w.inject("GetItem", 100, throttled)
	shared, err := Open(ctx, Options{TableName: "t", Client: tab.client, Retry: Retry{Attempts: 2, Pause: 1}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = shared.Get(ctx, table.Key{PK: "p", SK: "s"})
	if calls := w.reset()["GetItem"]; err == nil || errors.Is(err, table.ErrNotFound) || calls != 2 {
		t.Errorf("%d calls, error %v; want 2 and an error", calls, err)
	}
}
