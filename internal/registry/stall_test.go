package registry

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/meta"
)

// stalled is a body that begins and then stands still until the test ends;
// announced are the bytes of its Content-Length, or 0 for none.
func stalled(t *testing.T, begins string, announced int64) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	go io.WriteString(w, begins)
	if announced > 0 {
		return sized{r, announced}
	}
	return r
}

// forEachFraming runs the test over HTTP/1 and HTTP/2, with a body in chunks
// and with ones that are announced: net/http reads on in those by itself, up to
// 256 KiB, before it answers.
func forEachFraming(t *testing.T, idle time.Duration, test func(t *testing.T, f *fixture, announced int64)) {
	for _, http2 := range []bool{false, true} {
		for _, announced := range []int64{0, 1000, 1 << 20} {
			t.Run(fmt.Sprintf("http2=%t,announced=%d", http2, announced), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, func(c *Config, _ *meta.Options) { c.Limits.BodyIdle = idle })
				if http2 {
					f.server.Close()
					f.server = httptest.NewUnstartedServer(f.handler)
					f.server.EnableHTTP2 = true
					f.server.StartTLS()
					t.Cleanup(f.server.Close)
					f.client = f.server.Client()
				}
				f.client.Timeout = 20 * time.Second // not for ever, where the registry waits so long
				test(t, f, announced)
			})
		}
	}
}

// TestUploadStalledClient: a client that stops sending is told so, and what it
// sent is kept.
func TestUploadStalledClient(t *testing.T) {
	const idle = 500 * time.Millisecond
	forEachFraming(t, idle, func(t *testing.T, f *fixture, announced int64) {
		loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
		a := f.do("PATCH", loc, stalled(t, "abc", announced))
		if a.StatusCode != 408 || a.Header.Get("Range") != "0-2" {
			t.Errorf("status %d, Range %q: %s", a.StatusCode, a.Header.Get("Range"), a.body)
		}
		f.run(step{do: "PUT " + loc + "&digest=" + sha("abcd"), body: "d", status: 201})
	})
}

// TestUploadSlowClient: a slow body that moves is fine, and so is what comes
// after it.
func TestUploadSlowClient(t *testing.T) {
	const idle = 500 * time.Millisecond
	forEachFraming(t, idle, func(t *testing.T, f *fixture, announced int64) {
		if announced > 1000 {
			return // ten bytes make no difference
		}
		loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
		r, w := io.Pipe()
		go func() {
			for range 10 {
				io.WriteString(w, "x")
				time.Sleep(idle / 5)
			}
			w.Close()
		}()
		var body io.Reader = r
		if announced > 0 {
			body = sized{r, 10}
		}
		if a := f.do("PATCH", loc, body); a.StatusCode != 202 || a.Header.Get("Range") != "0-9" {
			t.Errorf("status %d, Range %q: %s", a.StatusCode, a.Header.Get("Range"), a.body)
		}
		time.Sleep(idle + idle/2) // no deadline is left on the connection
		f.run(step{do: "PUT " + loc + "&digest=" + sha(strings.Repeat("x", 10)), status: 201})
	})
}

func TestManifestStalledClient(t *testing.T) {
	const idle = 100 * time.Millisecond
	forEachFraming(t, idle, func(t *testing.T, f *fixture, announced int64) {
		a := f.do("PUT", "/v2/a/manifests/v1", stalled(t, "{", announced), "Content-Type: "+typeImage)
		if a.StatusCode != 408 || a.codes()[0] != CodeManifestInvalid {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	})
}

// TestUnreadBodyStalls: handlers that read no body, or not all of it, do not
// wait for ever for one that was announced.
func TestUnreadBodyStalls(t *testing.T) {
	f := newFixture(t, func(c *Config, _ *meta.Options) {
		c.Limits = Limits{BodyIdle: 100 * time.Millisecond, UploadWait: 100 * time.Millisecond, ManifestBytes: 2, BlobBytes: 2}
	})
	for _, tt := range []struct {
		request string // $loc is the Location of an upload
		status  int
	}{
		{"GET /v2/", 200},
		{"HEAD /v2/a/manifests/none", 404},
		{"GET $loc", 204},
		{"POST /v2/a/blobs/uploads/", 202},
		{"DELETE /v2/a/manifests/none", 404},
		{"PUT /v2/a/manifests/v1", 413},
		{"PATCH $loc", 413},
		{"PUT $loc&digest=sha256:x", 400},
		{"BREW /v2/", 405},
	} {
		for _, framing := range []string{"Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
			t.Run(tt.request+" "+framing[:8], func(t *testing.T) {
				t.Parallel()
				f := &fixture{TB: t, server: f.server, client: f.client}
				loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
				request := strings.Replace(tt.request, "$loc", loc, 1)
				if a := f.raw(request+" HTTP/1.1\r\nHost: x\r\n"+framing, false); a.StatusCode != tt.status {
					t.Errorf("%d %s", a.StatusCode, a.body)
				}
			})
		}
	}
}

// TestUnreadBodyIsRead: an answer that needs no body does not cost the client
// its connection, nor the next request its deadline.
func TestUnreadBodyIsRead(t *testing.T) {
	const wait = 100 * time.Millisecond
	f := newFixture(t, func(c *Config, _ *meta.Options) { c.Limits = Limits{BodyIdle: wait, UploadWait: wait} })
	for range 2 {
		f.run(step{do: "DELETE /v2/a/manifests/none", body: strings.Repeat("x", 100<<10), status: 404})
		time.Sleep(3 * wait)
	}
	f.run(step{do: "POST /v2/a/blobs/uploads/?digest=" + sha("x"), body: "x", status: 201})
}
