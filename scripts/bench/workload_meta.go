package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	metaRepos   = 10
	metaTags    = 10
	metaClients = 8
	smallPush   = 1 << 20
	pushClients = 4
)

func metaRepo(i int) string { return fmt.Sprintf("bench/meta%02d", i) }
func metaTag(i int) string  { return fmt.Sprintf("v1.%d", i) }

// metaWorkload reads manifests by tag: what every node of a cluster does at every start of a container.
func metaWorkload(opts *options) (*workload, error) {
	sizes, err := newPayloads(1, []int64{4 << 10})
	if err != nil {
		return nil, err
	}
	layer := sizes.fresh(4 << 10)
	img := newImage(sizes.configPayload(layer), layer)
	op := func(read func(*worker, context.Context, string, string) error) func(context.Context, *worker) (int, int64, error) {
		return func(ctx context.Context, w *worker) (int, int64, error) {
			return 0, 0, read(w, ctx, metaRepo(w.rng.IntN(metaRepos)), metaTag(w.rng.IntN(metaTags)))
		}
	}
	return &workload{
		name:     "meta",
		title:    "Manifest HEAD and GET by tag",
		about:    fmt.Sprintf("%d clients, %d repositories of %d tags, all of one small image.", metaClients, metaRepos, metaTags),
		withBare: true,
		prepare: func(ctx context.Context, b *bed) error {
			if b.peer.kind.name == "bare" {
				return os.WriteFile(filepath.Join(b.dir, "manifest"), img.manifest.raw, 0o600)
			}
			_, _, err := parallel(ctx, metaRepos, 4, time.Minute, func(ctx context.Context, i int) error {
				for t := range metaTags {
					if _, err := b.push(ctx, metaRepo(i), metaTag(t), img); err != nil {
						return err
					}
				}
				return nil
			})
			return err
		},
		measures: func(*bed) []measure {
			return []measure{
				{name: "HEAD by tag", clients: metaClients, duration: opts.duration,
					op: op(func(w *worker, ctx context.Context, repo, tag string) error {
						return w.headManifest(ctx, repo, tag, img.manifest)
					})},
				{name: "GET by tag", clients: metaClients, duration: opts.duration,
					op: op(func(w *worker, ctx context.Context, repo, tag string) error {
						return w.getManifest(ctx, repo, tag, img.manifest)
					})},
			}
		},
	}, nil
}

// pushWorkload pushes whole small images, each with a layer and a config that nobody has seen.
func pushWorkload(opts *options) (*workload, error) {
	sizes, err := newPayloads(2, []int64{smallPush})
	if err != nil {
		return nil, err
	}
	fresh := func() *image {
		layer := sizes.fresh(smallPush)
		return newImage(sizes.configPayload(layer), layer)
	}
	return &workload{
		name:  "push",
		title: "Small push",
		about: fmt.Sprintf("%d clients, each into its own repository: HEAD, POST and %s of a fresh 1 MiB layer, the same for its config, "+
			"PUT of the manifest under a new tag. One operation is the whole image.", pushClients, opts.uploadForm()),
		prepare: func(ctx context.Context, b *bed) error {
			img := fresh()
			if _, err := b.push(ctx, "bench/push0", "first", img); err != nil {
				return err
			}
			return b.verifyBlob(ctx, "bench/push0", img.layers[0])
		},
		measures: func(*bed) []measure {
			return []measure{{name: "push of an image, 1 MiB layer", clients: pushClients, duration: opts.duration,
				op: func(ctx context.Context, w *worker) (int, int64, error) {
					img := fresh()
					n, err := w.push(ctx, fmt.Sprintf("bench/push%d", w.id), "t-"+img.manifest.digest[7:19], img)
					return 0, n, err
				}}}
		},
	}, nil
}
