package meta

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
)

var (
	ctx      = context.Background()
	layer    = digest.FromString("layer")
	config   = digest.FromString("config")
	image    = digest.FromString("image")
	other    = digest.FromString("another image with the same layer")
	foreign  = digest.FromString("a layer that clients fetch from elsewhere")
	bigImage = digest.FromString("an image whose bytes are a blob")
)

// upload does what the HTTP layer does to make a blob visible.
func (p *process) upload(repo string, d digest.Digest) error {
	up, err := p.model.StartUpload(ctx, repo, digest.Canonical)
	if err != nil {
		return err
	}
	if err := p.step(); err != nil { // the blob store takes the bytes
		return err
	}
	p.world.objects[up.Content.Key] = true
	up.Content.Size = 5
	if _, err := p.model.CommitUpload(ctx, up, d); err != nil {
		return err
	}
	return nil
}

// push pushes an image of one layer; a manifest that was acknowledged is there.
func (p *process) push(repo string, d digest.Digest, tag string, blobs ...digest.Digest) error {
	push := Push{Repository: repo, Digest: d, MediaType: "m", Size: 2, Body: []byte("{}"), Blobs: blobs}
	if tag != "" {
		push.Tags = []string{tag}
	}
	if d == bigImage {
		push.Body = nil
	}
	return p.model.PushManifest(ctx, push)
}

// ensure asks for the blob first and uploads it where it is absent.
func (p *process) ensure(repo string, d digest.Digest) error {
	_, err := p.model.Blob(ctx, repo, d)
	if errors.Is(err, ErrBlobUnknown) {
		return p.upload(repo, d)
	}
	return err
}

// client is what every client does: ask, upload what is absent, push. The push
// may fail for lack of the blob only if a grace period went by since it asked.
func client(repo string, d digest.Digest, tag string, blobs ...digest.Digest) func(*process) error {
	return func(p *process) error {
		asked := p.world.clock
		for _, b := range blobs {
			if err := p.ensure(repo, b); err != nil {
				return err
			}
		}
		err := p.push(repo, d, tag, blobs...)
		var missing *MissingError
		if errors.As(err, &missing) && !p.world.clock.Before(asked.Add(grace)) {
			return nil
		}
		return err
	}
}

// mounter gets the layer from another repository, or uploads it.
func mounter(from, to string, d digest.Digest, tag string) func(*process) error {
	return func(p *process) error {
		asked := p.world.clock
		_, err := p.model.Mount(ctx, from, to, layer)
		if errors.Is(err, ErrBlobUnknown) {
			err = p.upload(to, layer)
		}
		if err != nil {
			return err
		}
		err = p.push(to, d, tag, layer)
		var missing *MissingError
		if errors.As(err, &missing) && !p.world.clock.Before(asked.Add(grace)) {
			return nil
		}
		return err
	}
}

func deleter(repo string, d digest.Digest) func(*process) error {
	return func(p *process) error {
		err := p.model.DeleteManifest(ctx, repo, d)
		if errors.Is(err, ErrManifestUnknown) {
			return nil
		}
		return err
	}
}

func blobDeleter(repo string, d digest.Digest) func(*process) error {
	return func(p *process) error {
		err := p.model.DeleteBlob(ctx, repo, d)
		if errors.Is(err, ErrBlobReferenced) || errors.Is(err, ErrBlobUnknown) {
			return nil
		}
		return err
	}
}

// sweeper lets the given number of grace periods pass, sweeping after each.
func sweeper(graces int) func(*process) error {
	return func(p *process) error {
		for range graces {
			p.world.clock = p.world.clock.Add(grace)
			p.saw(p.world.clock)
			if _, err := p.model.Sweep(ctx, p); err != nil {
				return err
			}
		}
		return nil
	}
}

// sequence runs steps one after the other in one process.
func sequence(steps ...func(*process) error) func(*process) error {
	return func(p *process) error {
		for _, step := range steps {
			if err := step(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// tagged demands that the tag is there in the end and points at the manifest.
func tagged(repo, tag string, d digest.Digest) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		m := New(w.mem, Options{})
		got, err := m.ManifestByTag(ctx, repo, tag)
		if err != nil || got.Digest != d {
			t.Errorf("%s:%s is %q, %v; want %s", repo, tag, got.Digest, err, d)
		}
	}
}

// TestInterleavings proves the protocol of collect.go on small registries: no
// order of storage calls, and no crash, loses what was acknowledged or leaves
// behind what nothing needs.
func TestInterleavings(t *testing.T) {
	uploaded := func(p *process) error { return p.upload("a", layer) }
	pushed := sequence(uploaded, func(p *process) error { return p.push("a", image, "v1", layer) })
	scenarios := []scenario{
		{
			name: "push beside the sweep of its unreferenced layer", crashes: 1,
			setup:     uploaded,
			processes: map[string]func(*process) error{"client": client("a", image, "v1", layer), "sweeper": sweeper(3)},
		},
		{
			name:  "push beside the deletion of the only image with the layer, swept",
			setup: pushed, crashes: 1,
			processes: map[string]func(*process) error{
				"client":  client("a", other, "v2", layer),
				"deleter": sequence(deleter("a", image), sweeper(2)),
			},
		},
		{
			name:  "three at once: push, delete, sweep",
			setup: pushed,
			processes: map[string]func(*process) error{
				"client":  client("a", other, "v2", layer),
				"deleter": deleter("a", image),
				"sweeper": sweeper(3),
			},
		},
		{
			name:  "the same image pushed again while it is deleted",
			setup: pushed, crashes: 1,
			processes: map[string]func(*process) error{
				"client":  client("a", image, "v2", layer),
				"deleter": deleter("a", image),
			},
		},
		{
			name:  "a tag set again while its manifest is deleted",
			setup: pushed,
			processes: map[string]func(*process) error{
				"client":  client("a", image, "v2", layer),
				"deleter": deleter("a", image),
			},
			// Whichever comes last, manifest and tag have the same fate.
			after: func(t *testing.T, w *world) {
				m := New(w.mem, Options{})
				_, byDigest := m.Manifest(ctx, "a", image)
				_, byTag := m.ManifestByTag(ctx, "a", "v2")
				if (byDigest == nil) != (byTag == nil) {
					t.Errorf("manifest: %v, its new tag: %v", byDigest, byTag)
				}
			},
		},
		{
			name:  "mount beside the deletion of the source, swept",
			setup: pushed, crashes: 1,
			processes: map[string]func(*process) error{
				"mounter": mounter("a", "b", other, "v1"),
				"sweeper": sequence(deleter("a", image), sweeper(4)),
			},
		},
		{
			name:  "upload beside the end of the stored blob",
			setup: sequence(uploaded, sweeper(2)), crashes: 1,
			processes: map[string]func(*process) error{"client": client("b", image, "v1", layer), "sweeper": sweeper(3)},
		},
		{
			name:  "blob deleted by a client beside a push that needs it",
			setup: uploaded, crashes: 1,
			processes: map[string]func(*process) error{
				"client":  client("a", image, "v1", layer),
				"deleter": sequence(blobDeleter("a", layer), sweeper(1)),
			},
		},
		{
			name:  "two clients upload and push the same image",
			setup: nil, crashes: 1,
			processes: map[string]func(*process) error{
				"one": client("a", image, "v1", layer),
				"two": client("a", image, "v2", layer),
			},
		},
		{
			name:  "two pushes move one tag",
			setup: sequence(uploaded, func(p *process) error { return p.upload("a", config) }),
			processes: map[string]func(*process) error{
				"one":     client("a", image, "v1", layer, config),
				"two":     client("a", other, "v1", layer),
				"deleter": deleter("a", image),
			},
		},
		{
			name: "large manifest beside the sweep", maxActions: 4, crashes: 1,
			setup:     uploaded,
			processes: map[string]func(*process) error{"client": client("a", image, "v1", layer), "sweeper": sweeper(3)},
		},
		{
			name: "edges of a large manifest in several writes beside the sweep", maxActions: 3,
			setup:     sequence(uploaded, func(p *process) error { return p.upload("a", config) }),
			processes: map[string]func(*process) error{"client": client("a", image, "v1", layer, config), "sweeper": sweeper(2)},
		},
		{
			name: "large manifest twice at once", maxActions: 4, crashes: 1,
			setup: uploaded,
			processes: map[string]func(*process) error{
				"one": client("a", image, "v1", layer),
				"two": client("a", image, "v1", layer),
			},
			after: nil,
		},
		{
			name: "large manifest beside its own deletion, swept", maxActions: 4, crashes: 1,
			setup: pushed,
			processes: map[string]func(*process) error{
				"client":  client("a", image, "v1", layer),
				"deleter": sequence(deleter("a", image), sweeper(2)),
			},
		},
		{
			name:  "manifest whose bytes are a blob",
			setup: uploaded, crashes: 1,
			processes: map[string]func(*process) error{
				"client":  sequence(func(p *process) error { return p.upload("a", bigImage) }, func(p *process) error { return ignoreMissing(p.push("a", bigImage, "v1", layer)) }),
				"sweeper": sequence(sweeper(2), deleter("a", bigImage), sweeper(2)),
			},
		},
		{
			name: "an optional layer comes beside its image and the sweep", crashes: 1,
			processes: map[string]func(*process) error{
				"image": func(p *process) error {
					return p.model.PushManifest(ctx, Push{Repository: "a", Digest: image, Body: []byte("{}"), Optional: []digest.Digest{foreign}})
				},
				"layer": func(p *process) error { return p.upload("a", foreign) },
				"sweep": sweeper(2),
			},
		},
		{
			name:  "two sweepers",
			setup: sequence(pushed, deleter("a", image)), crashes: 1,
			processes: map[string]func(*process) error{"one": sweeper(2), "two": sweeper(1)},
		},
		{
			name:  "an acknowledged push stays, whatever the sweeper does",
			setup: uploaded,
			processes: map[string]func(*process) error{
				"client":  sequence(uploaded, func(p *process) error { return retryMissing(p, "a", image, "v1") }),
				"sweeper": sweeper(3),
			},
			after: tagged("a", "v1", image),
		},
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			if underRace || testing.Short() {
				sc.crashes = 0
			}
			t.Logf("%d histories", explore(t, sc))
		})
	}
}

func ignoreMissing(err error) error {
	var missing *MissingError
	if errors.As(err, &missing) {
		return nil
	}
	return err
}

// retryMissing pushes as a person would: what the registry says is missing is
// uploaded again.
func retryMissing(p *process, repo string, d digest.Digest, tag string) error {
	for range 4 {
		err := p.push(repo, d, tag, layer)
		var missing *MissingError
		if !errors.As(err, &missing) {
			return err
		}
		if err := p.upload(repo, layer); err != nil {
			return err
		}
	}
	return fmt.Errorf("the layer was missing four times")
}
