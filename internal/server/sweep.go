package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/datadir"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/metrics"
)

// sweeper works off the due list, again and again, while the registry runs.
type sweeper struct {
	model    *meta.Model
	blobs    blob.Store
	interval time.Duration
	log      *slog.Logger
	metrics  *metrics.Sweeps
}

// run sweeps until ctx ends, the first time at once: a crash may have left a
// deletion half done, with a tag whose manifest is gone already. What one run
// leaves undone the next one finds.
func (s *sweeper) run(ctx context.Context) {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		s.once(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *sweeper) once(ctx context.Context) {
	start := time.Now()
	report, err := s.model.Sweep(ctx, s.blobs)
	if ctx.Err() != nil {
		return // stopped half-way, on purpose
	}
	took := time.Since(start)
	s.metrics.Done(report, took, err)
	if err != nil {
		s.log.ErrorContext(ctx, "sweep: some work could not be done and stays on the list", "error", err)
	}
	if report != (meta.SweepReport{}) {
		s.log.LogAttrs(ctx, slog.LevelInfo, "sweep", append(reportAttrs(report), slog.Duration("duration", took))...)
	}
}

func reportAttrs(r meta.SweepReport) []slog.Attr {
	return []slog.Attr{
		slog.Int("tasks", r.Tasks), slog.Int("uploads", r.Uploads),
		slog.Int("condemned", r.Condemned), slog.Int("revived", r.Revived),
		slog.Int("unlinked", r.Unlinked), slog.Int("deleted", r.Deleted),
		slog.Int64("freed_bytes", r.Freed),
	}
}

// CollectOptions are the settings of Collect.
type CollectOptions struct {
	// Grace is the grace period that the registry runs with.
	Grace time.Duration
	// IgnoreGrace frees at once what would have to wait for its grace period.
	// That includes blobs whose manifest is still to be pushed, so nobody
	// should be pushing.
	IgnoreGrace bool
}

// Collect frees what nothing refers to and returns what it did: one sweep, or,
// ignoring the grace period, as many as it takes until nothing is left.
func Collect(ctx context.Context, data *datadir.Dir, opts CollectOptions) (meta.SweepReport, error) {
	if !opts.IgnoreGrace {
		return meta.New(data.Table, meta.Options{Grace: opts.Grace}).Sweep(ctx, data.Blobs)
	}
	// All that waits for a grace period falls due within one from now. So the
	// clock goes ahead by just that, and what the sweep itself puts on the list
	// waits no longer than the clock's next step. Going ahead any further would
	// leave rows behind that claim to be from a distant future.
	ahead := opts.Grace
	model := meta.New(data.Table, meta.Options{
		Grace: time.Millisecond,
		Clock: func() time.Time { return time.Now().Add(ahead) },
	})
	var total meta.SweepReport
	const idleRounds = 10 // what only gets put off for so long is not for us
	for idle := 0; idle < idleRounds; {
		ahead += time.Second
		report, err := model.Sweep(ctx, data.Blobs)
		total.Add(report)
		if err != nil {
			return total, fmt.Errorf("collect: %w", err)
		}
		if report.Tasks == 0 {
			break
		}
		if report == (meta.SweepReport{Tasks: report.Tasks}) {
			idle++
		} else {
			idle = 0
		}
	}
	return total, nil
}
