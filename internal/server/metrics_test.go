package server

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// metric returns the value of a series, written as Prometheus writes it.
func metric(t *testing.T, text, series string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Errorf("there is no %s", series)
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMetrics(t *testing.T) {
	h := start(t, func(o *Options) { o.MetricsListen = "127.0.0.1:0" })
	layer := strings.Repeat("layer", 1000)
	h.pushImage("team/app", "v1", []byte(layer))
	h.do(http.MethodGet, "/v2/team/app/manifests/v1", nil)
	h.do(http.MethodGet, "/v2/team/app/blobs/"+digestOf([]byte(layer)), nil)
	h.do(http.MethodGet, "/v2/team/app/manifests/none", nil)
	h.do("BREW", "/v2/", nil)
	h.sweeper.once(t.Context())

	text := string(h.do(http.MethodGet, "/metrics", nil).body)
	for series, least := range map[string]float64{
		`slipway_http_requests_total{method="GET",route="manifest",status="2xx"}`: 1,
		`slipway_http_requests_total{method="GET",route="manifest",status="4xx"}`: 1,
		`slipway_http_requests_total{method="PUT",route="upload",status="2xx"}`:   2,
		`slipway_http_requests_total{method="POST",route="upload",status="2xx"}`:  2,
		`slipway_http_requests_total{method="other",route="ping",status="4xx"}`:   1,
		`slipway_http_request_duration_seconds_count{route="blob"}`:               1,
		`slipway_http_request_duration_seconds_bucket{route="blob",le="+Inf"}`:    1,
		`slipway_http_received_bytes_total{route="upload"}`:                       5002,
		`slipway_http_sent_bytes_total{route="blob"}`:                             5000,
		`slipway_http_requests_in_flight`:                                         1,
		`slipway_http_panics_total`:                                               0,
		`slipway_table_calls_total{op="get"}`:                                     1,
		`slipway_table_calls_total{op="write"}`:                                   1,
		`slipway_table_errors_total{op="get"}`:                                    0,
		`slipway_table_seconds_total{op="write"}`:                                 0,
		`slipway_table_bytes_total{op="write"}`:                                   1,
		`slipway_blob_calls_total{op="append"}`:                                   2,
		`slipway_blob_bytes_total{op="append"}`:                                   5002,
		`slipway_blob_calls_total{op="complete"}`:                                 2,
		`slipway_blob_calls_total{op="open"}`:                                     1,
		`slipway_blob_errors_total{op="open"}`:                                    0,
		`slipway_sweep_runs_total{result="ok"}`:                                   1,
		`slipway_sweep_runs_total{result="failed"}`:                               0,
		`slipway_sweep_outcomes_total{outcome="deleted"}`:                         0,
		`slipway_sweep_freed_bytes_total`:                                         0,
		`slipway_build_info{go="go0",version="v0.0.0-test"}`:                      1,
		`go_goroutines`: 1,
	} {
		if got := metric(t, text, series); got >= 0 && got < least {
			t.Errorf("%s is %v, want at least %v", series, got, least)
		}
	}
	if v := metric(t, text, `slipway_table_errors_total{op="get"}`); v != 0 {
		t.Errorf("a tag that is not there counts as %v errors", v)
	}
	if !strings.Contains(text, "process_cpu_seconds_total") {
		t.Error("the process's own metrics are missing")
	}
	if strings.Contains(text, "team/app") {
		t.Error("metrics name a repository: their number has no bound")
	}
	side := h.do(http.MethodGet, "http://"+h.side.Addr().String()+"/metrics", nil)
	if !strings.Contains(string(side.body), "slipway_build_info") {
		t.Error("--metrics-listen does not serve metrics")
	}
	if a := h.do(http.MethodGet, "http://"+h.side.Addr().String()+"/v2/", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("--metrics-listen serves the registry: %d", a.StatusCode)
	}
}

func TestNoMetrics(t *testing.T) {
	h := start(t, func(o *Options) { o.Metrics = false })
	if a := h.do(http.MethodGet, "/metrics", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("metrics that are off: %d", a.StatusCode)
	}
}
