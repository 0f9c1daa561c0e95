// Package metrics is what Slipway tells Prometheus about itself. It knows the
// names and shapes; who counts what is up to the packages that call it.
//
// Every label is of a bounded set (routes, methods, status classes, operations
// of the stores), and the paths that every request takes hold on to their
// counters, so that counting costs a few atomic additions.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace is what every name of ours begins with.
const namespace = "slipway"

// Metrics holds the counters of one registry process. Make it with New.
type Metrics struct {
	registry *prometheus.Registry

	Requests *Requests
	Storage  *Storage
	Sweeps   *Sweeps
}

// New returns metrics in a registry of their own, with those of the Go runtime
// and the process beside them. The version is told by slipway_build_info.
func New(version, goVersion string) *Metrics {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace,
		Name:      "build_info",
		Help:      "Always 1; the labels tell what was built.",
	}, []string{"version", "go"})
	reg.MustRegister(info)
	info.WithLabelValues(version, goVersion).Set(1)
	return &Metrics{
		registry: reg,
		Requests: newRequests(reg),
		Storage:  newStorage(reg),
		Sweeps:   newSweeps(reg),
	}
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
