package meta

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// memory is a table for tests that run thousands of small histories: a map. It
// is not safe for concurrent use; the scheduler runs one step at a time.
type memory struct {
	items map[table.Key]table.Item
}

func newMemory() *memory { return &memory{items: map[table.Key]table.Item{}} }

func (m *memory) Get(_ context.Context, k table.Key) (table.Item, error) {
	it, ok := m.items[k]
	if !ok {
		return table.Item{}, table.ErrNotFound
	}
	return it, nil
}

func (m *memory) BatchGet(_ context.Context, keys []table.Key) ([]table.Item, error) {
	if err := table.ValidateKeys(keys...); err != nil {
		return nil, err
	}
	var out []table.Item
	for _, k := range keys {
		if it, ok := m.items[k]; ok {
			out = append(out, it)
		}
	}
	return out, nil
}

func (m *memory) Query(_ context.Context, r table.Range) (table.Page, error) {
	if err := table.ValidateRange(r); err != nil {
		return table.Page{}, err
	}
	var all []table.Item
	for k, it := range m.items {
		if k.PK == r.PK && strings.HasPrefix(k.SK, r.Prefix) && k.SK > r.After && (r.Before == "" || k.SK < r.Before) {
			all = append(all, it)
		}
	}
	slices.SortFunc(all, func(a, b table.Item) int { return cmp.Compare(a.SK, b.SK) })
	page := table.Page{Items: all}
	if len(all) > r.Limit {
		page.Items, page.More = all[:r.Limit], true
	}
	if n := len(page.Items); n > 0 {
		page.Last = page.Items[n-1].SK
	}
	return page, nil
}

func (m *memory) Write(_ context.Context, actions []table.Action) error {
	if err := table.ValidateWrite(actions); err != nil {
		return err
	}
	var failed []table.Key
	for _, a := range actions {
		if it, ok := m.items[a.Item.Key]; !a.If.Holds(ok, it.Version) {
			failed = append(failed, a.Item.Key)
		}
	}
	if len(failed) > 0 {
		return &table.ConditionError{Failed: failed}
	}
	for _, a := range actions {
		switch a.Kind {
		case table.ActionPut:
			m.items[a.Item.Key] = a.Item
		case table.ActionDelete:
			delete(m.items, a.Item.Key)
		}
	}
	return nil
}

func (m *memory) Close() error { return nil }
