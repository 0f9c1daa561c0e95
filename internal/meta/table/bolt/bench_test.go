package bolt

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// benchItem is about what a manifest row is.
func benchItem(pk, sk string) table.Item {
	return table.Item{
		Key:     table.Key{PK: pk, SK: sk},
		Version: "01JABCDEFGHJKMNPQRSTVWXYZ0",
		Value:   make([]byte, 200),
		Body:    make([]byte, 1500),
	}
}

// fill puts n items in a partition.
func fill(b *testing.B, tab *Table, pk string, n int) {
	b.Helper()
	for i := 0; i < n; i += table.MaxActions {
		var actions []table.Action
		for j := i; j < min(n, i+table.MaxActions); j++ {
			actions = append(actions, table.Put(benchItem(pk, fmt.Sprintf("manifest#%08d", j)), table.Always()))
		}
		if err := tab.Write(context.Background(), actions); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	const n = 20_000
	tab := open(b, b.TempDir(), Options{NoSync: true})
	fill(b, tab, "p", n)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(7919) % n
			if _, err := tab.Get(context.Background(), table.Key{PK: "p", SK: fmt.Sprintf("manifest#%08d", i)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkWriteParallel is one durable put an operation, by so many writers.
func BenchmarkWriteParallel(b *testing.B) {
	for _, writers := range []int{1, 8, 32, 128} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			tab := open(b, b.TempDir(), Options{})
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						it := benchItem("p", fmt.Sprintf("manifest#%08d", i*7919%100_000_007))
						if err := tab.Write(context.Background(), []table.Action{table.Put(it, table.IfAbsent())}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(b.N)/float64(tab.Stats().Commits), "writes/commit")
		})
	}
}

// BenchmarkQueryPage is a page of 100 from the middle; its time must not
// depend on the size of the partition.
func BenchmarkQueryPage(b *testing.B) {
	for _, n := range []int{1_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			tab := open(b, b.TempDir(), Options{NoSync: true})
			fill(b, tab, "p", n)
			r := table.Range{PK: "p", Prefix: "manifest#", After: fmt.Sprintf("manifest#%08d", n/2), Limit: 100}
			b.ReportAllocs()
			for b.Loop() {
				if page, err := tab.Query(context.Background(), r); err != nil || len(page.Items) != 100 {
					b.Fatal(len(page.Items), err)
				}
			}
		})
	}
}
