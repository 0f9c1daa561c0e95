package server

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/datadir"
	"github.com/slipway-oci/slipway/internal/meta"
)

// stored is how many bytes of blobs are on disk.
func stored(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// The sweeper of a running registry frees what was deleted, by itself.
func TestSweeperRuns(t *testing.T) {
	h := start(t, func(o *Options) {
		// The grace is long enough for a push on a slow machine.
		o.Meta, o.SweepInterval = meta.Options{Grace: 2 * time.Second}, 20*time.Millisecond
	})
	keep := h.pushImage("team/app", "keep", []byte("stays"))
	digest := h.pushImage("team/app", "v1", []byte(strings.Repeat("goes", 1000)))
	if a := h.do(http.MethodDelete, "/v2/team/app/manifests/"+digest, nil); a.StatusCode != http.StatusAccepted {
		t.Fatalf("delete: %d %s", a.StatusCode, a.body)
	}
	for deadline := time.Now().Add(40 * time.Second); stored(t, h.data.Path) != int64(len("stays")+len("{}")); {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are still on disk", stored(t, h.data.Path))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if a := h.do(http.MethodGet, "/v2/team/app/manifests/"+keep, nil); a.StatusCode != 200 {
		t.Errorf("what stays is gone: %d %s", a.StatusCode, a.body)
	}
	text := string(h.do(http.MethodGet, "/metrics", nil).body)
	if got := metric(t, text, "slipway_sweep_freed_bytes_total"); got != 4000 {
		t.Errorf("%v bytes freed, want 4000", got)
	}
	if !strings.Contains(h.log.String(), `"msg":"sweep"`) {
		t.Error("what the sweeper did is not in the log")
	}
}

func TestCollect(t *testing.T) {
	h := start(t, nil)
	dir := h.data.Path
	h.pushImage("team/app", "keep", []byte("stays"))
	digest := h.pushImage("team/app", "v1", []byte(strings.Repeat("goes", 1000)))
	h.do(http.MethodDelete, "/v2/team/app/manifests/"+digest, nil)
	location := h.startUpload("team/app")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}

	collect := func(opts CollectOptions) meta.SweepReport {
		t.Helper()
		data, err := datadir.OpenExisting(dir)
		if err != nil {
			t.Fatal(err)
		}
		report, err := Collect(t.Context(), data, opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := data.Close(); err != nil {
			t.Fatal(err)
		}
		return report
	}
	grace := 6 * time.Hour
	if r := collect(CollectOptions{Grace: grace}); r.Freed != 0 || stored(t, dir) < 4000 {
		t.Errorf("the grace period was ignored: %+v", r)
	}
	if r := collect(CollectOptions{Grace: grace, IgnoreGrace: true}); r.Freed != 4000 {
		t.Errorf("report %+v, want 4000 bytes freed", r)
	}
	if got := stored(t, dir); got != int64(len("stays")+len("{}")) {
		t.Errorf("%d bytes on disk", got)
	}
	if r := collect(CollectOptions{Grace: grace, IgnoreGrace: true}); r.Freed != 0 || r.Deleted != 0 {
		t.Errorf("a second run did something: %+v", r)
	}

	again := start(t, func(o *Options) { o.Data = dir })
	if a := again.do(http.MethodGet, "/v2/team/app/manifests/keep", nil); a.StatusCode != 200 {
		t.Errorf("what stays is gone: %d %s", a.StatusCode, a.body)
	}
	// An upload that was open is younger than it may be, and goes on.
	location = strings.Replace(location, h.url, again.url, 1)
	if a := again.do(http.MethodPut, withDigest(location, digestOf([]byte("x"))), strings.NewReader("x")); a.StatusCode != http.StatusCreated {
		t.Errorf("the open upload: %d %s", a.StatusCode, a.body)
	}
}
