package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// sized returns an item whose Size is size.
func (s *subject) sized(pk, sk string, size int) table.Item {
	it := table.Item{Key: s.key(pk, sk), Version: "v1"}
	rest := size - it.Size()
	it.Value = bytes.Repeat([]byte("v"), rest/2)
	it.Body = bytes.Repeat([]byte("b"), rest-rest/2)
	return it
}

// testLimitsOfWrite: what is at a limit is done, what is over it is refused
// with ErrLimit and does not happen in part.
func testLimitsOfWrite(t *testing.T, s *subject) {
	puts := func(n, size int) (actions []table.Action) {
		for i := range n {
			it := s.item("p", fmt.Sprintf("%03d", i), "v1")
			if size > 0 {
				it = s.sized("p", fmt.Sprintf("%03d", i), size)
			}
			actions = append(actions, table.Put(it, table.Always()))
		}
		return actions
	}
	x := s.item("p", "x", "v1")
	noVersion := x
	noVersion.Version = ""
	for _, c := range []struct {
		name    string
		actions func() []table.Action
		ok      bool
		large   bool
	}{
		{name: "nothing", actions: func() []table.Action { return nil }},
		{name: "most actions", actions: func() []table.Action { return puts(table.MaxActions, 0) }, ok: true},
		{name: "an action more", actions: func() []table.Action { return puts(table.MaxActions+1, 0) }},
		{name: "largest item", actions: func() []table.Action { return puts(1, table.MaxItemBytes) }, ok: true},
		{name: "a byte more", actions: func() []table.Action { return puts(1, table.MaxItemBytes+1) }},
		{name: "a byte more beside others", actions: func() []table.Action {
			return append(puts(2, 0), table.Put(s.sized("p", "x", table.MaxItemBytes+1), table.Always()))
		}},
		{name: "most bytes", actions: func() []table.Action { return puts(16, table.MaxWriteBytes/16) }, ok: true, large: true},
		{name: "most bytes and one", actions: func() []table.Action {
			return append(puts(15, table.MaxWriteBytes/16), table.Put(s.sized("p", "x", table.MaxWriteBytes/16+1), table.Always()))
		}, large: true},
		{name: "no version", actions: func() []table.Action { return []table.Action{table.Put(noVersion, table.Always())} }},
		{name: "no version beside others", actions: func() []table.Action {
			return append(puts(2, 0), table.Put(noVersion, table.Always()))
		}},
		{name: "put twice", actions: func() []table.Action {
			return []table.Action{table.Put(x, table.Always()), table.Put(x, table.Always())}
		}},
		{name: "check and put", actions: func() []table.Action {
			return []table.Action{table.Check(x.Key, table.IfAbsent()), table.Put(x, table.Always())}
		}},
		{name: "put and delete", actions: func() []table.Action {
			return []table.Action{table.Put(x, table.Always()), table.Delete(x.Key, table.Always())}
		}},
		{name: "check twice, apart", actions: func() []table.Action {
			check := table.Check(x.Key, table.IfAbsent())
			return append(append([]table.Action{check}, puts(3, 0)...), check)
		}},
		{name: "no such action", actions: func() []table.Action {
			return []table.Action{{Kind: table.ActionCheck + 1, Item: x}}
		}},
		{name: "no such condition", actions: func() []table.Action {
			return []table.Action{table.Put(x, table.Condition{Kind: table.ConditionVersion + 1})}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.large && s.opts.Small {
				t.Skip("left out by Options.Small")
			}
			s.space = newSpace() // the cases build their actions in it
			actions := c.actions()
			err := s.Write(context.Background(), actions)
			if c.ok {
				if err != nil {
					t.Fatalf("write: %v", err)
				}
				for _, a := range actions {
					s.wantItem(t, a.Item)
				}
				return
			}
			wantLimit(t, err)
			if items := s.drain(t, table.Range{PK: s.space + "p", Limit: 100}); len(items) != 0 {
				t.Errorf("%d items of a refused write are there", len(items))
			}
		})
	}
}

// testLimitsOfKeys: every operation accepts the longest key and refuses what
// is no key.
func testLimitsOfKeys(t *testing.T, s *subject) {
	ctx := context.Background()
	long := func(n int) string { return strings.Repeat("k", n) }
	pk := func(n int) string { return s.space + long(n-len(s.space)) }
	for _, c := range []struct {
		name string
		key  table.Key
		ok   bool
	}{
		{"longest", table.Key{PK: pk(table.MaxKeyBytes), SK: long(table.MaxKeyBytes)}, true},
		{"longest, in bytes", table.Key{PK: pk(table.MaxKeyBytes), SK: strings.Repeat("é", table.MaxKeyBytes/2)}, true},
		{"long partition key", table.Key{PK: pk(table.MaxKeyBytes + 1), SK: "x"}, false},
		{"long sort key", table.Key{PK: pk(100), SK: long(table.MaxKeyBytes + 1)}, false},
		{"long sort key, in bytes", table.Key{PK: pk(100), SK: strings.Repeat("é", table.MaxKeyBytes/2) + "x"}, false},
		{"no partition key", table.Key{SK: "x"}, false},
		{"no sort key", table.Key{PK: pk(100)}, false},
		{"NUL in the partition key", table.Key{PK: s.space + "a\x00b", SK: "x"}, false},
		{"NUL in the sort key", table.Key{PK: s.space + "a", SK: "x\x00"}, false},
		{"NUL alone", table.Key{PK: s.space + "a", SK: "\x00"}, false},
		{"partition key is no UTF-8", table.Key{PK: s.space + "\xff", SK: "x"}, false},
		{"sort key is no UTF-8", table.Key{PK: s.space + "a", SK: "x\xc3"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			it := table.Item{Key: c.key, Version: "v1", Value: []byte("{}")}
			errs := map[string]error{
				"put":    s.Write(ctx, []table.Action{table.Put(it, table.Always())}),
				"check":  s.Write(ctx, []table.Action{table.Check(c.key, table.Always())}),
				"beside": s.Write(ctx, []table.Action{table.Put(s.item("a", "beside", "v1"), table.Always()), table.Check(c.key, table.Always())}),
			}
			_, errs["get"] = s.Get(ctx, c.key)
			_, errs["batch get"] = s.BatchGet(ctx, []table.Key{s.key("a", "none"), c.key})
			if c.ok {
				s.wantItem(t, it)
			}
			errs["delete"] = s.Write(ctx, []table.Action{table.Delete(c.key, table.Always())})
			for op, err := range errs {
				if c.ok && err != nil {
					t.Errorf("%s: %v", op, err)
				}
				if !c.ok {
					t.Run(op, func(t *testing.T) { wantLimit(t, err) })
				}
			}
			if !c.ok {
				s.wantAbsent(t, s.key("a", "beside"))
			}
			s.write(t, table.Delete(s.key("a", "beside"), table.Always()))
		})
	}
}

// testLimitsOfRange: a range has a partition, a limit, and bounds that a key
// could have.
func testLimitsOfRange(t *testing.T, s *subject) {
	pk := s.space + "p"
	long := strings.Repeat("k", table.MaxKeyBytes)
	for _, c := range []struct {
		name string
		r    table.Range
		ok   bool
	}{
		{"smallest", table.Range{PK: pk, Limit: 1}, true},
		{"longest bounds", table.Range{PK: pk, Prefix: long, After: long, Before: long, Limit: 1}, true},
		{"large limit", table.Range{PK: pk, Limit: 1_000_000}, true},
		{"no partition", table.Range{Limit: 1}, false},
		{"no limit", table.Range{PK: pk}, false},
		{"negative limit", table.Range{PK: pk, Limit: -1}, false},
		{"long partition", table.Range{PK: long + "k", Limit: 1}, false},
		{"NUL in the partition", table.Range{PK: pk + "\x00", Limit: 1}, false},
		{"long prefix", table.Range{PK: pk, Prefix: long + "k", Limit: 1}, false},
		{"long after", table.Range{PK: pk, After: long + "k", Limit: 1}, false},
		{"long before", table.Range{PK: pk, Before: long + "k", Limit: 1}, false},
		{"prefix is no UTF-8", table.Range{PK: pk, Prefix: "\xff", Limit: 1}, false},
		{"after is no UTF-8", table.Range{PK: pk, After: "a\xff", Limit: 1}, false},
		{"before is no UTF-8", table.Range{PK: pk, Before: "a\xff", Limit: 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			page, err := s.Query(context.Background(), c.r)
			if !c.ok {
				wantLimit(t, err)
			} else if err != nil || len(page.Items) != 0 {
				t.Errorf("query of nothing: %d items, error %v", len(page.Items), err)
			}
		})
	}
}
