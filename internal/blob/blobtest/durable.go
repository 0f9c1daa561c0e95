package blobtest

import (
	"context"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// RunDurable runs the suite with every single call made by a store of its own,
// as if the process ended after each. open opens the folder, or whatever else
// an engine makes of the name, and does not register closing.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) blob.Store, opts Options) {
	Run(t, func(t *testing.T) blob.Store {
		dir := t.TempDir()
		return forgetful{t, func() blob.Store { return open(t, dir) }}
	}, opts)
}

// forgetful opens a store for each call and closes it afterwards; if the answer
// is there to be read from, at the end of the test.
type forgetful struct {
	t    *testing.T
	open func() blob.Store
}

func (f forgetful) once(call func(blob.Store)) {
	s := f.open()
	call(s)
	f.close(s)
}

func (f forgetful) close(s blob.Store) {
	if err := s.Close(); err != nil {
		f.t.Errorf("Close: %v", err)
	}
}

func (f forgetful) lasting() blob.Store {
	s := f.open()
	f.t.Cleanup(func() { f.close(s) })
	return s
}

func (f forgetful) Begin(key string, algorithm digest.Algorithm) (up blob.Upload, err error) {
	f.once(func(s blob.Store) { up, err = s.Begin(key, algorithm) })
	return up, err
}

func (f forgetful) Append(ctx context.Context, up blob.Upload, r io.Reader, limit int64) (next blob.Upload, err error) {
	f.once(func(s blob.Store) { next, err = s.Append(ctx, up, r, limit) })
	return next, err
}

func (f forgetful) Complete(ctx context.Context, up blob.Upload, want digest.Digest) (err error) {
	f.once(func(s blob.Store) { err = s.Complete(ctx, up, want) })
	return err
}

func (f forgetful) Abort(ctx context.Context, up blob.Upload) (err error) {
	f.once(func(s blob.Store) { err = s.Abort(ctx, up) })
	return err
}

func (f forgetful) Open(ctx context.Context, key string, access blob.Access) (blob.Source, error) {
	return f.lasting().Open(ctx, key, access)
}

func (f forgetful) Read(ctx context.Context, key string, r blob.Range) (io.ReadCloser, error) {
	return f.lasting().Read(ctx, key, r)
}

func (f forgetful) Stat(ctx context.Context, key string) (size int64, err error) {
	f.once(func(s blob.Store) { size, err = s.Stat(ctx, key) })
	return size, err
}

func (f forgetful) Delete(ctx context.Context, key string) (err error) {
	f.once(func(s blob.Store) { err = s.Delete(ctx, key) })
	return err
}

func (f forgetful) Close() error { return nil }
