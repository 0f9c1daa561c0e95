package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

const (
	// InlineManifest is the largest manifest, in bytes, that is kept in its
	// row. The bytes of a larger one are a blob of the repository.
	InlineManifest = 64 << 10
	// MaxReferences is the most blobs and manifests that one manifest can hold
	// on to: their digests have to fit into one row beside the manifest.
	MaxReferences = 2000
	// MaxTags is the most tags that one push can set.
	MaxTags = 10
)

// ErrTooManyReferences: over MaxReferences or MaxTags.
var ErrTooManyReferences = errors.New("meta: the manifest refers to too much or is pushed with too many tags")

// Manifest is what a reader gets.
type Manifest struct {
	Digest    digest.Digest
	MediaType string
	Size      int64 // bytes
	// Body are the bytes, unless they are in the object Key.
	Body    []byte
	Key     string
	Subject digest.Digest // empty if it has none
	Pushed  time.Time
}

func (r manifestRow) manifest(it table.Item) Manifest {
	return Manifest{
		Digest: r.Digest, MediaType: r.MediaType, Size: r.Size,
		Body: it.Body, Key: r.Object, Subject: r.Subject, Pushed: r.Pushed,
	}
}

// Manifest returns a manifest by its digest, or ErrManifestUnknown. One read.
func (m *Model) Manifest(ctx context.Context, repo string, d digest.Digest) (Manifest, error) {
	row, it, err := get[manifestRow](ctx, m, manifestKey(repo, d), ErrManifestUnknown)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest %s in %s: %w", d, repo, err)
	}
	return row.manifest(it), nil
}

// ManifestByTag returns the manifest that the tag points to, or
// ErrManifestUnknown. One read: a tag's row carries the bytes too.
func (m *Model) ManifestByTag(ctx context.Context, repo, tag string) (Manifest, error) {
	row, it, err := get[manifestRow](ctx, m, tagKey(repo, tag), ErrManifestUnknown)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest %s:%s: %w", repo, tag, err)
	}
	return row.manifest(it), nil
}

// Push is a manifest on its way into a repository.
type Push struct {
	Repository string
	Digest     digest.Digest
	MediaType  string
	Size       int64 // bytes
	// Body are the bytes. Nil for a manifest larger than InlineManifest: its
	// bytes have been uploaded to the repository as the blob of its digest.
	Body []byte
	// Tags are created or moved with it.
	Tags []string
	// Blobs are the configs and layers that must be visible in the repository,
	// Manifests the children of an index that must be there, Either the children
	// whose media type does not tell which of the two they are.
	Blobs     []digest.Digest
	Manifests []digest.Digest
	Either    []digest.Digest
	// Optional are blobs that may be absent (layers that clients fetch from
	// elsewhere). Those that are there, or come later, are held all the same.
	Optional []digest.Digest
	// AllowMissing lets everything be absent (a sparse image or index), with
	// the same protection.
	AllowMissing bool
	// Referrer is set if the manifest has a subject, present or not.
	Referrer *Referrer

	// children are all of the above, each once: the edges. Content that may be
	// either is among the blobs, for which the collector looks when they are
	// let go.
	children children
}

// PushManifest makes the manifest visible, moves its tags and adds it to its
// subject's referrers, all in one write: readers see everything or nothing.
//
// Errors: *MissingError, ErrTagImmutable, ErrTooManyReferences, ErrContention.
// Pushing what is there already is no error and changes nothing. One read and
// one write up to about 45 blobs, then 1 + n/100 of each more or less; see
// commit.go.
func (m *Model) PushManifest(ctx context.Context, p Push) error {
	p.Tags = distinct(p.Tags)
	p.children.Manifests = distinct(p.Manifests)
	p.Either = slices.DeleteFunc(slices.Clone(p.Either), p.children.hasManifest)
	p.children.Blobs = distinct(slices.Concat(p.Blobs, p.Either, p.Optional))
	if len(p.children.Blobs)+len(p.children.Manifests) > MaxReferences || len(p.Tags) > MaxTags {
		return fmt.Errorf("push manifest %s to %s: %w", p.Digest, p.Repository, ErrTooManyReferences)
	}
	if p.isItsOwn(p.Digest) {
		// The manifest needs its own bytes as it needs its layers.
		p.children.Blobs = distinct(append(p.children.Blobs, p.Digest))
	}
	return attempt(fmt.Sprintf("push manifest %s to %s", p.Digest, p.Repository), func() error {
		return m.commit(ctx, p)
	})
}

// isItsOwn tells whether the blob holds the bytes of the manifest itself.
func (p Push) isItsOwn(d digest.Digest) bool { return p.Body == nil && d == p.Digest }

// mayLack tells whether the push is fine without this blob.
func (p Push) mayLack(d digest.Digest) bool {
	if p.isItsOwn(d) || slices.Contains(p.Blobs, d) && !p.AllowMissing {
		return false
	}
	return p.AllowMissing || slices.Contains(p.Optional, d)
}

// distinct returns the values in order, each once, leaving its argument alone.
func distinct[S ~string](values []S) []S {
	values = slices.Clone(values)
	slices.Sort(values)
	return slices.Compact(values)
}

// row is what is kept of the manifest; links are the repository's blob rows.
func (p Push) row(now time.Time, object string) manifestRow {
	row := manifestRow{
		header: current, Digest: p.Digest, MediaType: p.MediaType, Size: p.Size, Object: object, Pushed: now,
		Children: p.children,
	}
	if p.Referrer != nil {
		row.Subject = p.Referrer.Subject
	}
	return row
}

// referrerAction lists the manifest among its subject's referrers.
func (m *Model) referrerAction(p Push) (table.Action, error) {
	descriptor, err := json.Marshal(p.Referrer.Descriptor)
	if err != nil {
		return table.Action{}, fmt.Errorf("encode descriptor: %w", err)
	}
	k := referrerKey(p.Repository, p.Referrer.Subject, p.Digest)
	return m.put(k, referrerRow{header: current, Descriptor: descriptor}), nil
}

// DeleteManifest removes the manifest and every tag that points to it, or
// returns ErrManifestUnknown. What it held on to becomes due for collection.
//
// Manifest and tags go in one write. So that no tag is overlooked, the manifest
// is doomed before they are looked for: that changes its version, whoever sets a
// tag to it from then on has to change it again, and the write demands that
// nobody did. Pushes of many tags at a time do not get in each other's way by
// this. A deletion that ends half-way leaves the manifest there, and doomed,
// which does no harm. Of more tags than fit into a write some go ahead.
func (m *Model) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	var release task
	op := fmt.Sprintf("delete manifest %s in %s", d, repo)
	err := attempt(op, func() error {
		row, it, err := get[manifestRow](ctx, m, manifestKey(repo, d), ErrManifestUnknown)
		if err != nil {
			return err
		}
		if !row.Doomed {
			row.Doomed = true
			doomed := m.item(it.Key, row, it.Body)
			if err := m.table.Write(ctx, []table.Action{table.Put(doomed, table.IfVersion(it.Version))}); err != nil {
				return err
			}
			it = doomed
		}
		is := table.IfVersion(it.Version)
		untags, err := m.untagMost(ctx, repo, d, is)
		if err != nil {
			return err
		}
		release = task{Kind: taskRelease, Repository: repo, Digest: d, Children: row.Children}
		next := m.schedule(release, m.now())
		release.key = next.Item.Key
		actions := append(untags, table.Delete(it.Key, is), next)
		if row.Subject != "" {
			actions = append(actions, table.Delete(referrerKey(repo, row.Subject, d), table.Always()))
		}
		return m.table.Write(ctx, actions)
	})
	if err != nil {
		return err
	}
	// The task would do it, too, a little later. Doing it now lets a client
	// delete the blobs right after the manifest.
	return attempt(op, func() error { return m.runRelease(ctx, release) })
}

// untagMost returns the actions that remove the tags of the manifest, having
// removed those that are too many for one write.
func (m *Model) untagMost(ctx context.Context, repo string, d digest.Digest, unchanged table.Condition) ([]table.Action, error) {
	const perWrite = 30 // three actions each
	for {
		page, err := m.table.Query(ctx, table.Range{PK: repoPartition(repo), Prefix: tagsOf(d), Limit: perWrite})
		if err != nil || len(page.Items) == 0 {
			return nil, err
		}
		keys := make([]table.Key, len(page.Items))
		for i, it := range page.Items {
			keys[i] = tagKey(repo, strings.TrimPrefix(it.SK, tagsOf(d)))
		}
		rows, err := m.read(ctx, keys)
		if err != nil {
			return nil, err
		}
		var actions []table.Action
		for i, it := range page.Items {
			row, is, err := lookup[manifestRow](rows, keys[i])
			if err != nil {
				return nil, err
			}
			if row == nil || row.Digest != d {
				return nil, errAgain // the tag moved since the query
			}
			actions = append(actions, untag(repo, strings.TrimPrefix(it.SK, tagsOf(d)), *row, is)...)
		}
		if !page.More {
			return actions, nil
		}
		actions = append(actions, table.Check(manifestKey(repo, d), unchanged))
		if err := m.table.Write(ctx, actions); err != nil {
			return nil, err
		}
	}
}
