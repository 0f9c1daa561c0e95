package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	tagPage        = 100
	tagLoadClients = 32
	fewTags        = 1000
	fewRepo        = "bench/few"
	manyRepo       = "bench/many"
)

func tagName(i int) string { return fmt.Sprintf("build-%07d", i) }

// tagLoad is how many tags a peer took within the bound.
type tagLoad struct{ few, many int }

// tagsWorkload is W6: one page of a repository's tags must not cost more because there are more tags.
func tagsWorkload(opts *options) (*workload, error) {
	sizes, err := newPayloads(4, []int64{1 << 10})
	if err != nil {
		return nil, err
	}
	layer := sizes.fresh(1 << 10)
	img := newImage(sizes.configPayload(layer), layer)
	load := func(ctx context.Context, b *bed, repo string, n int) (int, []time.Duration, error) {
		if _, err := b.push(ctx, repo, tagName(0), img); err != nil {
			return 0, nil, err
		}
		return parallel(ctx, n, tagLoadClients, opts.tagsBound, func(ctx context.Context, i int) error {
			return b.putManifest(ctx, repo, tagName(i), img.manifest)
		})
	}
	return &workload{
		name:  "W6",
		title: "W6: page of a tag list",
		about: fmt.Sprintf("1 client, n=%d, the first page and one from the middle (last=), in a repository of %d tags and in one of %d "+
			"(as many as a peer takes from %d clients within %s).", tagPage, min(fewTags, opts.tags), opts.tags, tagLoadClients, opts.tagsBound),
		prepare: func(ctx context.Context, b *bed) error {
			few, _, err := load(ctx, b, fewRepo, min(fewTags, opts.tags))
			if err != nil {
				return err
			}
			begin := time.Now()
			many, latencies, err := load(ctx, b, manyRepo, opts.tags)
			if err != nil {
				return err
			}
			b.data = tagLoad{few, many}
			b.load = &loadFigures{
				name:    fmt.Sprintf("loading: PUT of a manifest under a new tag, %d clients", tagLoadClients),
				figures: summarise(latencies, 0, time.Since(begin)),
			}
			if few <= tagPage || many <= tagPage {
				return errors.New("it took fewer tags than one page holds; raise --tags-bound")
			}
			return nil
		},
		measures: func(b *bed) []measure {
			loaded := b.data.(tagLoad)
			page := func(repo string, total int, middle bool) measure {
				from, last, where := 0, "", "first"
				if middle {
					from = min(total/2, total-tagPage)
					last, where = tagName(from-1), "middle"
				}
				return measure{
					name: fmt.Sprintf("%s page, %d tags", where, total), clients: 1, duration: opts.duration / 2,
					op: func(ctx context.Context, w *worker) (int, int64, error) {
						tags, err := w.listTags(ctx, repo, tagPage, last)
						if err == nil && (len(tags) != tagPage || tags[0] != tagName(from) || tags[tagPage-1] != tagName(from+tagPage-1)) {
							err = fmt.Errorf("tags of %s after %q: %d tags from %v, want %d from %s", repo, last, len(tags), tags[:min(1, len(tags))], tagPage, tagName(from))
						}
						return 0, 0, err
					},
				}
			}
			return []measure{
				page(fewRepo, loaded.few, false), page(fewRepo, loaded.few, true),
				page(manyRepo, loaded.many, false), page(manyRepo, loaded.many, true),
			}
		},
	}, nil
}
