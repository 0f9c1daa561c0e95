// Package slipway is a container registry for your own Go program or test: an
// [http.Handler] that speaks the OCI distribution API (1.1) and keeps what it is
// given in a directory, durably.
//
// It is the registry that `slipway serve` runs, without listener, log and
// metrics. The example shows it inside a test.
package slipway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/slipway-oci/slipway/internal/datadir"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/registry"
)

// Options are the settings of a Registry. The zero value is fine.
type Options struct {
	// ImmutableTags gives new repositories immutable tags: a tag, once pushed,
	// cannot be moved to another manifest.
	ImmutableTags bool
	// AllowMissing accepts sparse indexes and images: what a manifest lists need
	// not be there.
	AllowMissing bool
	// MaxBlobBytes is the size of the largest blob. Default 50 GiB.
	MaxBlobBytes int64
	// Grace is how long content that nothing refers to is kept before it is
	// marked, and again before [Registry.Sweep] deletes its bytes. Default 6 h.
	Grace time.Duration
	// Log receives failures of the storage. Nil: nothing is logged.
	Log *slog.Logger
}

// Registry is a container registry on a directory. Everybody who reaches it may
// do everything: put a handler of your own before it to decide who does. It is
// safe for concurrent use.
type Registry struct {
	http.Handler
	dir   *datadir.Dir
	model *meta.Model
}

// Open opens the registry in the directory, and creates it where there is none.
// One process at a time can have it open.
func Open(dir string, opts Options) (*Registry, error) {
	d, err := datadir.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("slipway: %w", err)
	}
	r := &Registry{dir: d, model: meta.New(d.Table, meta.Options{Grace: opts.Grace, ImmutableTags: opts.ImmutableTags})}
	key, err := d.UploadKey()
	if err == nil {
		r.Handler, err = registry.New(registry.Config{
			Meta:         r.model,
			Blobs:        d.Blobs,
			UploadKeys:   [][]byte{key},
			AllowMissing: opts.AllowMissing,
			Limits:       registry.Limits{BlobBytes: opts.MaxBlobBytes},
			Log:          opts.Log,
		})
	}
	if err != nil {
		_ = d.Close() // the error that counts is the first one
		return nil, fmt.Errorf("slipway: %w", err)
	}
	return r, nil
}

// Sweep frees what nothing has referred to for long enough. Call it now and
// then, every minute say; its cost follows what changed, not what is there.
func (r *Registry) Sweep(ctx context.Context) error {
	_, err := r.model.Sweep(ctx, r.dir.Blobs)
	return err
}

// Close closes the directory. No request may be in flight and none may follow.
func (r *Registry) Close() error { return r.dir.Close() }
