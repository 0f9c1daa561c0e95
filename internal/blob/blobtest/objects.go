package blobtest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// missing objects are ErrNotFound, and none are made by asking.
func missing(g *rig) {
	key := newKey()
	for range 2 {
		g.wantMissing(key)
	}
	up := g.begin(digest.SHA256)
	g.wantMissing(up.Key) // Begin does no I/O
}

// ranges answer with the bytes that exist.
func ranges(g *rig) {
	for _, n := range []int{0, 1, 1000, mib5 + 1000} {
		b := noise(20, n)
		key := g.push(digest.SHA256, b)
		size := int64(n)
		for _, offset := range []int64{0, 1, size / 2, size - 1, size, size + 1, size + mib5} {
			for _, length := range []int64{-1, 0, 1, 2, size / 2, size - offset, size, size + 1, -5} {
				if offset < 0 || g.opts.Quick && n > 1000 && length > 2 {
					continue
				}
				from := min(offset, size)
				to := size
				if length >= 0 {
					to = min(size, from+length)
				}
				what := fmt.Sprintf("Read of %d bytes from %d of %d", length, offset, n)
				rc, err := g.s.Read(ctx, key, blob.Range{Offset: offset, Length: length})
				if err != nil {
					g.Fatalf("%s: %v", what, err)
				}
				got, err := io.ReadAll(rc)
				if cerr := rc.Close(); err != nil || cerr != nil {
					g.Fatalf("%s: %v, Close: %v", what, err, cerr)
				}
				g.wantBytes(what, got, b[from:to])
			}
		}
		if rc, err := g.s.Read(ctx, key, blob.Range{Offset: -1, Length: 1}); err == nil {
			rc.Close()
			g.Fatalf("Read from a negative offset: no error")
		}
	}
}

// seek is what an HTTP server does with a Content.
func seek(g *rig) {
	b := noise(21, 100_000)
	key := g.push(digest.SHA256, b)
	src, err := g.s.Open(ctx, key, blob.AccessGet)
	if err != nil {
		g.Fatalf("Open: %v", err)
	}
	if src.Redirect != nil {
		return
	}
	defer src.Content.Close()
	if end, err := src.Content.Seek(0, io.SeekEnd); err != nil || end != int64(len(b)) {
		g.Fatalf("Seek to the end = %d, %v; want %d", end, err, len(b))
	}
	for _, offset := range []int64{99_999, 0, 50_000} {
		if _, err := src.Content.Seek(offset, io.SeekStart); err != nil {
			g.Fatalf("Seek to %d: %v", offset, err)
		}
		got, err := io.ReadAll(src.Content)
		if err != nil {
			g.Fatalf("read from %d: %v", offset, err)
		}
		g.wantBytes("opened object", got, b[offset:])
	}
}

// deletion may be repeated, and hits one object only.
func deletion(g *rig) {
	b := noise(22, 5000)
	key, twin := g.push(digest.SHA256, b), g.push(digest.SHA256, b)
	for i := range 3 {
		if err := g.s.Delete(ctx, key); err != nil {
			g.Fatalf("Delete, try %d: %v", i, err)
		}
		g.wantMissing(key)
	}
	if err := g.s.Delete(ctx, newKey()); err != nil {
		g.Fatalf("Delete of what never was: %v", err)
	}
	g.wantObject(twin, b)
}

// concurrent uploads, readings and deletions of many keys do not mix.
func concurrent(g *rig) {
	workers, rounds := 16, 8
	if g.opts.Quick {
		workers, rounds = 8, 2
	}
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				if err := g.life(30+w*rounds+r, 1+(w*7919+r*104_729)%700_000); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		g.Fatalf("%v", err)
	}
}

// life is an object's, from Begin to Delete. It may run beside the test's
// goroutine and therefore returns errors.
func (g *rig) life(seed, n int) error {
	b := noise(seed, n)
	up, err := g.s.Begin(newKey(), digest.SHA256)
	if err != nil {
		return err
	}
	for int(up.Size) < n {
		step := min(n-int(up.Size), n/3+1)
		r := &breaking{b: b[up.Size:][:step], err: io.EOF}
		if up, err = g.s.Append(ctx, up, r, unlimited); err != nil {
			return err
		}
	}
	if err := g.s.Complete(ctx, up, digest.FromBytes(b)); err != nil {
		return err
	}
	if err := compare(ctx, g.s, up.Key, digest.FromBytes(b)); err != nil {
		return err
	}
	if err := g.s.Delete(ctx, up.Key); err != nil {
		return err
	}
	if _, err := g.s.Stat(ctx, up.Key); err == nil {
		return fmt.Errorf("object %s is there after Delete", up.Key)
	}
	return nil
}

func compare(ctx context.Context, s blob.Store, key string, want digest.Digest) error {
	rc, err := s.Read(ctx, key, blob.Range{Length: -1})
	if err != nil {
		return err
	}
	defer rc.Close()
	got, err := want.Algorithm().FromReader(rc)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("object %s holds %s, want %s", key, got, want)
	}
	return nil
}
