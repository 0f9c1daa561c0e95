package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

func TestBlobGet(t *testing.T) {
	f := newFixture(t)
	d := f.pushBlob("a", "hello world")
	path := "/v2/a/blobs/" + d
	whole := map[string]string{
		"Content-Length": "11", "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes",
		"Docker-Content-Digest": d, "ETag": `"` + d + `"`, "Cache-Control": cacheForever,
	}
	rng := func(s string) []string { return []string{"Range: " + s} }
	f.run(
		step{do: "GET " + path, status: 200, want: whole, text: "hello world"},
		step{do: "HEAD " + path, status: 200, want: whole},
		step{do: "GET /v2/a/blobs/" + strings.Replace(d, ":", "%3A", 1), status: 200, text: "hello world"},
		step{do: "GET " + path, header: rng("bytes=0-4"), status: 206, text: "hello", want: map[string]string{"Content-Range": "bytes 0-4/11", "Content-Length": "5"}},
		step{do: "GET " + path, header: rng("bytes=6-"), status: 206, text: "world"},
		step{do: "GET " + path, header: rng("bytes=-5"), status: 206, text: "world"},
		step{do: "GET " + path, header: rng("bytes=6-100"), status: 206, text: "world"},
		step{do: "GET " + path, header: rng("bytes=0-0,2-2"), status: 206, want: map[string]string{"Content-Type": "*"}},
		step{do: "GET " + path, header: rng("bytes=11-"), status: 416, code: CodeSizeInvalid, want: map[string]string{"Content-Range": "bytes */11"}},
		step{do: "GET " + path, header: rng("bytes=x"), status: 416, code: CodeSizeInvalid},
		// What is no range of bytes is ignored (RFC 9110, section 14.2), as is a
		// range that asks for no bytes.
		step{do: "GET " + path, header: rng("lines=0-1"), status: 200, want: whole, text: "hello world"},
		step{do: "GET " + path, header: rng("Bytes=0-1"), status: 200, text: "hello world"},
		step{do: "GET " + path, header: rng("bytes=-0"), status: 200, text: "hello world"},
		step{do: "GET " + path, header: rng("bytes=0-99999999999999999999"), status: 200, text: "hello world"},
		// And only GET has ranges.
		step{do: "HEAD " + path, header: rng("bytes=0-4"), status: 200, want: whole},
		step{do: "HEAD " + path, header: rng("bytes=11-"), status: 200, want: whole},
		step{do: "HEAD " + path, header: []string{"Range: bytes=0-4", `If-None-Match: "` + d + `"`}, status: 304},
		step{do: "GET " + path, header: []string{"Range: bytes=0-4", `If-Range: "` + d + `"`}, status: 206, text: "hello"},
		step{do: "GET " + path, header: []string{"Range: bytes=0-4", `If-Range: "other"`}, status: 200, text: "hello world"},
		step{do: "GET " + path, header: []string{`If-None-Match: "` + d + `"`}, status: 304, text: ""},
		step{do: "HEAD " + path, header: []string{`If-None-Match: "` + d + `"`}, status: 304},
		step{do: "GET /v2/b/blobs/" + d, status: 404, code: CodeBlobUnknown},
		step{do: "HEAD /v2/b/blobs/" + d, status: 404},
		step{do: "GET /v2/a/blobs/" + sha512("hello world"), status: 404, code: CodeBlobUnknown},

		step{do: "DELETE " + path, status: 202},
		step{do: "GET " + path, status: 404, code: CodeBlobUnknown},
		step{do: "HEAD " + path, status: 404},
		step{do: "DELETE " + path, status: 404, code: CodeBlobUnknown},
	)
}

func TestBlobDeleteReferenced(t *testing.T) {
	f := newFixture(t)
	m := f.pushImage("a", "v1", "", "{}", "layer")
	f.run(
		step{do: "DELETE /v2/a/blobs/" + sha("layer"), status: 405, code: CodeDenied, want: map[string]string{"Allow": "GET, HEAD"}},
		step{do: "GET /v2/a/blobs/" + sha("layer"), status: 200, text: "layer"},
		step{do: "DELETE /v2/a/manifests/" + sha(m), status: 202},
		step{do: "DELETE /v2/a/blobs/" + sha("layer"), status: 202},
	)
}

// redirecting is a store as in the cloud: Open answers with an address.
type redirecting struct{ blob.Store }

func (s redirecting) Open(_ context.Context, key string, access blob.Access) (blob.Source, error) {
	return blob.Source{Redirect: &blob.Redirect{URL: fmt.Sprintf("https://store.example.com/%s?for=%s", key, access)}}, nil
}

func TestBlobRedirect(t *testing.T) {
	f := newFixture(t)
	d := f.pushBlob("a", "hello")
	b, err := f.handler.meta.Blob(t.Context(), "a", digest.Digest(d))
	if err != nil {
		t.Fatal(err)
	}
	f.handler.blobs = redirecting{f.handler.blobs}
	for _, method := range []string{"GET", "HEAD"} {
		f.run(step{do: method + " /v2/a/blobs/" + d, status: 307, want: map[string]string{
			"Location":      "https://store.example.com/" + b.Key + "?for=" + method,
			"Cache-Control": "no-store", "Docker-Content-Digest": d,
		}})
	}
	f.run(step{do: "GET /v2/a/blobs/" + sha("other"), status: 404})
}

// TestBlobKeepsSendfile: the file reaches the connection's ReadFrom, which is
// where sendfile is, for the whole blob and for a range of it.
func TestBlobKeepsSendfile(t *testing.T) {
	f := newFixture(t)
	d := f.pushBlob("a", strings.Repeat("x", 1<<20))
	for _, rng := range []string{"", "bytes=10-1000000"} {
		r := httptest.NewRequest("GET", "/v2/a/blobs/"+d, nil)
		if rng != "" {
			r.Header.Set("Range", rng)
		}
		w := &readFromRecorder{ResponseRecorder: httptest.NewRecorder()}
		f.handler.ServeHTTP(w, r)
		if !w.used {
			t.Errorf("Range %q: the answer did not go through ReadFrom", rng)
		}
	}
}

type readFromRecorder struct {
	*httptest.ResponseRecorder
	used bool
}

func (w *readFromRecorder) ReadFrom(r io.Reader) (int64, error) {
	w.used = true
	return io.Copy(w.ResponseRecorder, r)
}

// TestBudgets holds every request to the storage calls it may make.
func TestBudgets(t *testing.T) {
	f := newFixture(t)
	layers := make([]string, 10)
	for i := range layers {
		layers[i] = fmt.Sprint("layer ", i)
	}
	m := f.pushImage("a", "v1", "", "{}", layers...)
	other := image(`,"annotations":{"a":"b"}`, "{}", layers...)
	large := `{"x":"` + strings.Repeat("x", 100<<10) + `"}`
	odd := []string{"Content-Type: application/vnd.example.odd+json"}
	f.run(step{do: "PUT /v2/a/manifests/large", header: odd, body: large, status: 201})
	for i := range 30 {
		f.run(step{do: fmt.Sprintf("PUT /v2/a/manifests/tag%d", i), header: []string{"Content-Type: " + typeImage}, body: m, status: 201})
	}

	type budget struct{ reads, queries, writes, blobs int }
	tests := []struct {
		name string
		step step
		max  budget
	}{
		{"ping", step{do: "GET /v2/", status: 200}, budget{}},
		{"HEAD manifest", step{do: "HEAD /v2/a/manifests/v1", status: 200}, budget{reads: 1}},
		{"GET manifest by tag", step{do: "GET /v2/a/manifests/v1", status: 200}, budget{reads: 1}},
		{"GET manifest by digest", step{do: "GET /v2/a/manifests/" + sha(m), status: 200}, budget{reads: 1}},
		{"GET large manifest", step{do: "GET /v2/a/manifests/large", status: 200}, budget{reads: 1, blobs: 1}},
		{"GET no manifest", step{do: "GET /v2/a/manifests/none", status: 404}, budget{reads: 1}},
		{"HEAD blob", step{do: "HEAD /v2/a/blobs/" + sha("layer 1"), status: 200}, budget{reads: 1, blobs: 1}},
		{"GET blob", step{do: "GET /v2/a/blobs/" + sha("layer 1"), status: 200}, budget{reads: 1, blobs: 1}},
		{"GET blob range", step{do: "GET /v2/a/blobs/" + sha("layer 1"), header: []string{"Range: bytes=1-2"}, status: 206}, budget{reads: 1, blobs: 1}},
		{"HEAD no blob", step{do: "HEAD /v2/a/blobs/" + sha("none"), status: 404}, budget{reads: 1}},
		{"PUT manifest", step{do: "PUT /v2/a/manifests/v2", header: []string{"Content-Type: " + typeImage}, body: other, status: 201}, budget{reads: 1, writes: 1}},
		{"PUT manifest again", step{do: "PUT /v2/a/manifests/v2", header: []string{"Content-Type: " + typeImage}, body: other, status: 201}, budget{reads: 1}},
		{"POST upload", step{do: "POST /v2/a/blobs/uploads/", status: 202}, budget{queries: 1, writes: 1}},
		{"mount", step{do: "POST /v2/b/blobs/uploads/?from=a&mount=" + sha("layer 1"), status: 201}, budget{reads: 1, writes: 1}},
		{"mount without source", step{do: "POST /v2/c/blobs/uploads/?mount=" + sha("layer 1"), status: 201}, budget{reads: 1, queries: 1, writes: 1}},
		{"tags", step{do: "GET /v2/a/tags/list?n=3", status: 200}, budget{queries: 1}},
		{"all tags", step{do: "GET /v2/a/tags/list", status: 200}, budget{queries: 1}},
		{"catalog", step{do: "GET /v2/_catalog", status: 200}, budget{queries: 1}},
		{"referrers", step{do: "GET /v2/a/referrers/" + sha(m), status: 200}, budget{queries: 1}},
		{"DELETE tag", step{do: "DELETE /v2/a/manifests/v2", status: 202}, budget{reads: 1, writes: 1}},
	}
	check := func(name string, max budget) {
		t.Helper()
		c := f.tableCall.Reset()
		got := budget{reads: c.Get.Calls + c.BatchGet.Calls, queries: c.Query.Calls, writes: c.Write.Calls}
		for _, n := range f.blobCall.Snapshot() {
			got.blobs += int(n.Calls)
		}
		f.blobCall.Reset()
		if got.reads > max.reads || got.queries > max.queries || got.writes > max.writes || got.blobs > max.blobs {
			t.Errorf("%s: %+v, want at most %+v", name, got, max)
		}
	}
	f.tableCall.Reset()
	f.blobCall.Reset()
	for _, tt := range tests {
		f.run(tt.step)
		check(tt.name, tt.max)
	}
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	f.tableCall.Reset()
	f.run(step{do: "PATCH " + loc, body: "new", status: 202})
	check("PATCH", budget{reads: 1, writes: 1, blobs: 1})
	f.run(step{do: "PUT " + loc + "&digest=" + sha("new content"), body: " content", status: 201})
	check("PUT", budget{reads: 2, writes: 1, blobs: 2})
}

// TestStoreFailures fails each kind of storage call under each request: the
// client is told to try again, never what went wrong, and nothing breaks.
func TestStoreFailures(t *testing.T) {
	f := newFixture(t)
	m := f.pushImage("a", "v1", "", "{}", "layer")
	large := strings.Repeat("x", 100<<10)
	odd := []string{"Content-Type: application/vnd.example.odd"}
	f.run(step{do: "PUT /v2/a/manifests/large", header: odd, body: large, status: 201})
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	requests := []step{
		{do: "GET /v2/a/manifests/v1"}, {do: "GET /v2/a/manifests/large"}, {do: "HEAD /v2/a/manifests/" + sha(m)},
		{do: "PUT /v2/a/manifests/v2", header: []string{"Content-Type: " + typeImage}, body: m},
		{do: "PUT /v2/a/manifests/v2", header: odd, body: strings.Repeat("y", 100<<10)},
		{do: "DELETE /v2/a/manifests/v1"}, {do: "DELETE /v2/a/manifests/" + sha(m)},
		{do: "GET /v2/a/blobs/" + sha("layer")}, {do: "DELETE /v2/a/blobs/" + sha("layer")},
		{do: "POST /v2/a/blobs/uploads/"}, {do: "POST /v2/a/blobs/uploads/?digest=" + sha("n"), body: "n"},
		{do: "POST /v2/b/blobs/uploads/?from=a&mount=" + sha("layer")}, {do: "POST /v2/b/blobs/uploads/?mount=" + sha("layer")},
		{do: "PATCH " + loc, body: "n"}, {do: "PUT " + loc + "&digest=" + sha("n"), body: "n"}, {do: "GET " + loc}, {do: "DELETE " + loc},
		{do: "GET /v2/a/tags/list"}, {do: "GET /v2/_catalog"}, {do: "GET /v2/a/referrers/" + sha(m)},
	}
	for _, cause := range []error{errors.New("secret detail"), syscall.ENOSPC} {
		for _, r := range requests {
			method, path, _ := strings.Cut(r.do, " ")
			// The first call of the request fails; for those that reach the
			// blob store, that one's in a second round.
			for _, where := range []string{"table", "blobs"} {
				failed := false
				if where == "table" {
					f.tableHook.Before = func(table.Call) error { failed = true; return cause }
				} else {
					f.tableHook.Before = func(c table.Call) error {
						if c.Op == table.OpWrite { // keep the state as it is
							failed = true
							return cause
						}
						return nil
					}
					f.blobHook.Before = func(blob.Call) error { failed = true; return cause }
				}
				a := f.do(method, path, strings.NewReader(r.body), r.header...)
				f.tableHook.Before, f.blobHook.Before = nil, nil
				if !failed {
					continue
				}
				if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
					t.Errorf("%s, %s fails: %d %s", r.do, where, a.StatusCode, a.body)
				}
				if method != "HEAD" && (a.codes()[0] != CodeUnknown || strings.Contains(a.body, "secret")) {
					t.Errorf("%s, %s fails: %s", r.do, where, a.body)
				}
			}
		}
	}
	f.run(
		step{do: "GET /v2/a/manifests/v1", status: 200, text: m},
		step{do: "PUT " + loc + "&digest=" + sha("n"), body: "n", status: 201},
	)
}
