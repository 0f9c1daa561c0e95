package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// RunDurable proves that a table outlives its closing. open opens the table in
// dir, which is empty the first time and has what was written before the next
// time. The suite closes what it opened.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) table.Table) {
	t.Run("Reopen", func(t *testing.T) { testReopen(t, open) })
	t.Run("ReopenLarge", func(t *testing.T) { testReopenLarge(t, open) })
}

// reopener opens one table again and again.
type reopener struct {
	open  func(t *testing.T, dir string) table.Table
	dir   string
	space string
}

// with runs fn on the table, opened for it and closed after it.
func (r *reopener) with(t *testing.T, fn func(s *subject)) {
	t.Helper()
	tab := r.open(t, r.dir)
	defer func() {
		if err := tab.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	fn(&subject{Table: tab, space: r.space})
}

// testReopen: items, replacements, deletions and versions are there after each
// reopening, refused Writes are not.
func testReopen(t *testing.T, open func(t *testing.T, dir string) table.Table) {
	r := &reopener{open: open, dir: t.TempDir(), space: newSpace()}
	r.with(t, func(*subject) {}) // nothing written, nothing wrong

	r.with(t, func(s *subject) {
		s.fill(t, "p", trickySortKeys)
		s.put(t, s.item("p", "replaced", "v1"), s.item("p", "deleted", "v1"), s.item("q", "other", "v1"))
		s.put(t, s.item("p", "replaced", "v2"))
		s.write(t, table.Delete(s.key("p", "deleted"), table.IfVersion("v1")))
		err := s.Write(context.Background(), []table.Action{
			table.Put(s.item("p", "refused", "v1"), table.Always()),
			table.Check(s.key("p", "none"), table.IfPresent()),
		})
		wantRefused(t, err, s.key("p", "none"))
	})
	want := slices.Sorted(slices.Values(append([]string{"replaced"}, trickySortKeys...)))
	for range 3 {
		r.with(t, func(s *subject) {
			if got := sortKeysOf(s.drain(t, table.Range{PK: s.space + "p", Limit: 7})); !slices.Equal(got, want) {
				t.Errorf("after reopening\n got %q\nwant %q", got, want)
			}
			s.wantItem(t, s.item("p", "replaced", "v2"))
			s.wantItem(t, s.item("p", "a#b", "v1"))
			s.wantItem(t, s.item("q", "other", "v1"))
			s.wantAbsent(t, s.key("p", "deleted"))
			s.wantAbsent(t, s.key("p", "refused"))
		})
	}
	r.with(t, func(s *subject) {
		err := s.Write(context.Background(), []table.Action{table.Put(s.item("p", "replaced", "v3"), table.IfVersion("v1"))})
		wantRefused(t, err, s.key("p", "replaced"))
		s.write(t, table.Put(s.item("p", "replaced", "v3"), table.IfVersion("v2")))
	})
	r.with(t, func(s *subject) { s.wantItem(t, s.item("p", "replaced", "v3")) })
}

// testReopenLarge: items of many pages of a file, some of them gone again.
func testReopenLarge(t *testing.T, open func(t *testing.T, dir string) table.Table) {
	r := &reopener{open: open, dir: t.TempDir(), space: newSpace()}
	item := func(s *subject, round, i int) table.Item {
		it := s.item("p", fmt.Sprintf("%02d", i), fmt.Sprint(round))
		it.Body = bytes.Repeat([]byte{byte(round), byte(i)}, 1000*i*i)
		return it
	}
	const items, rounds = 13, 4
	for round := range rounds {
		r.with(t, func(s *subject) {
			for i := range items {
				if round > 0 && i != round-1 {
					s.wantItem(t, item(s, round-1, i))
				}
				s.put(t, item(s, round, i))
			}
			s.write(t, table.Delete(s.key("p", fmt.Sprintf("%02d", round)), table.IfPresent()))
		})
	}
	r.with(t, func(s *subject) {
		var want []table.Item
		for i := range items {
			if i != rounds-1 {
				want = append(want, item(s, rounds-1, i))
			}
		}
		wantSameItems(t, s.drain(t, table.Range{PK: s.space + "p", Limit: 100}), want)
	})
}
