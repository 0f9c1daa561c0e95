package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// slowPut sends a PUT whose body comes as it is written to the pipe. It returns
// when the handler has the request.
func (h *host) slowPut(url string) (*io.PipeWriter, <-chan error) {
	h.t.Helper()
	eventually(h.t, "the end of earlier requests", func() bool { return h.active.Load() == 0 })
	r, w := io.Pipe()
	done := make(chan error, 1)
	req, err := http.NewRequest(http.MethodPut, url, r)
	if err != nil {
		h.t.Fatal(err)
	}
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = errors.New(resp.Status)
			}
		}
		done <- err
	}()
	eventually(h.t, "the request", func() bool { return h.active.Load() > 0 })
	return w, done
}

func TestShutdownLetsAnUploadEnd(t *testing.T) {
	h := start(t, func(o *Options) { o.MetricsListen = "127.0.0.1:0" })
	dir, side := h.data.Path, "http://"+h.side.Addr().String()
	content := bytes.Repeat([]byte("slow "), 50_000)
	digest := digestOf(content)
	body, uploaded := h.slowPut(withDigest(h.startUpload("team/app"), digest))
	half := len(content) / 2
	if _, err := body.Write(content[:half]); err != nil {
		t.Fatal(err)
	}
	if a := h.do(http.MethodGet, "/healthz", nil); a.StatusCode != 200 || !strings.Contains(string(a.body), "v0.0.0-test") {
		t.Fatalf("healthz before: %d %s", a.StatusCode, a.body)
	}

	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	eventually(t, "refusal of new connections", func() bool {
		c, err := net.Dial("tcp", h.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if a := h.do(http.MethodGet, side+"/healthz", nil); a.StatusCode != 503 || !strings.Contains(string(a.body), "draining") {
		t.Errorf("healthz while stopping: %d %s", a.StatusCode, a.body)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped (%v) with an upload in flight", err)
	case err := <-uploaded:
		t.Fatalf("the upload was cut off: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := body.Write(content[half:]); err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
	if err := <-uploaded; err != nil {
		t.Errorf("the upload in flight failed: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}

	again := start(t, func(o *Options) { o.Data = dir })
	if a := again.do(http.MethodGet, "/v2/team/app/blobs/"+digest, nil); !bytes.Equal(a.body, content) {
		t.Errorf("what was uploaded while stopping is not there: %d", a.StatusCode)
	}
}

func TestShutdownTimeout(t *testing.T) {
	h := start(t, func(o *Options) { o.ShutdownTimeout = 50 * time.Millisecond })
	body, uploaded := h.slowPut(withDigest(h.startUpload("team/app"), digestOf([]byte("never"))))
	if _, err := body.Write([]byte("ne")); err != nil {
		t.Fatal(err)
	}
	err := h.stop()
	if err == nil || !strings.Contains(err.Error(), "--shutdown-timeout") {
		t.Errorf("stop with a stuck upload: %v", err)
	}
	_ = body.CloseWithError(io.ErrClosedPipe)
	if err := <-uploaded; err == nil {
		t.Error("the upload that was cut off succeeded")
	}
}

func TestAddressInUse(t *testing.T) {
	h := start(t, nil)
	_, err := New(Options{Listen: h.Addr().String(), Data: t.TempDir()})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("second registry on the same address: %v", err)
	}
}

// brokenTable is a table whose disk has gone.
type brokenTable struct{ table.Table }

func (brokenTable) Get(context.Context, table.Key) (table.Item, error) {
	return table.Item{}, errors.New("/secret/path: input/output error")
}

func TestHealthOfABrokenTable(t *testing.T) {
	h := start(t, nil)
	h.health.table = brokenTable{h.data.Table}
	a := h.do(http.MethodGet, "/healthz", nil)
	if a.StatusCode != 503 || strings.Contains(string(a.body), "secret") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(h.log.String(), "input/output error") })
}

// readOnlyTable is a table that can be read and will not be written any more.
type readOnlyTable struct{ table.Table }

func (readOnlyTable) Err() error { return errors.New("/secret/path: fsync: input/output error") }

func TestHealthOfATableThatTakesNoWrites(t *testing.T) {
	h := start(t, nil)
	if _, ok := h.health.table.(breakable); !ok {
		t.Errorf("a %T cannot tell that it is broken", h.health.table)
	}
	h.health.table = readOnlyTable{h.data.Table}
	a := h.do(http.MethodGet, "/healthz", nil)
	if a.StatusCode != 503 || strings.Contains(string(a.body), "secret") || !strings.Contains(string(a.body), "restart") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(h.log.String(), "input/output error") })
}
