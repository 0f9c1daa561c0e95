package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// testItems: one item goes in and comes out byte for byte, is replaced as a
// whole, and goes away.
func testItems(t *testing.T, s *subject) {
	var everyByte [256]byte
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	for _, c := range []struct {
		name string
		item table.Item
	}{
		{"full", s.item("p", "full", "v1")},
		{"no body", table.Item{Key: s.key("p", "no body"), Version: "v", Value: []byte(`{}`)}},
		{"no value", table.Item{Key: s.key("p", "no value"), Version: "v", Body: []byte("b")}},
		{"neither", table.Item{Key: s.key("p", "neither"), Version: "v"}},
		{"every byte", table.Item{Key: s.key("p", "every byte"), Version: "v", Value: everyByte[:], Body: everyByte[:]}},
		{"NUL at the ends", table.Item{Key: s.key("p", "nul"), Version: "v", Value: []byte("\x00x\x00"), Body: []byte("\x00\x00")}},
		{"UTF-8 keys", table.Item{Key: s.key("ключ/é", "日本\U0001F600"), Version: "ü"}},
		{"control characters in keys", table.Item{Key: s.key("\x01", "\x01\x7f"), Version: "v"}},
		{"key parts with slashes", table.Item{Key: s.key("a/b", "c/d"), Version: "v"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.wantAbsent(t, c.item.Key)
			s.put(t, c.item)
			s.wantItem(t, c.item)
			s.write(t, table.Delete(c.item.Key, table.Always()))
			s.wantAbsent(t, c.item.Key)
		})
	}
	t.Run("replaced as a whole", func(t *testing.T) {
		s.put(t, s.item("p", "r", "v1"))
		bare := table.Item{Key: s.key("p", "r"), Version: "v2"}
		s.put(t, bare)
		s.wantItem(t, bare)
	})
	t.Run("delete of nothing", func(t *testing.T) {
		s.write(t, table.Delete(s.key("p", "none"), table.Always()))
		s.wantAbsent(t, s.key("p", "none"))
	})
	t.Run("both key parts count", func(t *testing.T) {
		s := s.fresh()
		s.put(t, s.item("p", "x", "v1"))
		for _, k := range []table.Key{s.key("p", "y"), s.key("q", "x"), s.key("p/", "x"), s.key("px", "x"), s.key("x", "p")} {
			s.wantAbsent(t, k)
		}
	})
	t.Run("all kinds in one write", func(t *testing.T) {
		s := s.fresh()
		old, gone, kept := s.item("p", "old", "v1"), s.item("p", "gone", "v1"), s.item("q", "kept", "v1")
		s.put(t, old, gone, kept)
		old, made := s.item("p", "old", "v2"), s.item("r", "made", "v1")
		s.write(t,
			table.Put(old, table.IfVersion("v1")),
			table.Put(made, table.IfAbsent()),
			table.Delete(gone.Key, table.IfPresent()),
			table.Check(kept.Key, table.IfVersion("v1")),
		)
		s.wantItem(t, old)
		s.wantItem(t, made)
		s.wantAbsent(t, gone.Key)
		s.wantItem(t, kept)
	})
}

// testBatchGet: what is there comes back once, in any order.
func testBatchGet(t *testing.T, s *subject) {
	ctx := context.Background()
	var stored []table.Item
	for i := range table.MaxBatchGet {
		stored = append(stored, s.item(fmt.Sprintf("p%d", i%3), fmt.Sprintf("%03d", i), "v1"))
	}
	s.put(t, stored...)
	keysOf := func(items []table.Item) (keys []table.Key) {
		for _, it := range items {
			keys = append(keys, it.Key)
		}
		return keys
	}
	for _, c := range []struct {
		name string
		keys []table.Key
		want []table.Item
	}{
		{"one", keysOf(stored[:1]), stored[:1]},
		{"one that is missing", []table.Key{s.key("p0", "none")}, nil},
		{"some missing", []table.Key{s.key("p0", "none"), stored[4].Key, s.key("none", "none"), stored[2].Key}, []table.Item{stored[2], stored[4]}},
		{"same sort key elsewhere", []table.Key{s.key("p0", "000"), s.key("p1", "000")}, stored[:1]},
		{"the most", keysOf(stored), stored},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.BatchGet(ctx, c.keys)
			if err != nil {
				t.Fatalf("batch get: %v", err)
			}
			wantSameItems(t, got, c.want)
		})
	}
	for _, c := range []struct {
		name string
		keys []table.Key
	}{
		{"no keys", nil},
		{"a key twice", []table.Key{stored[0].Key, stored[1].Key, stored[0].Key}},
		{"a missing key twice", []table.Key{s.key("p", "none"), s.key("p", "none")}},
		{"one too many", append(keysOf(stored), s.key("p", "none"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.BatchGet(ctx, c.keys)
			wantLimit(t, err)
		})
	}
	t.Run("large items", func(t *testing.T) {
		if s.opts.Small {
			t.Skip("left out by Options.Small")
		}
		// Together above 16 MB, where DynamoDB returns a part.
		var large []table.Item
		for i := range 60 {
			it := s.item("large", fmt.Sprintf("%03d", i), "v1")
			it.Body = bytes.Repeat([]byte{byte(i)}, 300_000)
			large = append(large, it)
		}
		s.put(t, large...)
		got, err := s.BatchGet(ctx, keysOf(large))
		if err != nil {
			t.Fatalf("batch get: %v", err)
		}
		wantSameItems(t, got, large)
	})
}

// wantSameItems compares in any order.
func wantSameItems(t tb, got, want []table.Item) {
	t.Helper()
	byKey := func(a, b table.Item) int { return compareKeys(a.Key, b.Key) }
	got = slices.SortedFunc(slices.Values(got), byKey)
	want = slices.SortedFunc(slices.Values(want), byKey)
	if !slices.EqualFunc(got, want, sameItem) {
		t.Errorf("got %d items %q, want %d: %q", len(got), sortKeysOf(got), len(want), sortKeysOf(want))
	}
}

// testIndependence: slices that went in are not kept, those that come out
// belong to the caller.
func testIndependence(t *testing.T, s *subject) {
	ctx := context.Background()
	want := s.item("p", "x", "v1")
	scribble := func(b []byte) {
		for i := range b {
			b[i] = '!'
		}
		_ = append(b, "over what lies behind"...)
	}
	// Large enough, and in company enough, to leave an engine's memory for its
	// file.
	s.fill(t, "p", trickySortKeys)
	want.Value = bytes.Repeat([]byte("value"), 100)
	want.Body = bytes.Repeat([]byte("body"), 5000)
	in := want
	in.Value, in.Body = bytes.Clone(want.Value), bytes.Clone(want.Body)
	actions := []table.Action{table.Put(in, table.Always())}
	s.write(t, actions...)
	scribble(in.Value)
	scribble(in.Body)
	actions[0] = table.Delete(s.key("p", "y"), table.Always())
	s.wantItem(t, want)

	keys := []table.Key{want.Key}
	for _, read := range []struct {
		name string
		do   func() (table.Item, error)
	}{
		{"Get", func() (table.Item, error) { return s.Get(ctx, want.Key) }},
		{"BatchGet", func() (table.Item, error) {
			items, err := s.BatchGet(ctx, keys)
			if err != nil || len(items) != 1 {
				return table.Item{}, fmt.Errorf("%d items, %w", len(items), err)
			}
			return items[0], nil
		}},
		{"Query", func() (table.Item, error) {
			page, err := s.Query(ctx, table.Range{PK: want.PK, Prefix: want.SK, Limit: 1})
			if err != nil || len(page.Items) != 1 {
				return table.Item{}, fmt.Errorf("%d items, %w", len(page.Items), err)
			}
			return page.Items[0], nil
		}},
	} {
		t.Run(read.name, func(t *testing.T) {
			got, err := read.do()
			if err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				other := want
				other.Body = bytes.Repeat([]byte{byte(i)}, len(want.Body))
				s.put(t, other)
			}
			if !sameItem(got, want) {
				t.Errorf("what was read changed with later writes to %s", show(got))
			}
			s.put(t, want)
			scribble(got.Value)
			if !bytes.Equal(got.Body, want.Body) {
				t.Errorf("writing and appending to Value changed Body to %.60q", got.Body)
			}
			scribble(got.Body)
			s.wantItem(t, want)
		})
	}
}
