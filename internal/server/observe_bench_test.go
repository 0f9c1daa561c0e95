package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/metrics"
)

type discardWriter struct{ h http.Header }

func (w discardWriter) Header() http.Header         { return w.h }
func (w discardWriter) WriteHeader(int)             {}
func (w discardWriter) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkObserve is what each request pays for its id, its line in the log
// and its metrics.
func BenchmarkObserve(b *testing.B) {
	for _, level := range []string{"info", "warn"} {
		b.Run(level, func(b *testing.B) {
			log, err := NewLogger(io.Discard, "text", level)
			if err != nil {
				b.Fatal(err)
			}
			h := observe(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusOK)
			}), routeName, log, metrics.New("v", "go").Requests, time.Minute)
			r := httptest.NewRequest(http.MethodHead, "/v2/team/app/manifests/v1", nil)
			r.Header.Set("User-Agent", "containerd/2.1.4")
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(discardWriter{http.Header{}}, r)
			}
		})
	}
}
