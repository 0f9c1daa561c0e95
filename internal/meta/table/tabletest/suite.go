// Package tabletest is the contract of package table as tests. Every engine
// runs [Run]; one whose items outlive the process runs [RunDurable] too.
package tabletest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Options fit the suite to what it runs against. The zero Options are for a
// real engine.
type Options struct {
	// Serial leaves out the tests that call the table from several goroutines,
	// for stand-ins that do not isolate concurrent calls.
	Serial bool
	// Small does fewer rounds, and leaves out those with megabytes of items,
	// for stand-ins that are slow.
	Small bool
	// Without names groups of tests to leave out, for what a stand-in cannot do.
	Without []string
}

// Run proves that the table which open returns keeps the contract. It is
// called once for each group of tests and may return the same table again: no
// group touches the partitions of another, nor of another run. Closing it is up
// to open, by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) table.Table, opts ...Options) {
	var o Options
	for _, opt := range opts {
		o.Serial = o.Serial || opt.Serial
		o.Small = o.Small || opt.Small
		o.Without = append(o.Without, opt.Without...)
	}
	for _, group := range []struct {
		name       string
		run        func(t *testing.T, s *subject)
		concurrent bool
	}{
		{name: "Items", run: testItems},
		{name: "BatchGet", run: testBatchGet},
		{name: "Independence", run: testIndependence},
		{name: "Conditions", run: testConditions},
		{name: "AllOrNothing", run: testAllOrNothing},
		{name: "ConditionError", run: testConditionError},
		{name: "LimitsOfWrite", run: testLimitsOfWrite},
		{name: "LimitsOfKeys", run: testLimitsOfKeys},
		{name: "LimitsOfRange", run: testLimitsOfRange},
		{name: "QueryOrder", run: testQueryOrder},
		{name: "QueryBounds", run: testQueryBounds},
		{name: "QueryPages", run: testQueryPages},
		{name: "QueryLargeItems", run: testQueryLargeItems},
		{name: "QueryPartitions", run: testQueryPartitions},
		{name: "Consistency", run: testConsistency},
		{name: "StaleDecisions", run: testStaleDecisions},
		{name: "Counter", run: testCounter, concurrent: true},
		{name: "Transfers", run: testTransfers, concurrent: true},
		{name: "WriteSkew", run: testWriteSkew, concurrent: true},
		{name: "OneWinner", run: testOneWinner, concurrent: true},
		{name: "QueryBesideWrites", run: testQueryBesideWrites, concurrent: true},
		{name: "Model", run: testModel},
	} {
		t.Run(group.name, func(t *testing.T) {
			if group.concurrent && o.Serial {
				t.Skip("left out by Options.Serial")
			}
			if slices.Contains(o.Without, group.name) {
				t.Skip("left out by Options.Without")
			}
			group.run(t, &subject{Table: open(t), opts: o, space: newSpace()})
		})
	}
}

// subject is the table under test and a name space inside it.
type subject struct {
	table.Table
	opts  Options
	space string // begins the name of every partition
}

var spaces atomic.Uint64

// newSpace returns the beginning of partition names that nobody has used, on
// stand-ins that outlive the run included.
func newSpace() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("t%s-%d/", hex.EncodeToString(b[:]), spaces.Add(1))
}

// fresh returns the subject with a name space of its own.
func (s *subject) fresh() *subject {
	return &subject{Table: s.Table, opts: s.opts, space: newSpace()}
}

// rounds is n, or less for a Small run.
func (s *subject) rounds(n int) int {
	if s.opts.Small {
		return max(2, n/4)
	}
	return n
}

func (s *subject) key(pk, sk string) table.Key {
	return table.Key{PK: s.space + pk, SK: sk}
}

// item is an item with contents that tell its key and version.
func (s *subject) item(pk, sk, version string) table.Item {
	return table.Item{
		Key:     s.key(pk, sk),
		Version: version,
		Value:   fmt.Appendf(nil, `{"sk":%q,"version":%q}`, sk, version),
		Body:    []byte("body of " + sk + " " + version),
	}
}

// tb is what a check needs, of a testing.T as of a rapid.T.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// write writes what must succeed.
func (s *subject) write(t tb, actions ...table.Action) {
	t.Helper()
	if err := s.Write(context.Background(), actions); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// put stores items unconditionally, as many in one Write as the limits allow.
func (s *subject) put(t tb, items ...table.Item) {
	t.Helper()
	var actions []table.Action
	size := 0
	for _, it := range items {
		if len(actions) == table.MaxActions || size+it.Size() > table.MaxWriteBytes {
			s.write(t, actions...)
			actions, size = nil, 0
		}
		actions = append(actions, table.Put(it, table.Always()))
		size += it.Size()
	}
	if len(actions) > 0 {
		s.write(t, actions...)
	}
}

// wantItem checks that Get finds exactly this item.
func (s *subject) wantItem(t tb, want table.Item) {
	t.Helper()
	got, err := s.Get(context.Background(), want.Key)
	if err != nil {
		t.Errorf("get %s: %v", want.Key, err)
		return
	}
	if !sameItem(got, want) {
		t.Errorf("get %s: got %s, want %s", want.Key, show(got), show(want))
	}
}

// wantAbsent checks that Get finds nothing under the key.
func (s *subject) wantAbsent(t tb, key table.Key) {
	t.Helper()
	it, err := s.Get(context.Background(), key)
	if !errors.Is(err, table.ErrNotFound) {
		t.Errorf("get %s: got %s, error %v; want ErrNotFound", key, show(it), err)
	}
}

// wantRefused checks that err is a ConditionError that names exactly the keys.
func wantRefused(t tb, err error, keys ...table.Key) {
	t.Helper()
	var ce *table.ConditionError
	if !errors.As(err, &ce) {
		t.Errorf("got error %v, want a ConditionError on %v", err, keys)
		return
	}
	if got, want := sortedKeys(ce.Failed), sortedKeys(keys); !slices.Equal(got, want) {
		t.Errorf("ConditionError names %v, want %v", got, want)
	}
}

func wantLimit(t tb, err error) {
	t.Helper()
	if !errors.Is(err, table.ErrLimit) {
		t.Errorf("got error %v, want ErrLimit", err)
	}
}

// sameItem compares what the contract keeps: an empty slice may come back nil.
func sameItem(a, b table.Item) bool {
	return a.Key == b.Key && a.Version == b.Version &&
		bytes.Equal(a.Value, b.Value) && bytes.Equal(a.Body, b.Body)
}

// show describes an item for a message, however large it is.
func show(it table.Item) string {
	return fmt.Sprintf("{%.60q version %.20q value %.60q of %d body %.60q of %d}",
		it.Key, it.Version, it.Value, len(it.Value), it.Body, len(it.Body))
}

func compareKeys(a, b table.Key) int {
	if c := strings.Compare(a.PK, b.PK); c != 0 {
		return c
	}
	return strings.Compare(a.SK, b.SK)
}

func sortedKeys(keys []table.Key) []table.Key {
	return slices.SortedFunc(slices.Values(keys), compareKeys)
}

func sortKeysOf(items []table.Item) []string {
	sks := make([]string, len(items))
	for i, it := range items {
		sks[i] = it.SK
	}
	return sks
}
