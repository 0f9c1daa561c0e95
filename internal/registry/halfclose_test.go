package registry

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// raw sends bytes as they are and reads the answer. With halfClose the client
// says that it sends nothing more, which net/http takes for its departure and
// cancels the request's context.
func (f *fixture) raw(request string, halfClose bool) answer {
	f.Helper()
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		f.Fatal(err)
	}
	if halfClose {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			f.Fatal(err)
		}
	}
	method, rest, _ := strings.Cut(request, " ")
	path, _, _ := strings.Cut(rest, " ")
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		f.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	a := answer{resp, string(body)}
	f.checkAnswer(method, path, a)
	return a
}

// TestHalfClosedClient: a client that has closed its sending side still reads,
// and must never read a success that did not happen.
func TestHalfClosedClient(t *testing.T) {
	f := newFixture(t)
	m := f.pushImage("a", "v1", "", "{}", "layer")
	other := image(`,"annotations":{"a":"b"}`, "{}", "layer")
	// Slow enough for the server to notice the half-closed connection first.
	f.tableHook.Before = func(table.Call) error { time.Sleep(20 * time.Millisecond); return nil }
	put := func(tag, m string) string {
		return fmt.Sprintf("PUT /v2/a/manifests/%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", tag, typeImage, len(m), m)
	}
	bare := func(method, path string) string { return method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

	// The manifest is here as a whole: that the client may be gone loses nothing.
	if a := f.raw(put("v2", other), true); a.StatusCode != 201 || a.Header.Get("Docker-Content-Digest") != sha(other) {
		t.Errorf("PUT of a manifest: %d %s", a.StatusCode, a.body)
	}
	f.run(step{do: "GET /v2/a/manifests/v2", status: 200, text: other})

	for _, request := range []string{
		bare("HEAD", "/v2/a/blobs/"+sha("absent")),
		bare("HEAD", "/v2/a/manifests/absent"),
		bare("GET", "/v2/a/blobs/"+sha("layer")),
		bare("GET", "/v2/a/manifests/v1"),
		bare("GET", "/v2/a/tags/list"),
		bare("POST", "/v2/a/blobs/uploads/"),
		bare("POST", "/v2/b/blobs/uploads/?from=a&mount="+sha("layer")),
		bare("DELETE", "/v2/a/manifests/v1"),
		bare("DELETE", "/v2/a/manifests/"+sha(m)),
		bare("DELETE", "/v2/a/blobs/"+sha("layer")),
	} {
		if a := f.raw(request, true); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %q", strings.SplitN(request, "\r", 2)[0], a.StatusCode, a.Header, a.body)
		}
	}
	f.run(step{do: "GET /v2/a/manifests/v1", status: 200, text: m}) // nothing was deleted
}
