package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	blobSize = 100_000_000
	blobRepo = "bench/blob"
)

// blobWorkload pulls one large layer, beside a file server that has nothing else to do.
func blobWorkload(opts *options) (*workload, error) {
	sizes, err := newPayloads(3, []int64{blobSize})
	if err != nil {
		return nil, err
	}
	layer := sizes.fresh(blobSize)
	op := func(ctx context.Context, w *worker) (int, int64, error) {
		return 0, blobSize, w.getBlob(ctx, blobRepo, layer.digest, blobSize)
	}
	return &workload{
		name:     "blob",
		title:    "Layer pull, 100 MB",
		about:    "GET of one blob of 100,000,000 bytes that is in the page cache, by 1 client and by 4.",
		withBare: true,
		prepare: func(ctx context.Context, b *bed) error {
			if b.peer.kind.name == "bare" {
				return writeFile(filepath.Join(b.dir, layer.digest), layer.body())
			}
			if err := b.pushBlob(ctx, blobRepo, layer); err != nil {
				return err
			}
			// A blob without a manifest is prey of garbage collection somewhere.
			if _, err := b.push(ctx, blobRepo, "v1", newImage(sizes.configPayload(layer), layer)); err != nil {
				return err
			}
			return b.verifyBlob(ctx, blobRepo, layer)
		},
		measures: func(*bed) []measure {
			var out []measure
			for _, clients := range []int{1, 4} {
				out = append(out, measure{name: fmt.Sprintf("GET 100 MB, %d at a time", clients), clients: clients, duration: opts.duration, op: op})
			}
			return out
		},
	}, nil
}

func writeFile(name string, body io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer f.Close()
	if _, err := io.Copy(f, body); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Sync()
}
