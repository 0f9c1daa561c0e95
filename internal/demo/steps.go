package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/slipway-oci/slipway/internal/datadir"
	"github.com/slipway-oci/slipway/internal/server"
)

// demo is what the steps hand on to each other.
type demo struct {
	out      io.Writer
	registry string // host:port
	data     *datadir.Dir
	client   *http.Transport

	index    v1.ImageIndex // as built
	pulled   v1.ImageIndex // as it came back
	referrer v1.Hash
}

// The repositories of the demo.
const (
	appRepository  = "demo/app"
	copyRepository = "team/app-copy"
	tag            = "v1"
)

func (d *demo) steps() []step {
	return []step{
		{"build an image for two platforms, in memory", d.build},
		{"push it: layers, configs, manifests, the index", d.push},
		{"pull it back and verify every digest", d.pull},
		{"attach a document to it (OCI referrer)", d.attach},
		{"ask what is attached", d.referrers},
		{"tag it once more and list the tags", d.tags},
		{"mount it into another repository, uploading no layer", d.mount},
		{"delete everything", d.delete},
		{"collect the garbage (ignoring the grace period)", d.collect},
	}
}

func (d *demo) repository(path string) name.Repository {
	r, err := name.NewRepository(d.registry + "/" + path)
	if err != nil {
		panic(err) // the paths are constants
	}
	return r
}

// options are those of every call. The client's connections are the demo's own,
// so that it can close them before it stops the registry: a connection that was
// opened ahead and never used looks to a server like one about to be used.
func (d *demo) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(d.client)}
}

func (d *demo) build(context.Context) (string, error) {
	index, size, err := buildIndex()
	if err != nil {
		return "", err
	}
	d.index = index
	return fmt.Sprintf("%s for %s", server.FormatBytes(size), strings.Join(platforms, " and ")), nil
}

func (d *demo) push(ctx context.Context) (string, error) {
	ref := d.repository(appRepository).Tag(tag)
	if err := remote.WriteIndex(ref, d.index, d.options(ctx)...); err != nil {
		return "", err
	}
	digest, err := d.index.Digest()
	return fmt.Sprintf("%s is %s", ref, short(digest)), err
}

func (d *demo) pull(ctx context.Context) (string, error) {
	index, err := remote.Index(d.repository(appRepository).Tag(tag), d.options(ctx)...)
	if err != nil {
		return "", err
	}
	read, err := readAll(index)
	if err != nil {
		return "", err
	}
	sent, err := d.index.Digest()
	if err != nil {
		return "", err
	}
	got, err := index.Digest()
	if err != nil {
		return "", err
	}
	if sent != got {
		return "", fmt.Errorf("pushed %s, got %s", sent, got)
	}
	d.pulled = index
	return server.FormatBytes(read) + " of layers read and verified", nil
}

// readAll reads every byte of every layer. The client library compares each
// manifest, config and layer with the digest that it was asked for by.
func readAll(index v1.ImageIndex) (int64, error) {
	var total int64
	manifest, err := index.IndexManifest()
	if err != nil {
		return 0, err
	}
	for _, m := range manifest.Manifests {
		img, err := index.Image(m.Digest)
		if err != nil {
			return 0, err
		}
		if _, err := img.ConfigFile(); err != nil {
			return 0, err
		}
		layers, err := img.Layers()
		if err != nil {
			return 0, err
		}
		for _, l := range layers {
			r, err := l.Compressed()
			if err != nil {
				return 0, err
			}
			n, err := io.Copy(io.Discard, r)
			if err := errors.Join(err, r.Close()); err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

func (d *demo) attach(ctx context.Context) (string, error) {
	doc, err := buildDocument(d.index)
	if err != nil {
		return "", err
	}
	if d.referrer, err = doc.Digest(); err != nil {
		return "", err
	}
	return "", remote.Write(d.repository(appRepository).Digest(d.referrer.String()), doc, d.options(ctx)...)
}

func (d *demo) referrers(ctx context.Context) (string, error) {
	subject, err := d.index.Digest()
	if err != nil {
		return "", err
	}
	list, err := remote.Referrers(d.repository(appRepository).Digest(subject.String()), d.options(ctx)...)
	if err != nil {
		return "", err
	}
	manifest, err := list.IndexManifest()
	if err != nil {
		return "", err
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest != d.referrer {
		return "", fmt.Errorf("expected %s, the registry lists %d: %v", d.referrer, len(manifest.Manifests), manifest.Manifests)
	}
	return fmt.Sprintf("%s, a %s", short(d.referrer), manifest.Manifests[0].ArtifactType), nil
}

func (d *demo) tags(ctx context.Context) (string, error) {
	repo := d.repository(appRepository)
	if err := remote.Tag(repo.Tag("latest"), d.pulled, d.options(ctx)...); err != nil {
		return "", err
	}
	list, err := remote.List(repo, d.options(ctx)...)
	if err != nil {
		return "", err
	}
	if want := []string{"latest", tag}; !slices.Equal(list, want) {
		return "", fmt.Errorf("expected the tags %v, the registry lists %v", want, list)
	}
	return strings.Join(list, ", "), nil
}

// mount pushes the pulled index elsewhere. Its layers know where they came from,
// so the client asks the registry to mount them.
func (d *demo) mount(ctx context.Context) (string, error) {
	before, err := d.stored()
	if err != nil {
		return "", err
	}
	ref := d.repository(copyRepository).Tag(tag)
	if err := remote.WriteIndex(ref, d.pulled, d.options(ctx)...); err != nil {
		return "", err
	}
	if _, err := remote.Head(ref, d.options(ctx)...); err != nil {
		return "", err
	}
	after, err := d.stored()
	if err != nil {
		return "", err
	}
	// Configs go over the wire, layers do not.
	if grown := after - before; grown > before/100 {
		return "", fmt.Errorf("the copy takes %s more on disk", server.FormatBytes(grown))
	}
	return fmt.Sprintf("%s, on the same %s", ref, server.FormatBytes(after)), nil
}

func (d *demo) delete(ctx context.Context) (string, error) {
	manifest, err := d.index.IndexManifest()
	if err != nil {
		return "", err
	}
	top, err := d.index.Digest()
	if err != nil {
		return "", err
	}
	digests := []v1.Hash{top}
	for _, m := range manifest.Manifests {
		digests = append(digests, m.Digest)
	}
	for _, digest := range digests {
		for _, path := range []string{appRepository, copyRepository} {
			if err := remote.Delete(d.repository(path).Digest(digest.String()), d.options(ctx)...); err != nil {
				return "", err
			}
		}
	}
	if err := remote.Delete(d.repository(appRepository).Digest(d.referrer.String()), d.options(ctx)...); err != nil {
		return "", err
	}
	_, err = remote.Head(d.repository(appRepository).Tag(tag), d.options(ctx)...)
	var refused *transport.Error
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound {
		return "", fmt.Errorf("the tag should be gone, the registry says: %w", err)
	}
	return "", nil
}

func (d *demo) collect(ctx context.Context) (string, error) {
	before, err := d.stored()
	if err != nil {
		return "", err
	}
	report, err := server.Collect(ctx, d.data, server.CollectOptions{IgnoreGrace: true, Grace: defaultGrace})
	if err != nil {
		return "", err
	}
	after, err := d.stored()
	if err != nil {
		return "", err
	}
	if after != 0 {
		return "", fmt.Errorf("%s of %s are still on disk", server.FormatBytes(after), server.FormatBytes(before))
	}
	return fmt.Sprintf("%s freed, %d objects; nothing is left on disk", server.FormatBytes(report.Freed), report.Deleted), nil
}

// stored is how many bytes of blobs are on disk.
func (d *demo) stored() (int64, error) {
	var total int64
	err := filepath.WalkDir(filepath.Join(d.data.Path, "blobs"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func short(h v1.Hash) string { return h.Algorithm + ":" + h.Hex[:12] }
