package server

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fastWriter is a server's writer that can do more than the interface says.
type fastWriter struct {
	*httptest.ResponseRecorder
	source   io.Reader // what ReadFrom was given last
	pieces   int       // how often
	deadline time.Time
}

func (w *fastWriter) ReadFrom(r io.Reader) (int64, error) {
	w.source = r
	w.pieces++
	return io.Copy(w.ResponseRecorder, r)
}

func (w *fastWriter) SetReadDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

// The file itself has to reach the server's writer, or sendfile is lost.
func TestReadFromReachesTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layer")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 2_500_000), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, nil)
	through := func(serve http.HandlerFunc) *fastWriter {
		w := &fastWriter{ResponseRecorder: httptest.NewRecorder()}
		observe(serve, routeName, h.Server.log, h.metrics.Requests, time.Minute).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v2/", nil))
		return w
	}
	open := func() *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}

	w := through(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, open())
	})
	limited, ok := w.source.(*io.LimitedReader)
	if !ok {
		t.Fatalf("http.ServeContent gave the server %T, want a limited file", w.source)
	}
	if _, ok := limited.R.(*os.File); !ok {
		t.Errorf("http.ServeContent gave the server a limited %T, want a file", limited.R)
	}
	if w.Body.Len() != 2_500_000 {
		t.Errorf("%d bytes came through", w.Body.Len())
	}
	if w.pieces != 3 {
		t.Errorf("in %d pieces, want 3 of at most %d bytes", w.pieces, answerPiece)
	}

	f := open()
	w = through(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.CopyN(w, f, 10); err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Errorf("the controller does not find the server's writer: %v", err)
		}
	})
	if w.source == nil || w.deadline.IsZero() {
		t.Errorf("ReadFrom %v, deadline %v", w.source, w.deadline)
	}
}

// A writer that has no ReadFrom (HTTP/2) is served through a buffer.
func TestReadFromWithoutIt(t *testing.T) {
	plain := httptest.NewRecorder() // has none
	w := &recorder{ResponseWriter: plain}
	n, err := w.ReadFrom(strings.NewReader(strings.Repeat("y", 300_000)))
	if err != nil || n != 300_000 || w.bytes != n || plain.Body.Len() != 300_000 || w.status != 200 {
		t.Errorf("%d bytes, %v, counted %d, status %d", n, err, w.bytes, w.status)
	}
}
