package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// latencyBuckets reach from a warm HEAD of a tag to a layer over a slow line.
var latencyBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600}

// Requests counts what the HTTP server answers.
type Requests struct {
	total    *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter

	// handles are the resolved counters of each combination seen so far. The
	// map is replaced as a whole when one comes up for the first time, so
	// that a request finds its own without a lock.
	mu      sync.Mutex
	handles atomic.Pointer[map[requestLabels]*requestHandles]
}

type requestLabels struct {
	route, method string
	class         int // 2 for 2xx
}

type requestHandles struct {
	total    prometheus.Counter
	latency  prometheus.Observer
	received prometheus.Counter
	sent     prometheus.Counter
}

func newRequests(reg prometheus.Registerer) *Requests {
	r := &Requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "http", Name: "requests_total",
			Help: "Requests answered, by route, method and class of the status.",
		}, []string{"route", "method", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "http", Name: "request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, by route.",
			Buckets: latencyBuckets,
		}, []string{"route"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "http", Name: "received_bytes_total",
			Help: "Bytes of request bodies read, by route.",
		}, []string{"route"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "http", Name: "sent_bytes_total",
			Help: "Bytes of response bodies written, by route.",
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "http", Name: "requests_in_flight",
			Help: "Requests being answered now.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "http", Name: "panics_total",
			Help: "Requests that ended in a panic, which is a bug in Slipway.",
		}),
	}
	reg.MustRegister(r.total, r.latency, r.received, r.sent, r.inFlight, r.panics)
	empty := make(map[requestLabels]*requestHandles)
	r.handles.Store(&empty)
	return r
}

// Begin counts a request that has come in; Done ends it.
func (r *Requests) Begin() { r.inFlight.Inc() }

// Panic counts a request whose handler panicked.
func (r *Requests) Panic() { r.panics.Inc() }

// Answered is what is known of a request when it has been answered.
type Answered struct {
	Route    string // of a bounded set
	Method   string // as the client sent it
	Status   int
	Duration time.Duration
	Received int64 // bytes of its body that were read
	Sent     int64 // bytes of the answer's body
}

// Done counts a request that Begin counted.
func (r *Requests) Done(a Answered) {
	r.inFlight.Dec()
	h := r.resolve(requestLabels{route: a.Route, method: method(a.Method), class: a.Status / 100})
	h.total.Inc()
	h.latency.Observe(a.Duration.Seconds())
	if a.Received > 0 {
		h.received.Add(float64(a.Received))
	}
	if a.Sent > 0 {
		h.sent.Add(float64(a.Sent))
	}
}

func (r *Requests) resolve(l requestLabels) *requestHandles {
	if h := (*r.handles.Load())[l]; h != nil {
		return h
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.handles.Load()
	if h := old[l]; h != nil {
		return h
	}
	h := &requestHandles{
		total:    r.total.WithLabelValues(l.route, l.method, class(l.class)),
		latency:  r.latency.WithLabelValues(l.route),
		received: r.received.WithLabelValues(l.route),
		sent:     r.sent.WithLabelValues(l.route),
	}
	grown := make(map[requestLabels]*requestHandles, len(old)+1)
	for k, v := range old {
		grown[k] = v
	}
	grown[l] = h
	r.handles.Store(&grown)
	return h
}

// method keeps a client's inventions out of the labels.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return m
	default:
		return "other"
	}
}

func class(n int) string {
	if n < 1 || n > 5 {
		return "other"
	}
	return string(rune('0'+n)) + "xx"
}
