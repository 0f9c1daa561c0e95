package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

var errFault = errors.New("injected fault")

// fault makes one storage call of a life fail: the at-th, before it was done or
// after. Table and blob store count together.
type fault struct {
	at    int
	after bool
	off   bool   // while the test looks, nothing counts
	calls int    // so far
	what  string // the call that failed
}

// due counts a call and tells whether it is the one.
func (f *fault) due(what string) bool {
	if f.off {
		return false
	}
	if f.calls++; f.calls != f.at {
		return false
	}
	f.what = what
	return true
}

// around returns what a hook runs before a call and what after it.
func (f *fault) around() (before func(what string) error, after func(error) error) {
	hit := false
	before = func(what string) error {
		if hit = f.due(what); hit && !f.after {
			return errFault
		}
		return nil
	}
	after = func(err error) error {
		if hit && err == nil {
			return errFault
		}
		return err
	}
	return before, after
}

func (f *fault) tableHook() table.Hook {
	before, after := f.around()
	return table.Hook{
		Before: func(c table.Call) error { return before("table " + string(c.Op)) },
		After:  func(_ table.Call, err error) error { return after(err) },
	}
}

func (f *fault) blobHook() blob.Hook {
	before, after := f.around()
	return blob.Hook{
		Before: func(c blob.Call) error { return before("blob " + string(c.Op)) },
		After:  func(_ blob.Call, err error) error { return after(err) },
	}
}

// TestFaults fails each storage call of a registry's life in turn, once before
// and once after it took effect. The client tries again as clients do. What was
// acknowledged is there, no tag dangles, and what nothing needs goes.
func TestFaults(t *testing.T) {
	whole := &fault{}
	runLife(t, whole)
	if t.Failed() {
		t.Fatal("without any fault")
	}
	// In a hurry every so many calls have to do, and they are others before and
	// after.
	step := 1
	switch {
	case underRace:
		step = 20
	case testing.Short():
		step = 6
	}
	var running sync.WaitGroup
	turns := make(chan struct{}, 4*runtime.GOMAXPROCS(0)) // they wait for the disk, too
	for _, after := range []bool{false, true} {
		// Ids are random, so a life can have a call more than another.
		first := 1
		if after {
			first += step / 2
		}
		for at := first; at <= whole.calls+10 && !t.Failed(); at += step {
			turns <- struct{}{}
			running.Go(func() {
				defer func() { <-turns }()
				f := &fault{at: at, after: after}
				t.Run(fmt.Sprintf("call %d, after success %v", at, after), func(t *testing.T) { runLife(t, f) })
			})
		}
	}
	running.Wait()
	t.Logf("%d calls failed in turn", whole.calls)
}

// runLife is a short life of a registry under one fault.
func runLife(t *testing.T, f *fault) {
	l := newLife(t, f)
	defer func() {
		if t.Failed() {
			t.Logf("the fault was in call %d of %d: %s", f.at, f.calls, f.what)
		}
	}()
	const app, web = "team/app", "team/web"

	l.pushBlob(app, "{}", l.atOnce)
	l.pushBlob(app, "one layer", l.inOnePut)
	l.pushBlob(app, "another layer", l.asStream)
	l.pushBlob(app, "a layer in chunks", l.inChunks)
	first := image("", "{}", "one layer", "another layer", "a layer in chunks")
	l.pushManifest(app, "v1", typeImage, first)
	l.pull(app, "v1")

	l.pushBlob(web, "one layer", l.byMount(app))
	l.pushBlob(web, "another layer", l.byMount(""))
	l.pushBlob(web, "a layer in chunks", l.byMount("no/such"))
	l.pushBlob(web, "{}", l.inOnePut) // the registry has it: these bytes go
	l.pushManifest(web, "v1", typeImage, first)
	l.pushManifest(web, "same", typeImage, first)

	// Too large for a row, and with too many layers for one write.
	foreign := make([]string, 60)
	for i := range foreign {
		foreign[i] = desc(foreignLayers[0]+"v1.tar", fmt.Sprint("elsewhere ", i))
	}
	large := strings.Replace(image(`,"annotations":{"a":"`+strings.Repeat("x", 70<<10)+`"}`, "{}", "one layer"),
		`"layers":[`, `"layers":[`+strings.Join(foreign, ",")+",", 1)
	l.pushManifest(app, "large", typeImage, large)
	l.pull(app, "large")
	l.sweep()

	second := image(`,"subject":`+desc(typeImage, first), "{}", "one layer")
	l.pushManifest(app, "v1", typeImage, second) // the tag moves
	l.pushManifest(app, "multi", typeIndex, index("", first, second))
	l.pushManifest(app, "gone", typeImage, second)
	l.deleteTag(app, "gone")
	l.pull(app, "v1")
	l.sweep()

	l.deleteManifest(web, first) // with two tags; its blobs stay in the other repository
	l.deleteManifest(app, large)
	l.sweep() // what they needed is condemned now, and is needed again
	l.pushBlob(web, "one layer", l.byMount(app))
	l.pushBlob(web, "{}", l.atOnce)
	l.pushManifest(web, "again", typeImage, second)
	l.pushManifest(app, "large", typeImage, large)
	l.deleteManifest(app, large)
	l.pushBlob(app, "nobody needs this", l.atOnce)
	l.deleteBlob(app, "nobody needs this")
	l.pushBlob(app, "nor this", l.inOnePut)
	l.cancelUpload(app)
	for range 4 {
		l.sweep()
	}
	l.end()
}

// pushBlob pushes the content by the lane until that succeeds, and sees that it
// is there.
func (l *life) pushBlob(repo, content string, lane func(repo, content string) (done bool)) {
	l.op("push "+content, func() {
		for range 4 {
			if lane(repo, content) {
				return
			}
		}
		l.Errorf("the blob %q cannot be pushed", content)
	}, func() {
		if a := l.send("GET", "/v2/"+repo+"/blobs/"+sha(content), ""); a.StatusCode != 200 || a.body != content {
			l.Errorf("pushed %q, got %d %q", content, a.StatusCode, a.body)
		}
	})
}

// The lanes of a blob; see TestUploadMonolithic for who takes which. Each
// reports whether the blob was acknowledged, or has to be pushed again.

func (l *life) atOnce(repo, content string) bool {
	return l.try("POST", "/v2/"+repo+"/blobs/uploads/?digest="+sha(content), content).StatusCode == 201
}

func (l *life) inOnePut(repo, content string) bool {
	return l.put(l.start(repo), content, sha(content))
}

// asStream gives the blob up where its one PATCH fails, as Docker does.
func (l *life) asStream(repo, content string) bool {
	loc := l.start(repo)
	a := l.send("PATCH", loc, content)
	l.checkProgress(a, len(content))
	return a.StatusCode == 202 && l.put(a.Header.Get("Location"), "", sha(content))
}

// inChunks asks where to go on, as regclient does.
func (l *life) inChunks(repo, content string) bool {
	loc, have := l.start(repo), 0
	for tries := 0; have < len(content); tries++ {
		if tries > len(content) {
			return false
		}
		end := min(have+6, len(content))
		a := l.try("PATCH", loc, content[have:end], fmt.Sprintf("Content-Range: %d-%d", have, end-1))
		l.checkProgress(a, end)
		if a.StatusCode == 416 {
			a = l.try("GET", loc, "")
		}
		if a.StatusCode != 202 && a.StatusCode != 204 {
			return false
		}
		if loc = a.Header.Get("Location"); a.Header.Get("Range") != "0-0" {
			fmt.Sscanf(a.Header.Get("Range"), "0-%d", &have)
			have++
		}
	}
	return l.put(loc, "", sha(content))
}

// checkProgress: a chunk that was acknowledged counts.
func (l *life) checkProgress(a answer, want int) {
	if a.StatusCode == 202 && a.Header.Get("Range") != rangeOf(int64(want)) {
		l.Errorf("%s: Range %q after %d bytes", l.doing, a.Header.Get("Range"), want)
	}
}

func (l *life) byMount(from string) func(repo, content string) bool {
	return func(repo, content string) bool {
		a := l.try("POST", "/v2/"+repo+"/blobs/uploads/?mount="+sha(content)+"&from="+from, "")
		return a.StatusCode == 201 || a.StatusCode == 202 && l.put(a.Header.Get("Location"), content, sha(content))
	}
}

func (l *life) start(repo string) (location string) {
	return l.try("POST", "/v2/"+repo+"/blobs/uploads/", "").Header.Get("Location")
}

func (l *life) put(loc, content, digest string) bool {
	return l.try("PUT", loc+"&digest="+digest, content).StatusCode == 201
}

func (l *life) pushManifest(repo, tag, mediaType, m string) {
	l.op("push "+tag, func() {
		if a := l.try("PUT", "/v2/"+repo+"/manifests/"+tag, m, "Content-Type: "+mediaType); a.StatusCode != 201 {
			l.Errorf("push %s:%s: %d %s", repo, tag, a.StatusCode, a.body)
		}
		l.manifests[[2]string{repo, sha(m)}] = m
		l.tags[[2]string{repo, tag}] = m
	}, nil)
}

// pull reads what the tag has, under faults.
func (l *life) pull(repo, tag string) {
	l.op("pull "+tag, func() {
		for _, method := range []string{"HEAD", "GET"} {
			a := l.try(method, "/v2/"+repo+"/manifests/"+tag, "")
			if want := l.tags[[2]string{repo, tag}]; a.StatusCode != 200 || a.body != want { // HEAD has one before it reaches the wire
				l.Errorf("%s %s:%s: %d with %d bytes, want %d", method, repo, tag, a.StatusCode, len(a.body), len(want))
			}
		}
		for d, content := range contents(l.tags[[2]string{repo, tag}]) {
			if a := l.try("GET", "/v2/"+repo+"/blobs/"+d, ""); content && (a.StatusCode != 200 || sha(a.body) != d) {
				l.Errorf("blob %s of %s:%s: %d %q", d, repo, tag, a.StatusCode, a.body)
			}
		}
	}, nil)
}

// remove deletes what the path names. After a try that failed a 404 says that
// it had got through.
func (l *life) remove(path string, acknowledged int) {
	l.op("delete "+path, func() {
		a := l.send("DELETE", path, "")
		if a.StatusCode >= 500 {
			if a = l.send("DELETE", path, ""); a.StatusCode == 404 {
				return
			}
		}
		if a.StatusCode != acknowledged {
			l.Errorf("DELETE %s: %d %s", path, a.StatusCode, a.body)
		}
	}, func() {
		if a := l.send("GET", path, ""); a.StatusCode != 404 {
			l.Errorf("deleted %s, still got %d", path, a.StatusCode)
		}
	})
}

func (l *life) deleteTag(repo, tag string) {
	delete(l.tags, [2]string{repo, tag})
	l.remove("/v2/"+repo+"/manifests/"+tag, 202)
}

func (l *life) deleteManifest(repo, m string) {
	delete(l.manifests, [2]string{repo, sha(m)})
	maps.DeleteFunc(l.tags, func(k [2]string, v string) bool { return k[0] == repo && v == m })
	l.remove("/v2/"+repo+"/manifests/"+sha(m), 202)
}

func (l *life) deleteBlob(repo, content string) {
	l.remove("/v2/"+repo+"/blobs/"+sha(content), 202)
}

func (l *life) cancelUpload(repo string) {
	loc := l.start(repo)
	l.try("PATCH", loc, "half of a blob")
	l.remove(loc, 204)
}

// sweep lets a grace period pass and collects; what fails stays on the list.
func (l *life) sweep() {
	l.op("sweep", func() {
		l.clock = l.clock.Add(lifeGrace + time.Second)
		if _, err := l.model.Sweep(l.Context(), l.blobs); err != nil && !errors.Is(err, errFault) {
			l.Errorf("sweep: %v", err)
		}
	}, nil)
}

// contents are the digests that a manifest names, and whether they have to be
// there.
func contents(m string) map[string]bool {
	var doc document
	_ = json.Unmarshal([]byte(m), &doc)
	found := map[string]bool{}
	for _, d := range slices.Concat(doc.Layers, doc.Blobs) {
		found[d.Digest.String()] = !isForeign(d)
	}
	if doc.Config != nil {
		found[doc.Config.Digest.String()] = true
	}
	return found
}
