package registry

import (
	"encoding/json"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/disk"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
)

const (
	lifeGrace     = 10 * time.Minute
	lifeUploadAge = time.Hour
)

// life is a registry over the real engines with one fault in its storage, its
// client, and what that client was told.
type life struct {
	testing.TB
	fault   *fault
	handler *Handler
	model   *meta.Model
	blobs   blob.Store
	dir     string // of the blobs
	clock   time.Time
	doing   string

	manifests map[[2]string]string // acknowledged: repository and digest -> bytes
	tags      map[[2]string]string // repository and tag -> bytes
}

func newLife(t testing.TB, f *fault) *life {
	t.Helper()
	dir := t.TempDir()
	l := &life{
		TB: t, fault: f, dir: filepath.Join(dir, "blobs"), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		manifests: map[[2]string]string{}, tags: map[[2]string]string{},
	}
	db := filepath.Join(dir, "meta.db")
	if err := os.WriteFile(db, grownTable(t), 0o600); err != nil {
		t.Fatal(err)
	}
	tab, err := bolt.Open(db, bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	blobs, err := disk.Open(l.dir, disk.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return l.clock }
	l.blobs = blob.WithHook(blobs, f.blobHook())
	l.model = meta.New(table.WithHook(tab, f.tableHook()), meta.Options{Grace: lifeGrace, UploadAge: lifeUploadAge, Clock: now})
	l.handler, err = New(Config{
		Meta: l.model, Blobs: l.blobs, UploadKeys: [][]byte{testKey}, Clock: now, Limits: Limits{UploadAge: lifeUploadAge},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// grownTable is the file of an empty table with room for a life. bbolt waits
// for the disk whenever its file grows, and of lives there are a thousand.
var grownTable = func() func(testing.TB) []byte {
	var once sync.Once
	var file []byte
	return func(t testing.TB) []byte {
		once.Do(func() {
			path := filepath.Join(t.TempDir(), "grown.db")
			tab, err := bolt.Open(path, bolt.Options{NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			room := table.Item{Key: table.Key{PK: "room", SK: "room"}, Version: "1", Body: make([]byte, 300_000)}
			for _, a := range []table.Action{table.Put(room, table.Always()), table.Delete(room.Key, table.Always())} {
				if err := tab.Write(t.Context(), []table.Action{a}); err != nil {
					t.Fatal(err)
				}
			}
			if err := tab.Close(); err != nil {
				t.Fatal(err)
			}
			if file, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		})
		return file
	}
}()

// told notes whether a handler said what its answer is. One that does not has
// said 200.
type told struct {
	*httptest.ResponseRecorder
	status bool
}

func (w *told) WriteHeader(status int) { w.status = true; w.ResponseRecorder.WriteHeader(status) }

// send sends one request.
func (l *life) send(method, path, body string, headers ...string) answer {
	l.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	w := &told{ResponseRecorder: httptest.NewRecorder()}
	l.handler.ServeHTTP(w, r)
	if !w.status {
		l.Errorf("%s: %s %s is not answered", l.doing, method, path)
	}
	return answer{w.Result(), w.Body.String()}
}

// try sends a request, and once more after a 5xx: there is one fault only.
func (l *life) try(method, path, body string, headers ...string) answer {
	l.Helper()
	a := l.send(method, path, body, headers...)
	if a.StatusCode >= 500 {
		a = l.send(method, path, body, headers...)
	}
	return a
}

// op does one thing. If the fault hit in it, the test looks afterwards whether
// all that was acknowledged is true.
func (l *life) op(name string, do, look func()) {
	l.Helper()
	before := l.fault.calls
	l.doing = name
	do()
	if hit := before < l.fault.at && l.fault.at <= l.fault.calls; !hit && l.fault.at != 0 {
		return
	}
	l.fault.off = true
	defer func() { l.fault.off = false }()
	l.checkTold()
	if look != nil {
		look()
	}
}

// end collects all that can be collected and looks at what is left.
func (l *life) end() {
	l.Helper()
	l.fault.off, l.doing = true, "the end"
	idle := 0
	for n := 0; idle < 2; n++ {
		l.clock = l.clock.Add(lifeUploadAge + lifeGrace)
		report, err := l.model.Sweep(l.Context(), l.blobs)
		if err != nil {
			l.Fatalf("sweep: %v", err)
		}
		if idle++; report.Tasks > 0 {
			idle = 0
		}
		if n == 30 {
			l.Fatalf("after %d sweeps there still is work: %+v", n, report)
		}
	}
	l.checkTold()
	l.checkFiles()
}

// checkTold: what the client was told is so. Each manifest is there with its
// content, each tag has its manifest, and no others exist.
func (l *life) checkTold() {
	l.Helper()
	for k, m := range l.manifests {
		repo, d := k[0], k[1]
		if a := l.send("GET", "/v2/"+repo+"/manifests/"+d, ""); a.StatusCode != 200 || a.body != m {
			l.Errorf("manifest %s in %s: %d with %d bytes", d, repo, a.StatusCode, len(a.body))
		}
		for blob, needed := range contents(m) {
			if a := l.send("GET", "/v2/"+repo+"/blobs/"+blob, ""); needed && (a.StatusCode != 200 || sha(a.body) != blob) {
				l.Errorf("blob %s in %s: %d %q", blob, repo, a.StatusCode, a.body)
			}
		}
		var doc document
		_ = json.Unmarshal([]byte(m), &doc)
		if doc.Subject != nil {
			if a := l.send("GET", "/v2/"+repo+"/referrers/"+doc.Subject.Digest.String(), ""); !strings.Contains(a.body, d) {
				l.Errorf("%s is no referrer: %s", d, a.body)
			}
		}
	}
	listed := map[string][]string{}
	for k, m := range l.tags {
		repo, tag := k[0], k[1]
		listed[repo] = append(listed[repo], tag)
		if a := l.send("GET", "/v2/"+repo+"/manifests/"+tag, ""); a.StatusCode != 200 || a.body != m {
			l.Errorf("%s:%s: %d with %d bytes", repo, tag, a.StatusCode, len(a.body))
		}
	}
	for _, repo := range []string{"team/app", "team/web"} {
		a := l.send("GET", "/v2/"+repo+"/tags/list", "")
		var list struct{ Tags []string }
		_ = json.Unmarshal([]byte(a.body), &list)
		slices.Sort(listed[repo])
		if !slices.Equal(list.Tags, listed[repo]) {
			l.Errorf("tags of %s: %q, want %q", repo, list.Tags, listed[repo])
		}
	}
}

// checkFiles: there are as many files as there is content that something needs.
func (l *life) checkFiles() {
	l.Helper()
	needed := map[string]bool{}
	for k, m := range l.manifests {
		if len(m) > meta.InlineManifest {
			needed[k[1]] = true
		}
		for d, is := range contents(m) {
			if is {
				needed[d] = true
			}
		}
	}
	files := 0
	err := filepath.WalkDir(l.dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	if files != len(needed) {
		l.Errorf("%d files, want %d", files, len(needed))
	}
}
