package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Storage counts the calls of the table and of the blob store, by operation.
type Storage struct {
	table map[table.Op]*callHandles
	blob  map[blob.Op]*callHandles
}

type callHandles struct {
	calls   prometheus.Counter
	errors  prometheus.Counter
	seconds prometheus.Counter
	bytes   prometheus.Counter
}

func newStorage(reg prometheus.Registerer) *Storage {
	s := &Storage{table: make(map[table.Op]*callHandles), blob: make(map[blob.Op]*callHandles)}
	tables := newCallVecs(reg, "table", "the metadata table")
	for _, op := range []table.Op{table.OpGet, table.OpBatchGet, table.OpQuery, table.OpWrite} {
		s.table[op] = tables.resolve(string(op))
	}
	blobs := newCallVecs(reg, "blob", "the blob store")
	for _, op := range []blob.Op{
		blob.OpAppend, blob.OpComplete, blob.OpAbort, blob.OpOpen, blob.OpRead, blob.OpStat, blob.OpDelete,
	} {
		s.blob[op] = blobs.resolve(string(op))
	}
	return s
}

type callVecs struct{ calls, errors, seconds, bytes *prometheus.CounterVec }

func newCallVecs(reg prometheus.Registerer, subsystem, of string) callVecs {
	vec := func(name, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: name, Help: help,
		}, []string{"op"})
		reg.MustRegister(v)
		return v
	}
	return callVecs{
		calls:   vec("calls_total", "Calls of "+of+", by operation."),
		errors:  vec("errors_total", "Calls of "+of+" that failed, by operation. What is not there, a condition that does not hold and a client's mistake are no failures."),
		seconds: vec("seconds_total", "Time spent in calls of "+of+", by operation."),
		bytes:   vec("bytes_total", "Bytes that calls of "+of+" moved, by operation."),
	}
}

func (v callVecs) resolve(op string) *callHandles {
	return &callHandles{
		calls:   v.calls.WithLabelValues(op),
		errors:  v.errors.WithLabelValues(op),
		seconds: v.seconds.WithLabelValues(op),
		bytes:   v.bytes.WithLabelValues(op),
	}
}

func (h *callHandles) count(bytes int64, took time.Duration, failed bool) {
	h.calls.Inc()
	h.seconds.Add(took.Seconds())
	if bytes > 0 {
		h.bytes.Add(float64(bytes))
	}
	if failed {
		h.errors.Inc()
	}
}

// Table returns t with its calls counted.
func (s *Storage) Table(t table.Table) table.Table {
	return table.WithHook(t, table.Hook{After: func(c table.Call, err error) error {
		if h := s.table[c.Op]; h != nil {
			h.count(int64(c.Bytes), c.Duration, err != nil && !errors.Is(err, table.ErrNotFound) && !table.IsCondition(err))
		}
		return err
	}})
}

// Blobs returns store with its calls counted.
func (s *Storage) Blobs(store blob.Store) blob.Store {
	return blob.WithHook(store, blob.Hook{After: func(c blob.Call, err error) error {
		if h := s.blob[c.Op]; h != nil {
			h.count(c.Bytes, c.Duration, blobFailed(err))
		}
		return err
	}})
}

// blobFailed tells a store that does not work from a client that sent wrong
// bytes, too many of them or not all.
func blobFailed(err error) bool {
	var source *blob.SourceError
	return err != nil && !errors.As(err, &source) &&
		!errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrDigest) && !errors.Is(err, blob.ErrTooLarge)
}
