package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/tabletest"
)

// operation is one of each kind of call, and how to tell that it happened
// exactly once.
type operation struct {
	name   string
	api    string
	faults []fault
	do     func(ctx context.Context, tab *Table) error
}

var (
	readFaults  = []fault{throttled, exceeded, limited, beforeError, beforeNoService, beforeReset, beforeTimeout, afterError, afterReset, afterTimeout, afterCut}
	putFaults   = append([]fault{conflict}, readFaults...)
	transFaults = append([]fault{inProgress, cancelled, cancelledBusy, cancelledCap}, readFaults...)
	batchFaults = append([]fault{nothingRead, halfRead, oneRead}, readFaults...)
)

var operations = []operation{
	{"get", "GetItem", readFaults, func(ctx context.Context, tab *Table) error {
		it, err := tab.Get(ctx, testItem("a", "").Key)
		if err == nil && it.Version != "v1" {
			err = fmt.Errorf("got %+v", it)
		}
		return err
	}},
	{"check", "GetItem", readFaults, func(ctx context.Context, tab *Table) error {
		return tab.Write(ctx, []table.Action{table.Check(testItem("a", "").Key, table.IfVersion("v1"))})
	}},
	{"batch get", "BatchGetItem", batchFaults, func(ctx context.Context, tab *Table) error {
		keys := []table.Key{testItem("a", "").Key, testItem("none", "").Key, testItem("b", "").Key, testItem("c", "").Key}
		items, err := tab.BatchGet(ctx, keys)
		var got []string
		for _, it := range items {
			got = append(got, it.SK)
		}
		slices.Sort(got)
		if err == nil && strings.Join(got, "") != "abc" {
			err = fmt.Errorf("got %q", got)
		}
		return err
	}},
	{"query", "Query", readFaults, func(ctx context.Context, tab *Table) error {
		page, err := tab.Query(ctx, table.Range{PK: "p", Limit: 3})
		if err == nil && len(page.Items) != 3 {
			err = fmt.Errorf("got %d items", len(page.Items))
		}
		return err
	}},
	{"replace", "PutItem", putFaults, func(ctx context.Context, tab *Table) error {
		return tab.Write(ctx, []table.Action{table.Put(testItem("a", "v2"), table.IfVersion("v1"))})
	}},
	{"create", "TransactWriteItems", transFaults, func(ctx context.Context, tab *Table) error {
		return tab.Write(ctx, []table.Action{table.Put(testItem("new", "v1"), table.IfAbsent())})
	}},
	{"delete", "TransactWriteItems", transFaults, func(ctx context.Context, tab *Table) error {
		return tab.Write(ctx, []table.Action{table.Delete(testItem("b", "").Key, table.IfVersion("v1"))})
	}},
	{"transaction", "TransactWriteItems", transFaults, func(ctx context.Context, tab *Table) error {
		return tab.Write(ctx, []table.Action{
			table.Put(testItem("a", "v2"), table.IfVersion("v1")),
			table.Delete(testItem("b", "").Key, table.IfPresent()),
			table.Check(testItem("c", "").Key, table.IfVersion("v1")),
			table.Put(testItem("new", "v1"), table.IfAbsent()),
		})
	}},
}

func fill(t *testing.T, tab *Table) {
	t.Helper()
	var actions []table.Action
	for _, sk := range []string{"a", "b", "c"} {
		actions = append(actions, table.Put(testItem(sk, "v1"), table.Always()))
	}
	actions = append(actions, table.Delete(testItem("new", "").Key, table.Always()))
	if err := tab.Write(context.Background(), actions); err != nil {
		t.Fatal(err)
	}
}

// state is everything in the partition of the tests.
func state(t *testing.T, tab *Table) string {
	t.Helper()
	page, err := tab.Query(context.Background(), table.Range{PK: "p", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, it := range page.Items {
		s = append(s, it.SK+"="+it.Version)
	}
	return strings.Join(s, " ")
}

// TestPassingFaults: whatever happens to the first two attempts, before or
// after they took effect, the operation succeeds, with its effect and no
// other, after one attempt more.
func TestPassingFaults(t *testing.T) {
	w := newWire()
	tab := newTable(t, Options{Endpoint: moto.start(t), HTTPClient: w, Retry: quick})
	for _, op := range operations {
		fill(t, tab)
		if err := op.do(context.Background(), tab); err != nil {
			t.Fatalf("%s without faults: %v", op.name, err)
		}
		want := state(t, tab)
		for _, f := range op.faults {
			t.Run(op.name+"/"+f.name, func(t *testing.T) {
				fill(t, tab)
				w.inject(op.api, 2, f)
				err := op.do(context.Background(), tab)
				calls := w.reset()[op.api]
				if err != nil {
					t.Error(err)
				}
				if calls > 3 || calls < 2 || f.keep == nil && calls != 3 {
					t.Errorf("%d calls, want 3", calls)
				}
				if got := state(t, tab); got != want {
					t.Errorf("left %s, want %s", got, want)
				}
			})
		}
	}
}

// TestSilence: an attempt without an answer ends in its own time, and the next
// one finds out what became of it.
func TestSilence(t *testing.T) {
	w := newWire()
	retry := quick
	retry.Attempt = 500 * time.Millisecond
	tab := newTable(t, Options{Endpoint: moto.start(t), HTTPClient: w, Retry: retry})
	for _, op := range operations {
		if op.name != "replace" && op.name != "transaction" {
			continue // whose effect would show
		}
		for _, f := range []fault{silence, afterSilence} {
			fill(t, tab)
			w.inject(op.api, 1, f)
			if err := op.do(context.Background(), tab); err != nil {
				t.Errorf("%s, %s: %v", op.name, f.name, err)
			}
		}
	}
}

// TestLastingFaults: what does not pass ends after the bounded number of
// attempts, with the last error and never with one that says "certainly not".
func TestLastingFaults(t *testing.T) {
	w := newWire()
	retry := quick
	retry.Attempts = 3
	tab := newTable(t, Options{Endpoint: moto.start(t), HTTPClient: w, Retry: retry})
	for _, op := range operations {
		for _, f := range op.faults {
			if f.keep != nil || f.lose != nil && op.api == "PutItem" || f.lose != nil && op.api == "TransactWriteItems" {
				continue // these succeed, or are told by TestPassingFaults
			}
			fill(t, tab)
			before := state(t, tab)
			w.inject(op.api, 1000, f)
			err := op.do(context.Background(), tab)
			calls := w.reset()[op.api]
			if err == nil || table.IsCondition(err) || errors.Is(err, table.ErrLimit) || errors.Is(err, table.ErrNotFound) || calls != retry.Attempts {
				t.Errorf("%s, %s: %d calls, error %v; want %d", op.name, f.name, calls, err, retry.Attempts)
			}
			if got := state(t, tab); got != before {
				t.Errorf("%s, %s: left %s, want %s", op.name, f.name, got, before)
			}
		}
	}
}

// TestFinalFaults: what cannot pass is not tried again.
func TestFinalFaults(t *testing.T) {
	w := newWire()
	tab := newTable(t, Options{Endpoint: moto.start(t), HTTPClient: w, Retry: quick})
	fill(t, tab)
	for _, f := range []fault{
		answers(400, "ValidationException"),
		answers(400, "AccessDeniedException"),
		answers(400, "ResourceNotFoundException"),
		answers(400, "UnrecognizedClientException"),
		answers(400, "IdempotentParameterMismatchException"),
		answers(400, "TransactionCanceledException"),
		answers(400, "TransactionCanceledException", "ValidationError", "TransactionConflict"),
	} {
		for _, op := range operations {
			w.inject(op.api, 1000, f)
			err := op.do(context.Background(), tab)
			if calls := w.reset()[op.api]; err == nil || table.IsCondition(err) || calls != 1 {
				t.Errorf("%s, %s: %d calls, error %v", op.name, f.name, calls, err)
			}
		}
	}
}

// TestConditionBesideConflict: a condition that failed is an answer, whatever
// else was wrong.
func TestConditionBesideConflict(t *testing.T) {
	w := newWire()
	tab := newTable(t, Options{Endpoint: moto.start(t), HTTPClient: w, Retry: quick})
	a, b, c := testItem("a", "v1"), testItem("b", "v1"), testItem("c", "v1")
	w.inject("TransactWriteItems", 1, answers(400, "TransactionCanceledException",
		"ConditionalCheckFailed", "TransactionConflict", "ConditionalCheckFailed"))
	err := tab.Write(context.Background(), []table.Action{
		table.Put(a, table.IfPresent()), table.Put(b, table.Always()), table.Check(c.Key, table.IfPresent()),
	})
	var refusal *table.ConditionError
	if !errors.As(err, &refusal) || !slices.Equal(refusal.Failed, []table.Key{a.Key, c.Key}) || w.reset()["TransactWriteItems"] != 1 {
		t.Errorf("got %v", err)
	}
}

// TestSomebodyElseBetweenAttempts: the answer to the first attempt is lost,
// and before the second another process changes the item. Its write stays, and
// nobody is told that the first did not happen.
func TestSomebodyElseBetweenAttempts(t *testing.T) {
	url := moto.start(t)
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		action table.Action
		other  []table.Action // what the other does after it
		want   string
		doubt  bool
	}{
		{"put", table.Put(testItem("a", "mine"), table.Always()), []table.Action{table.Put(testItem("a", "other"), table.IfVersion("mine"))}, "a=other b=v1 c=v1", false},
		{"create", table.Put(testItem("new", "mine"), table.IfAbsent()), []table.Action{table.Delete(testItem("new", "").Key, table.IfVersion("mine"))}, "a=v1 b=v1 c=v1", false},
		{"put if present", table.Put(testItem("a", "mine"), table.IfPresent()), []table.Action{table.Put(testItem("a", "other"), table.IfVersion("mine"))}, "a=other b=v1 c=v1", false},
		{"delete", table.Delete(testItem("a", "").Key, table.Always()), []table.Action{table.Put(testItem("a", "other"), table.IfAbsent())}, "a=other b=v1 c=v1", false},
		{"delete a version", table.Delete(testItem("a", "").Key, table.IfVersion("v1")), []table.Action{table.Put(testItem("a", "v1"), table.IfAbsent())}, "a=v1 b=v1 c=v1", false},
		{"replace", table.Put(testItem("a", "mine"), table.IfVersion("v1")), []table.Action{table.Put(testItem("a", "other"), table.IfVersion("mine"))}, "a=other b=v1 c=v1", true},
		{"replace what goes", table.Put(testItem("a", "mine"), table.IfVersion("v1")), []table.Action{table.Delete(testItem("a", "").Key, table.IfVersion("mine"))}, "b=v1 c=v1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire()
			tab := newTable(t, Options{Endpoint: url, HTTPClient: w, Retry: quick})
			other, err := Open(ctx, Options{Endpoint: url, Region: "us-east-1", TableName: *tab.name})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, tab)
			f := afterReset
			f.meanwhile = func(func()) {
				if err := other.Write(ctx, c.other); err != nil {
					t.Errorf("the other: %v", err)
				}
			}
			api := "TransactWriteItems"
			if c.doubt {
				api = "PutItem"
			}
			w.inject(api, 1, f)
			err = tab.Write(ctx, []table.Action{c.action})
			if calls := w.reset()[api]; calls != 2 {
				t.Errorf("%d calls, want 2", calls)
			}
			if table.IsCondition(err) || c.doubt != errors.Is(err, ErrInDoubt) || !c.doubt && err != nil {
				t.Errorf("error %v, want doubt %v", err, c.doubt)
			}
			if got := state(t, tab); got != c.want {
				t.Errorf("left %s, want %s", got, c.want)
			}
		})
	}
}

// TestSameVersionBySomebodyElse: two writers who both follow "v1" by "v2" are
// told apart, where the request of one was lost and not its answer.
func TestSameVersionBySomebodyElse(t *testing.T) {
	url := moto.start(t)
	ctx := context.Background()
	w := newWire()
	tab := newTable(t, Options{Endpoint: url, HTTPClient: w, Retry: quick})
	other, err := Open(ctx, Options{Endpoint: url, Region: "us-east-1", TableName: *tab.name})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, tab)
	put := []table.Action{table.Put(testItem("a", "v2"), table.IfVersion("v1"))}
	f := beforeReset
	f.meanwhile = func(func()) {
		if err := other.Write(ctx, put); err != nil {
			t.Error(err)
		}
	}
	w.inject("PutItem", 1, f)
	if err := tab.Write(ctx, put); !errors.Is(err, ErrInDoubt) || table.IsCondition(err) {
		t.Errorf("both replaced v1: %v", err)
	}
}

// TestLateAttempt: an attempt that was given up arrives after the next one
// succeeded and somebody else wrote on top. It does nothing.
func TestLateAttempt(t *testing.T) {
	url := moto.start(t)
	ctx := context.Background()
	for _, c := range []struct {
		api    string
		action table.Action
	}{
		{"PutItem", table.Put(testItem("a", "mine"), table.IfVersion("v1"))},
		{"TransactWriteItems", table.Put(testItem("a", "mine"), table.Always())},
	} {
		w := newWire()
		tab := newTable(t, Options{Endpoint: url, HTTPClient: w, Retry: quick})
		fill(t, tab)
		var late func()
		f := beforeReset
		f.meanwhile = func(again func()) { late = again }
		w.inject(c.api, 1, f)
		if err := tab.Write(ctx, []table.Action{c.action}); err != nil {
			t.Fatal(err)
		}
		w.reset()
		if err := tab.Write(ctx, []table.Action{table.Put(testItem("a", "other"), table.IfVersion("mine"))}); err != nil {
			t.Fatal(err)
		}
		late()
		if got, want := state(t, tab), "a=other b=v1 c=v1"; got != want {
			t.Errorf("%s that came late left %s, want %s", c.api, got, want)
		}
	}
}

// TestContractWithFaults: the whole suite holds where every third request
// meets a fault. A lone replacement meets only those that leave no doubt: the
// suite wants to be told of conditions that failed, and in doubt it is not.
func TestContractWithFaults(t *testing.T) {
	url := moto.start(t)
	faults := map[string][]fault{"GetItem": readFaults, "Query": readFaults, "BatchGetItem": batchFaults, "PutItem": {throttled, exceeded, limited, conflict}, "TransactWriteItems": transFaults}
	rng := rand.New(rand.NewPCG(1, 2))
	tabletest.Run(t, func(t *testing.T) table.Table {
		w := newWire()
		tab := newTable(t, Options{Endpoint: url, HTTPClient: w, Retry: Retry{
			Attempts: 20, Budget: time.Minute, Pause: 1, MaxPause: 1,
		}})
		w.fault = func(op string, _ int) fault {
			some := faults[op]
			if len(some) == 0 || rng.IntN(3) > 0 {
				return fault{}
			}
			return some[rng.IntN(len(some))]
		}
		return tab
	}, tabletest.Options{Serial: true, Small: true, Without: []string{"QueryBounds", "QueryPages"}}) // many calls of one kind
}
