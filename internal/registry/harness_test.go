package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/disk"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
)

// fixture is a registry on the embedded engines behind a real HTTP server, with
// counters and switches between it and its stores.
type fixture struct {
	testing.TB
	handler   *Handler
	server    *httptest.Server
	client    *http.Client
	tableCall table.Counter
	blobCall  blob.Counter
	tableHook table.Hook // may be set by a test, before requests
	blobHook  blob.Hook
}

var testKey = bytes.Repeat([]byte("k"), MinUploadKey)

func newFixture(t testing.TB, change ...func(*Config, *meta.Options)) *fixture {
	t.Helper()
	dir, f := t.TempDir(), &fixture{TB: t}
	tab, err := bolt.Open(filepath.Join(dir, "meta.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	blobs, err := disk.Open(filepath.Join(dir, "blobs"), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	hookedTable := table.WithHook(table.WithHook(tab, f.tableCall.Hook()), table.Hook{
		Before: func(c table.Call) error {
			if f.tableHook.Before != nil {
				return f.tableHook.Before(c)
			}
			return nil
		},
	})
	hookedBlobs := blob.WithHook(blob.WithHook(blobs, f.blobCall.Hook()), blob.Hook{
		Before: func(c blob.Call) error {
			if f.blobHook.Before != nil {
				return f.blobHook.Before(c)
			}
			return nil
		},
	})
	config, options := Config{Blobs: hookedBlobs, UploadKeys: [][]byte{testKey}}, meta.Options{}
	for _, c := range change {
		c(&config, &options)
	}
	config.Meta = meta.New(hookedTable, options)
	if f.handler, err = New(config); err != nil {
		t.Fatal(err)
	}
	f.server = httptest.NewServer(f.handler)
	t.Cleanup(f.server.Close)
	f.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return f
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// codes are the codes of an error answer.
func (a answer) codes() []Code {
	var wire struct{ Errors []Entry }
	if json.Unmarshal([]byte(a.body), &wire) != nil {
		return nil
	}
	var codes []Code
	for _, e := range wire.Errors {
		codes = append(codes, e.Code)
	}
	return codes
}

// sized is a body that is announced with a Content-Length, whatever comes.
type sized struct {
	io.ReadCloser
	bytes int64
}

// do sends a request; headers are "Name: value".
func (f *fixture) do(method, path string, body io.Reader, headers ...string) answer {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, f.server.URL+path, body)
	if err != nil {
		f.Fatal(err)
	}
	if s, ok := body.(sized); ok {
		req.ContentLength = s.bytes
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Add(k, v)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	a := answer{resp, string(data)}
	f.checkAnswer(method, path, a)
	return a
}

// checkAnswer is what holds of every answer.
func (f *fixture) checkAnswer(method, path string, a answer) {
	f.Helper()
	if got := a.Header.Get("Docker-Distribution-API-Version"); got != "registry/2.0" {
		f.Errorf("%s %s: Docker-Distribution-API-Version is %q", method, path, got)
	}
	if a.StatusCode < 400 {
		return
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		f.Errorf("%s %s: error %d has Cache-Control %q", method, path, a.StatusCode, got)
	}
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		f.Errorf("%s %s: error %d has Content-Type %q", method, path, a.StatusCode, got)
	}
	if method != http.MethodHead && len(a.codes()) == 0 {
		f.Errorf("%s %s: error %d has no OCI error in %q", method, path, a.StatusCode, a.body)
	}
}

// step is a request and what is to come back.
type step struct {
	do     string // "METHOD path"; $loc is the Location of an earlier answer
	header []string
	body   string
	status int
	code   Code              // of the first error; "" means no error body
	want   map[string]string // headers; "" means absent, "*" present
	text   string            // the whole body, if not ""
}

// run sends the steps one after the other.
func (f *fixture) run(steps ...step) (last answer) {
	f.Helper()
	loc := ""
	for i, s := range steps {
		method, path, _ := strings.Cut(s.do, " ")
		path = strings.ReplaceAll(path, "$loc", loc)
		var body io.Reader
		if s.body != "" {
			body = strings.NewReader(s.body)
		}
		a := f.do(method, path, body, s.header...)
		if a.StatusCode != s.status {
			f.Fatalf("step %d, %s %s: status %d, want %d: %s", i, method, path, a.StatusCode, s.status, a.body)
		}
		if s.code != "" && (len(a.codes()) == 0 || a.codes()[0] != s.code) {
			f.Errorf("step %d, %s %s: want %s, got %s", i, method, path, s.code, a.body)
		}
		for k, want := range s.want {
			got, present := a.Header.Get(k), len(a.Header.Values(k)) > 0
			if present != (want != "") || want != "*" && got != want {
				f.Errorf("step %d, %s %s: header %s is %q, want %q", i, method, path, k, got, want)
			}
		}
		if s.text != "" && a.body != s.text {
			f.Errorf("step %d, %s %s: body %q, want %q", i, method, path, a.body, s.text)
		}
		if l := a.Header.Get("Location"); l != "" {
			loc = l
		}
		last = a
	}
	return last
}

func sha(s string) string    { return digest.FromString(s).String() }
func sha512(s string) string { return digest.SHA512.FromString(s).String() }

// pushBlob puts a blob into the repository and returns its digest.
func (f *fixture) pushBlob(repo, content string) string {
	f.Helper()
	f.run(step{do: "POST /v2/" + repo + "/blobs/uploads/?digest=" + sha(content), body: content, status: 201,
		// An empty body has to be sent with its length too.
		header: []string{"Content-Type: application/octet-stream"}})
	return sha(content)
}

const (
	typeImage = "application/vnd.oci.image.manifest.v1+json"
	typeIndex = "application/vnd.oci.image.index.v1+json"
	typeLayer = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// desc is the JSON of a descriptor.
func desc(mediaType, content string) string {
	return `{"mediaType":"` + mediaType + `","digest":"` + sha(content) + `","size":` + itoa(len(content)) + `}`
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// image is a manifest of a config and layers with the given contents; more is
// further fields, beginning with a comma.
func image(more, config string, layers ...string) string {
	var l []string
	for _, c := range layers {
		l = append(l, desc(typeLayer, c))
	}
	return `{"schemaVersion":2,"mediaType":"` + typeImage + `","config":` +
		desc("application/vnd.oci.image.config.v1+json", config) + `,"layers":[` + strings.Join(l, ",") + `]` + more + `}`
}

// index is an index of the manifests.
func index(more string, manifests ...string) string {
	var l []string
	for _, m := range manifests {
		l = append(l, desc(typeImage, m))
	}
	return `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[` + strings.Join(l, ",") + `]` + more + `}`
}

// pushImage pushes config, layers and the image by tag, and returns the bytes
// of the manifest.
func (f *fixture) pushImage(repo, tag, more, config string, layers ...string) string {
	f.Helper()
	for _, c := range append([]string{config}, layers...) {
		f.pushBlob(repo, c)
	}
	m := image(more, config, layers...)
	f.run(step{do: "PUT /v2/" + repo + "/manifests/" + tag, header: []string{"Content-Type: " + typeImage}, body: m, status: 201})
	return m
}
