package meta

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

var errFault = errors.New("injected fault")

// faulty makes one storage call of a run fail: the at-th, before it was done or
// after. Table and blob store count together.
type faulty struct {
	at    int
	after bool
	calls int
}

// due counts a call and tells whether it is the one.
func (f *faulty) due() bool { f.calls++; return f.calls == f.at }

func (f *faulty) hook() table.Hook {
	hit := false
	return table.Hook{
		Before: func(table.Call) error {
			if hit = f.due(); hit && !f.after {
				return errFault
			}
			return nil
		},
		After: func(_ table.Call, err error) error {
			if hit && err == nil {
				return errFault
			}
			return err
		},
	}
}

// faultyObjects is the blob store of a world whose calls can fail.
type faultyObjects struct {
	*world
	f *faulty
}

func (o faultyObjects) do(change func()) error {
	hit := o.f.due()
	if hit && !o.f.after {
		return errFault
	}
	change()
	if hit {
		return errFault
	}
	return nil
}

func (o faultyObjects) Abort(ctx context.Context, up blob.Upload) error { return o.Delete(ctx, up.Key) }
func (o faultyObjects) Delete(_ context.Context, key string) error {
	return o.do(func() { delete(o.objects, key) })
}

// TestFaults fails each storage call of a registry's life in turn, once before
// and once after it took effect. The client tries again as clients do; nothing
// acknowledged is lost, no tag dangles, nothing stays behind.
func TestFaults(t *testing.T) {
	for _, maxActions := range []int{table.MaxActions, 4} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("max %d actions, after success %v", maxActions, after), func(t *testing.T) {
				for at := 1; ; at++ {
					f := &faulty{at: at, after: after}
					life(t, f, maxActions)
					if t.Failed() {
						t.Fatalf("with a fault in call %d", at)
					}
					if f.calls < at {
						t.Logf("%d calls failed in turn", at-1)
						break
					}
				}
			})
		}
	}
}

// life is a short life of a registry under one fault.
func life(t *testing.T, f *faulty, maxActions int) {
	w := &world{mem: newMemory(), objects: map[string]bool{}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	m := New(table.WithHook(w.mem, f.hook()), Options{Grace: grace, Clock: func() time.Time { return w.clock }})
	m.maxActions = maxActions
	objects := faultyObjects{w, f}

	// try does what a client does that gets a 503: once more.
	try := func(what string, op func() error) {
		t.Helper()
		err := op()
		if errors.Is(err, errFault) {
			err = op()
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		checkSafe(t, w)
	}
	upload := func(repo string, d digest.Digest) {
		t.Helper()
		var up Upload
		try("start upload", func() (err error) { up, err = m.StartUpload(ctx, repo, digest.Canonical); return err })
		try("bytes", func() error { return objects.do(func() { w.objects[up.Content.Key] = true }) })
		up.Content.Size = 5
		try("save upload", func() error {
			saved, err := m.SaveUpload(ctx, up)
			if errors.Is(err, ErrUploadConflict) { // the acknowledgement was lost: ask and go on
				saved, err = m.Upload(ctx, repo, up.ID)
			}
			if err == nil {
				up = saved
			}
			return err
		})
		try("commit upload", func() error { _, err := m.CommitUpload(ctx, up, d); return err })
		checkSafe(t, w)
	}
	push := func(repo string, d digest.Digest, tag string, blobs ...digest.Digest) {
		t.Helper()
		try("push "+tag, func() error {
			return m.PushManifest(ctx, Push{Repository: repo, Digest: d, MediaType: "m", Size: 2, Body: []byte("{}"), Tags: []string{tag}, Blobs: blobs})
		})
		try("pull "+tag, func() error {
			got, err := m.ManifestByTag(ctx, repo, tag)
			if err == nil && got.Digest != d {
				err = fmt.Errorf("got %s", got.Digest)
			}
			return err
		})
	}
	remove := func(repo string, d digest.Digest) {
		t.Helper()
		try("delete", func() error {
			err := m.DeleteManifest(ctx, repo, d)
			if errors.Is(err, ErrManifestUnknown) {
				return nil // the first try got through
			}
			return err
		})
		if _, err := m.Manifest(ctx, repo, d); !errors.Is(err, ErrManifestUnknown) && !errors.Is(err, errFault) {
			t.Errorf("after delete: %v", err)
		}
	}
	sweeps := func(n int) {
		t.Helper()
		for range n {
			w.clock = w.clock.Add(grace)
			try("sweep", func() error { _, err := m.Sweep(ctx, objects); return err })
		}
	}

	upload("a", layer)
	upload("a", config)
	upload("b", config) // the registry has it: these bytes go
	push("a", image, "v1", layer, config)
	push("a", other, "v2", layer)
	try("mount", func() error { _, err := m.Mount(ctx, "a", "b", layer); return err })
	push("b", image, "v1", layer, config)
	push("a", other, "v1", layer) // the tag moves
	remove("a", image)
	sweeps(4)
	remove("b", image)
	try("delete tag", func() error {
		err := m.DeleteTag(ctx, "a", "v2")
		if errors.Is(err, ErrManifestUnknown) {
			return nil
		}
		return err
	})
	try("cancel", func() error {
		up, err := m.StartUpload(ctx, "a", digest.Canonical)
		if err != nil {
			return err
		}
		w.objects[up.Content.Key] = true
		return m.CancelUpload(ctx, up)
	})
	sweeps(30) // a session whose cancelling failed has to run out
	checkClean(t, w)
	if got, err := m.ManifestByTag(ctx, "a", "v1"); !errors.Is(err, errFault) && (err != nil || got.Digest != other) {
		t.Errorf("a:v1 is %s, %v", got.Digest, err)
	}
}
