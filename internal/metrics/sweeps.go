package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-oci/slipway/internal/meta"
)

// Sweeps counts the runs of the sweeper and what they did.
type Sweeps struct {
	ok, failed prometheus.Counter
	seconds    prometheus.Counter
	last       prometheus.Gauge
	outcomes   *prometheus.CounterVec
	freed      prometheus.Counter
}

func newSweeps(reg prometheus.Registerer) *Sweeps {
	runs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: "sweep", Name: "runs_total",
		Help: "Runs of the sweeper, by result. A failed one did what it could; the rest stays on the list.",
	}, []string{"result"})
	s := &Sweeps{
		ok:     runs.WithLabelValues("ok"),
		failed: runs.WithLabelValues("failed"),
		seconds: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "sweep", Name: "seconds_total",
			Help: "Time spent sweeping.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "sweep", Name: "last_success_timestamp_seconds",
			Help: "When the sweeper last ran without an error.",
		}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "sweep", Name: "outcomes_total",
			Help: "What the sweeper did: task looked at, upload ended, blob condemned, revived, unlinked from a repository, object deleted.",
		}, []string{"outcome"}),
		freed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "sweep", Name: "freed_bytes_total",
			Help: "Bytes of the blobs that the sweeper deleted.",
		}),
	}
	reg.MustRegister(runs, s.seconds, s.last, s.outcomes, s.freed)
	s.count(meta.SweepReport{}) // the series are there from the start
	return s
}

// Done counts one run.
func (s *Sweeps) Done(r meta.SweepReport, took time.Duration, err error) {
	if err != nil {
		s.failed.Inc()
	} else {
		s.ok.Inc()
		s.last.SetToCurrentTime()
	}
	s.seconds.Add(took.Seconds())
	s.count(r)
}

func (s *Sweeps) count(r meta.SweepReport) {
	for outcome, n := range map[string]int{
		"task": r.Tasks, "upload": r.Uploads, "condemned": r.Condemned,
		"revived": r.Revived, "unlinked": r.Unlinked, "deleted": r.Deleted,
	} {
		s.outcomes.WithLabelValues(outcome).Add(float64(n))
	}
	s.freed.Add(float64(r.Freed))
}
