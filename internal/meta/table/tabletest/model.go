package tabletest

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// model is the contract without an engine: a map.
type model struct {
	items    map[table.Key]table.Item
	versions int
}

// write does what Write is to do, and returns the keys whose conditions fail.
func (m *model) write(actions []table.Action) (failed []table.Key) {
	for _, a := range actions {
		it, present := m.items[a.Item.Key]
		if !modelHolds(a.If, present, it.Version) {
			failed = append(failed, a.Item.Key)
		}
	}
	if failed != nil {
		return failed
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

// modelHolds says again what Condition.Holds says, which engines use.
func modelHolds(c table.Condition, present bool, version string) bool {
	return c == table.Always() ||
		c == table.IfAbsent() && !present ||
		c == table.IfPresent() && present ||
		present && c == table.IfVersion(version)
}

// partition returns the sort keys in a partition.
func (m *model) partition(pk string) (sks []string) {
	for k := range m.items {
		if k.PK == pk {
			sks = append(sks, k.SK)
		}
	}
	return sks
}

// testModel runs random operations on the table and on the model and compares
// every answer. A failure is shrunk to the shortest run that shows it.
func testModel(t *testing.T, s *subject) {
	if s.opts.Small {
		limitRapid(t, "rapid.checks", "12")
	}
	rapid.Check(t, func(t *rapid.T) {
		run := &modelRun{subject: s.fresh(), model: model{items: map[table.Key]table.Item{}}}
		t.Repeat(map[string]func(*rapid.T){
			"write":     run.write,
			"get":       run.get,
			"batch get": run.batchGet,
			"query":     run.query,
		})
		run.compareAll(t)
	})
}

// limitRapid sets one of rapid's flags, the only place that it reads, for the
// time of the test.
func limitRapid(t *testing.T, name, value string) {
	was := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, was) })
}

// Few keys, so that operations meet, and names that begin alike.
var (
	modelPKs    = []string{"a", "a#b", "ab"}
	modelSKs    = []string{"k", "k#", "k#1", "k#2", "k~", "l", "é"}
	modelBounds = append([]string{"", "", "", "j", "k!", "k#10", "k\u00ff", "z"}, modelSKs...)
)

// modelRun is a table and the model of what must be in it.
type modelRun struct {
	*subject
	model model
}

func (r *modelRun) drawKey(t *rapid.T) table.Key {
	return r.key(rapid.SampledFrom(modelPKs).Draw(t, "pk"), rapid.SampledFrom(modelSKs).Draw(t, "sk"))
}

func (r *modelRun) drawKeys(t *rapid.T, most int) []table.Key {
	return rapid.SliceOfNDistinct(rapid.Custom(r.drawKey), 1, most, rapid.ID[table.Key]).Draw(t, "keys")
}

// drawCondition draws from all conditions, more often one that holds: else
// hardly any Write of several actions would succeed.
func (r *modelRun) drawCondition(t *rapid.T, key table.Key) table.Condition {
	it, present := r.model.items[key]
	holding := []table.Condition{table.Always(), table.IfAbsent()}
	if present {
		holding = []table.Condition{table.Always(), table.IfPresent(), table.IfVersion(it.Version)}
	}
	if rapid.IntRange(0, 5).Draw(t, "any condition") > 0 {
		return rapid.SampledFrom(holding).Draw(t, "condition")
	}
	stale := strconv.Itoa(rapid.IntRange(0, r.model.versions).Draw(t, "version"))
	return rapid.SampledFrom([]table.Condition{
		table.Always(), table.IfAbsent(), table.IfPresent(), table.IfVersion(stale),
	}).Draw(t, "condition")
}

func (r *modelRun) write(t *rapid.T) {
	var actions []table.Action
	for _, key := range r.drawKeys(t, 6) {
		cond := r.drawCondition(t, key)
		switch rapid.SampledFrom([]table.ActionKind{table.ActionPut, table.ActionPut, table.ActionDelete, table.ActionCheck}).Draw(t, "kind") {
		case table.ActionPut:
			r.model.versions++
			it := table.Item{
				Key:     key,
				Version: strconv.Itoa(r.model.versions),
				Value:   rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "value"),
				Body:    rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "body"),
			}
			actions = append(actions, table.Put(it, cond))
		case table.ActionDelete:
			actions = append(actions, table.Delete(key, cond))
		case table.ActionCheck:
			actions = append(actions, table.Check(key, cond))
		}
	}
	err := r.Write(context.Background(), actions)
	if failed := r.model.write(actions); failed != nil {
		wantRefused(t, err, failed...)
	} else if err != nil {
		t.Fatalf("write: %v", err)
	}
}

func (r *modelRun) get(t *rapid.T) {
	key := r.drawKey(t)
	if it, present := r.model.items[key]; present {
		r.wantItem(t, it)
	} else {
		r.wantAbsent(t, key)
	}
}

func (r *modelRun) batchGet(t *rapid.T) {
	keys := r.drawKeys(t, 12)
	var want []table.Item
	for _, key := range keys {
		if it, present := r.model.items[key]; present {
			want = append(want, it)
		}
	}
	got, err := r.BatchGet(context.Background(), keys)
	if err != nil {
		t.Fatalf("batch get: %v", err)
	}
	wantSameItems(t, got, want)
}

func (r *modelRun) query(t *rapid.T) {
	rng := table.Range{
		PK:     r.space + rapid.SampledFrom(modelPKs).Draw(t, "pk"),
		Prefix: rapid.SampledFrom([]string{"", "k", "k#", "é", "m"}).Draw(t, "prefix"),
		After:  rapid.SampledFrom(modelBounds).Draw(t, "after"),
		Before: rapid.SampledFrom(modelBounds).Draw(t, "before"),
		Limit:  rapid.IntRange(1, 8).Draw(t, "limit"),
	}
	want := inRange(r.model.partition(rng.PK), rng)
	page, err := r.Query(context.Background(), rng)
	if err != nil {
		t.Fatalf("query %+v: %v", rng, err)
	}
	checkPage(t, rng, page)
	got := sortKeysOf(page.Items)
	if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) || !page.More && len(got) < len(want) {
		t.Fatalf("query %+v: got %q, more %v; want %q", rng, got, page.More, want)
	}
	for _, it := range page.Items {
		if !sameItem(it, r.model.items[it.Key]) {
			t.Fatalf("query %+v: got %s, want %s", rng, show(it), show(r.model.items[it.Key]))
		}
	}
}

// compareAll compares everything that is there.
func (r *modelRun) compareAll(t *rapid.T) {
	var got []table.Item
	for _, pk := range modelPKs {
		got = append(got, r.drain(t, table.Range{PK: r.space + pk, Limit: 100})...)
	}
	wantSameItems(t, got, slices.Collect(maps.Values(r.model.items)))
}
