package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

const (
	mixedRepos    = 200
	mixedClients  = 8
	mixedLayers   = 3
	mixedPool     = 60 // distinct layers that the repositories' images are made of
	existingShare = 0.80
	warmShare     = 0.60
	layersRepo    = "bench/base"
)

// layerSizes are the sizes the layers of W1 and W2 have, in a hundred equally likely steps: half under 1 MiB, 80% under
// 10 MiB, the rest up to most, spread evenly on a logarithmic scale within each part.
func layerSizes(most int64) []int64 {
	part := func(from, to float64, i, n int) int64 {
		x := (float64(i) + 0.5) / float64(n)
		return int64(math.Exp(math.Log(from) + x*(math.Log(to)-math.Log(from))))
	}
	const mib = 1 << 20
	limit := float64(most)
	var out []int64
	for i := range 50 {
		out = append(out, part(4<<10, min(mib, limit), i, 50))
	}
	for i := range 30 {
		out = append(out, part(min(mib, limit), min(10*mib, limit), i, 30))
	}
	for i := range 20 {
		out = append(out, part(min(10*mib, limit), limit, i, 20))
	}
	return out
}

// mixedWorkload is W1 and W2: pulls and pushes over 200 repositories of Zipf popularity.
func mixedWorkload(opts *options, name string, seed uint64, pulls float64) (*workload, error) {
	sizes := layerSizes(opts.maxLayer)
	content, err := newPayloads(seed, sizes)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	// The pool takes its sizes evenly from the steps, so that 60 layers have the distribution of a hundred.
	pool := make([]*payload, mixedPool)
	for i := range pool {
		pool[i] = content.fresh(sizes[(2*i+1)*len(sizes)/(2*mixedPool)])
	}
	images := make([]*image, mixedRepos)
	for i := range images {
		pick := rng.Perm(mixedPool)[:mixedLayers]
		layers := make([]*payload, mixedLayers)
		for j, p := range pick {
			layers[j] = pool[p]
		}
		images[i] = newImage(content.configPayload(layers...), layers...)
	}
	repo := func(i int) string { return fmt.Sprintf("bench/team%02d/app%03d", i%20, i) }
	popularity := newZipf(1.0, mixedRepos)

	push := func(ctx context.Context, w *worker, i int) (int64, error) {
		layers := make([]*payload, mixedLayers)
		for j := range layers {
			if w.rng.Float64() < existingShare {
				layers[j] = images[i].layers[j]
			} else {
				layers[j] = content.fresh(sizes[w.rng.IntN(len(sizes))])
			}
		}
		img := newImage(content.configPayload(layers...), layers...)
		return w.push(ctx, repo(i), "ci-"+img.manifest.digest[7:19], img)
	}
	return &workload{
		name:  name,
		title: fmt.Sprintf("%s: mixed, %.0f%% pulls, %.0f%% pushes", name, 100*pulls, 100*(1-pulls)),
		about: fmt.Sprintf("%d clients; %d repositories, Zipf 1.0; images of %d layers and a config. %.0f%% of the pulls are warm (HEAD of the tag only), "+
			"the others fetch everything in sequence. A push finds %.0f%% of its layers present, uploads the rest by %s, and puts the manifest under a "+
			"new tag. Layers: half under 1 MiB, 80%% under 10 MiB, the largest %s.",
			mixedClients, mixedRepos, mixedLayers, 100*warmShare, 100*existingShare, opts.uploadForm(), byteSize(sizes[len(sizes)-1])),
		prepare: func(ctx context.Context, b *bed) error {
			const bound = 5 * time.Minute
			_, _, err := parallel(ctx, len(pool), 2, bound, func(ctx context.Context, i int) error {
				return b.pushBlob(ctx, layersRepo, pool[i])
			})
			if err != nil {
				return err
			}
			n, _, err := parallel(ctx, mixedRepos, mixedClients, bound, func(ctx context.Context, i int) error {
				for _, l := range images[i].layers {
					if err := b.mountBlob(ctx, repo(i), layersRepo, l); err != nil {
						return err
					}
				}
				_, err := b.push(ctx, repo(i), "latest", images[i])
				return err
			})
			if err == nil && n < mixedRepos {
				err = fmt.Errorf("only %d of %d repositories filled within %s", n, mixedRepos, bound)
			}
			if err != nil {
				return err
			}
			return b.verifyBlob(ctx, repo(0), images[0].layers[0])
		},
		measures: func(*bed) []measure {
			return []measure{{
				name: "mix", clients: mixedClients, duration: 2 * opts.duration,
				classes: []string{"warm pull (HEAD)", "cold pull", "push"},
				op: func(ctx context.Context, w *worker) (int, int64, error) {
					i := popularity.pick(w.rng.Float64())
					switch {
					case w.rng.Float64() >= pulls:
						n, err := push(ctx, w, i)
						return 2, n, err
					case w.rng.Float64() < warmShare:
						return 0, 0, w.headManifest(ctx, repo(i), "latest", images[i].manifest)
					default:
						n, err := w.pull(ctx, repo(i), "latest", images[i])
						return 1, n, err
					}
				},
			}}
		},
	}, nil
}
