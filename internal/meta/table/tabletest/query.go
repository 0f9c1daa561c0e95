package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// trickySortKeys are neighbours in the order of bytes that another order would
// shuffle: beginnings of each other, the separators of our keys, both ends of
// one, two, three and four bytes of UTF-8. U+FFFD and U+10000 change places in
// UTF-16, lower and upper case in most collations.
var trickySortKeys = []string{
	"\x01", "\x01\x01", " ", "#", "#a", "-", "/", "0", "10", "2", "9", "A", "Z", "a", "a#", "a#\x01", "a#b", "a#\u00ff",
	"a#\U0010FFFF", "a$", "a-", "a/", "aA", "aa", "ab", "a~", "a\x7f", "a\u0080", "a\u00ff", "a\U0010FFFF", "b", "~", "\x7f",
	"\u0080", "\u00e9", "\u00ff", "\u07ff", "\u0800", "\ud7ff", "\ufffd", "\uffff", "\U00010000", "\U0010FFFF", "\U0010FFFF\U0010FFFF",
}

// drain reads a range to its end, page by page, and checks each page.
func (s *subject) drain(t tb, r table.Range) []table.Item {
	t.Helper()
	var all []table.Item
	for {
		page, err := s.Query(context.Background(), r)
		if err != nil {
			t.Fatalf("query %+v: %v", r, err)
		}
		checkPage(t, r, page)
		all = append(all, page.Items...)
		if !page.More {
			return all
		}
		r.After = page.Last
	}
}

// checkPage checks what is true of a page whatever the partition holds.
func checkPage(t tb, r table.Range, page table.Page) {
	t.Helper()
	if len(page.Items) > r.Limit {
		t.Errorf("query %+v: %d items", r, len(page.Items))
	}
	previous := r.After
	for _, it := range page.Items {
		switch {
		case it.PK != r.PK:
			t.Errorf("query %+v: %s is of another partition", r, it.Key)
		case previous != "" && it.SK <= previous:
			t.Errorf("query %+v: %q comes after %q", r, it.SK, previous)
		case !strings.HasPrefix(it.SK, r.Prefix), r.Before != "" && it.SK >= r.Before:
			t.Errorf("query %+v: %q is out of range", r, it.SK)
		}
		previous = it.SK
	}
	if page.Last < previous {
		t.Errorf("query %+v: Last %q precedes the last item, %q", r, page.Last, previous)
	}
	if page.More && page.Last <= r.After {
		t.Fatalf("query %+v: Last %q is no progress", r, page.Last)
	}
}

// inRange are those of the sort keys, in order, that the range selects.
func inRange(sks []string, r table.Range) []string {
	var in []string
	for _, sk := range sks {
		if strings.HasPrefix(sk, r.Prefix) && (r.After == "" || sk > r.After) && (r.Before == "" || sk < r.Before) {
			in = append(in, sk)
		}
	}
	slices.Sort(in)
	return in
}

// fill puts an item under each of the sort keys.
func (s *subject) fill(t tb, pk string, sks []string) {
	t.Helper()
	var items []table.Item
	for _, sk := range sks {
		items = append(items, s.item(pk, sk, "v1"))
	}
	s.put(t, items...)
}

// testQueryOrder: ascending by the bytes of the sort key, whole items.
func testQueryOrder(t *testing.T, s *subject) {
	shuffled := slices.Clone(trickySortKeys)
	slices.Reverse(shuffled)
	s.fill(t, "p", shuffled)
	items := s.drain(t, table.Range{PK: s.space + "p", Limit: 1000})
	want := slices.Sorted(slices.Values(trickySortKeys))
	if got := sortKeysOf(items); !slices.Equal(got, want) {
		t.Errorf("order\n got %q\nwant %q", got, want)
	}
	for _, it := range items {
		if want := s.item("p", it.SK, "v1"); !sameItem(it, want) {
			t.Errorf("got %s, want %s", show(it), show(want))
		}
	}
	// A page says that it is the last one, or where to go on.
	page, err := s.Query(context.Background(), table.Range{PK: s.space + "empty", Limit: 10})
	if err != nil || len(page.Items) != 0 || page.More {
		t.Errorf("query of an empty partition: %+v, error %v", page, err)
	}
}

// testQueryBounds: Prefix, After and Before, each alone and all together, with
// bounds that are items, that lie between items and that contradict.
func testQueryBounds(t *testing.T, s *subject) {
	s.fill(t, "p", trickySortKeys)
	prefixes := []string{"", "a", "a#", "\u00ff", "\U0010FFFF", "nothing"}
	afters := []string{"", "\x01", "Z", "a", "a!", "a#\U0010FFFF", "a~", "b", "\U0010FFFF\U0010FFFF"}
	befores := []string{"", "\x01", "a", "a#b", "a$", "aB", "b", "\u00ff", "\U0010FFFF"}
	if s.opts.Small {
		prefixes, afters, befores = prefixes[:4], afters[2:6], befores[2:6]
		afters, befores = append(afters, ""), append(befores, "")
	}
	for _, prefix := range prefixes {
		for _, after := range afters {
			for _, before := range befores {
				r := table.Range{PK: s.space + "p", Prefix: prefix, After: after, Before: before, Limit: 1000}
				if got, want := sortKeysOf(s.drain(t, r)), inRange(trickySortKeys, r); !slices.Equal(got, want) {
					t.Errorf("prefix %q after %q before %q:\n got %q\nwant %q", prefix, after, before, got, want)
				}
			}
		}
	}
}

// testQueryPages: reading to the end collects everything exactly once,
// whatever the page size and the bounds, by Last as by the last item's key.
func testQueryPages(t *testing.T, s *subject) {
	sks := trickySortKeys[12:31] // from "Z" to "b": few enough for every limit
	s.fill(t, "p", sks)
	for _, r := range []table.Range{
		{},
		{Prefix: "a#"},
		{After: "a#", Before: "a\u00ff"},
		{Prefix: "a", After: "a#\x01", Before: "a\U0010FFFF"},
	} {
		r.PK = s.space + "p"
		want := inRange(sks, r)
		for limit := 1; limit <= len(want)+1; limit++ {
			if s.opts.Small && limit > 3 && limit < len(want)-1 {
				continue
			}
			r.Limit = limit
			if got := sortKeysOf(s.drain(t, r)); !slices.Equal(got, want) {
				t.Errorf("by Last, %+v:\n got %q\nwant %q", r, got, want)
			}
			if got := s.drainByLastItem(t, r); !slices.Equal(got, want) {
				t.Errorf("by the last item, %+v:\n got %q\nwant %q", r, got, want)
			}
		}
	}
}

// drainByLastItem pages as the comment of Page.More says.
func (s *subject) drainByLastItem(t tb, r table.Range) (sks []string) {
	t.Helper()
	for {
		page, err := s.Query(context.Background(), r)
		if err != nil {
			t.Fatalf("query %+v: %v", r, err)
		}
		sks = append(sks, sortKeysOf(page.Items)...)
		if !page.More {
			return sks
		}
		r.After = page.Last
		if n := len(page.Items); n > 0 {
			r.After = page.Items[n-1].SK
		}
	}
}

// testQueryLargeItems: more than an engine returns at once still comes, over
// several pages.
func testQueryLargeItems(t *testing.T, s *subject) {
	var want []table.Item
	for i := range s.rounds(16) {
		it := s.item("p", fmt.Sprintf("%02d", i), "v1")
		it.Body = bytes.Repeat([]byte{'a' + byte(i)}, 300_000)
		want = append(want, it)
	}
	s.put(t, want...)
	got := s.drain(t, table.Range{PK: s.space + "p", Limit: 100})
	if !slices.EqualFunc(got, want, sameItem) {
		t.Errorf("got %q, want %q", sortKeysOf(got), sortKeysOf(want))
	}
}

// testQueryPartitions: no partition reaches into another, above all none
// whose name begins with its own.
func testQueryPartitions(t *testing.T, s *subject) {
	pks := []string{"a", "a#", "a#b", "a#b#c", "ab", "aa", "A", "a\x01", "a~", "a\u00ff", "b"}
	sks := []string{"\x01", "#b", "b", "b#c", "\U0010FFFF"}
	for _, pk := range pks {
		s.fill(t, pk, sks)
	}
	for _, pk := range pks {
		for _, r := range []table.Range{{Limit: 100}, {Limit: 2}, {Prefix: "b", Limit: 100}, {After: "b#c", Limit: 100}, {Before: "b", Limit: 100}} {
			r.PK = s.space + pk
			if got, want := sortKeysOf(s.drain(t, r)), inRange(sks, r); !slices.Equal(got, want) {
				t.Errorf("partition %q, %+v: got %q, want %q", pk, r, got, want)
			}
		}
	}
	for _, pk := range []string{"a#b#", "", "a#b#c#", "B"} {
		if items := s.drain(t, table.Range{PK: s.space + pk, Limit: 100}); len(items) != 0 {
			t.Errorf("partition %q has no items, got %q", pk, sortKeysOf(items))
		}
	}
	// Emptying one leaves its neighbours alone.
	for _, sk := range sks {
		s.write(t, table.Delete(s.key("a#b", sk), table.IfPresent()))
	}
	for _, pk := range pks {
		want := len(sks)
		if pk == "a#b" {
			want = 0
		}
		if items := s.drain(t, table.Range{PK: s.space + pk, Limit: 100}); len(items) != want {
			t.Errorf("partition %q: %d items after another was emptied, want %d", pk, len(items), want)
		}
	}
}
