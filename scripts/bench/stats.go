package main

import (
	"math"
	"slices"
	"sort"
	"time"
)

// percentile returns the q-th quantile (0..1) of sorted values by the nearest-rank method: a value that occurred, never
// an interpolated one.
func percentile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// median returns the middle of values (the mean of the two in the middle for an even count), 0 for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Clone(values)
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// figures is what one round of one measure gives for one kind of operation.
type figures struct {
	Count     int
	OpsPerSec float64
	P50, P99  time.Duration
	MBPerSec  float64
	// ServerCPU and DriverCPU are CPU time per operation, of the peer's process and of ours. On a small machine the
	// driver takes cores from the server, and these tell by how much.
	ServerCPU, DriverCPU time.Duration
}

// summarise turns latencies of one kind of operation into figures.
func summarise(latencies []time.Duration, bytes int64, elapsed time.Duration) figures {
	slices.Sort(latencies)
	f := figures{
		Count: len(latencies),
		P50:   percentile(latencies, 0.50),
		P99:   percentile(latencies, 0.99),
	}
	if s := elapsed.Seconds(); s > 0 {
		f.OpsPerSec = float64(len(latencies)) / s
		f.MBPerSec = float64(bytes) / 1e6 / s
	}
	return f
}

// overRounds takes the median of every figure over the rounds, each by itself: the machine is shared, and one round
// disturbed by a neighbour must not decide.
func overRounds(rounds []figures) figures {
	pick := func(get func(figures) float64) float64 {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = get(r)
		}
		return median(values)
	}
	var out figures
	for _, r := range rounds {
		out.Count += r.Count
	}
	out.OpsPerSec = pick(func(f figures) float64 { return f.OpsPerSec })
	out.P50 = time.Duration(pick(func(f figures) float64 { return float64(f.P50) }))
	out.P99 = time.Duration(pick(func(f figures) float64 { return float64(f.P99) }))
	out.MBPerSec = pick(func(f figures) float64 { return f.MBPerSec })
	out.ServerCPU = time.Duration(pick(func(f figures) float64 { return float64(f.ServerCPU) }))
	out.DriverCPU = time.Duration(pick(func(f figures) float64 { return float64(f.DriverCPU) }))
	return out
}

// zipf chooses among n things, the i-th with a probability proportional to 1/i^s. math/rand's own needs s > 1, and the
// popularity of repositories is described by s = 1.
type zipf struct{ cumulative []float64 }

func newZipf(s float64, n int) zipf {
	z := zipf{cumulative: make([]float64, n)}
	var sum float64
	for i := range n {
		sum += 1 / math.Pow(float64(i+1), s)
		z.cumulative[i] = sum
	}
	for i := range n {
		z.cumulative[i] /= sum
	}
	return z
}

// pick maps a uniform u in [0,1) to an index.
func (z zipf) pick(u float64) int {
	return min(sort.SearchFloat64s(z.cumulative, u), len(z.cumulative)-1)
}
