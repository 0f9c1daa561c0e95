package registry

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkHandler is what a request costs without a network: route, checks,
// the read, the answer.
func BenchmarkHandler(b *testing.B) {
	f := newFixture(b)
	m := f.pushImage("team/app", "v1", "", "{}", "one", "two", "three")
	for name, path := range map[string]string{
		"manifest-by-tag":    "/v2/team/app/manifests/v1",
		"manifest-by-digest": "/v2/team/app/manifests/" + sha(m),
		"blob":               "/v2/team/app/blobs/" + sha("one"),
		"tags":               "/v2/team/app/tags/list",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				f.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}

// BenchmarkDecodeManifest is what checking an image of 50 layers costs.
func BenchmarkDecodeManifest(b *testing.B) {
	layers := make([]string, 50)
	for i := range layers {
		layers[i] = itoa(i)
	}
	body := []byte(image("", "{}", layers...))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := decodeManifest(typeImage, body, 2000); err != nil {
			b.Fatal(err)
		}
	}
}
