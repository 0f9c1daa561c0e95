package meta

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-oci/slipway/internal/blob"
)

type SweepReport struct{}

// ---- repository.go
// Repository is a named collection of manifests, tags and blobs with settings.
type Repository struct {
	Name          string
	Created       time.Time
	ImmutableTags bool // a tag, once set, cannot move to another manifest
}

// ErrRepositoryUnknown
func (m *Model) Repository(ctx context.Context, name string) (Repository, error) { panic("not yet") }

// creates or changes settings
func (m *Model) SaveRepository(ctx context.Context, r Repository) error { panic("not yet") }
func (m *Model) Catalog(ctx context.Context, after string, limit int) (names []string, more bool, err error) {
	panic("not yet")
}

// ---- tag.go
// ErrRepositoryUnknown; lexical order
func (m *Model) Tags(ctx context.Context, repo, after string, limit int) (tags []string, more bool, err error) {
	panic("not yet")
}

// ErrManifestUnknown
func (m *Model) DeleteTag(ctx context.Context, repo, tag string) error { panic("not yet") }

// ---- blob.go
type Blob struct {
	Digest digest.Digest
	Size   int64
	Key    string
}

// one read; ErrBlobUnknown
func (m *Model) Blob(ctx context.Context, repo string, d digest.Digest) (Blob, error) {
	panic("not yet")
}

// ErrBlobUnknown when `from` does not have it
func (m *Model) Mount(ctx context.Context, from, to string, d digest.Digest) (Blob, error) {
	panic("not yet")
}

// some repositories in which the blob is visible
func (m *Model) Holders(ctx context.Context, d digest.Digest, limit int) ([]string, error) {
	panic("not yet")
}

// ErrBlobUnknown, ErrBlobReferenced
func (m *Model) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error { panic("not yet") }

// ---- upload.go
type Upload struct {
	Repository, ID string
	Started        time.Time
	Content        blob.Upload
	version        string
}

// one read, one write; ErrTooManyUploads
func (m *Model) StartUpload(ctx context.Context, repo string, algorithm digest.Algorithm) (Upload, error) {
	panic("not yet")
}

// ErrUploadUnknown
func (m *Model) Upload(ctx context.Context, repo, id string) (Upload, error) { panic("not yet") }

// after Append; ErrUploadConflict, ErrUploadUnknown
func (m *Model) SaveUpload(ctx context.Context, up Upload) (Upload, error) { panic("not yet") }

// after blobs.Complete: the blob becomes visible, the session ends; ErrUploadConflict/Unknown
func (m *Model) CommitUpload(ctx context.Context, up Upload, d digest.Digest) (Blob, error) {
	panic("not yet")
}

// session ends at once; bytes removed by the sweeper (or right away by caller calling blobs.Abort BEFORE? no: the model queues it)
func (m *Model) CancelUpload(ctx context.Context, up Upload) error { panic("not yet") }

// ---- manifest.go
type Manifest struct {
	Digest    digest.Digest
	MediaType string
	Size      int64
	Body      []byte        // inline bytes; nil when Key is set
	Key       string        // object in the blob store that holds the bytes of a large manifest
	Subject   digest.Digest // "" if none
}

// one read; ErrManifestUnknown
func (m *Model) Manifest(ctx context.Context, repo string, d digest.Digest) (Manifest, error) {
	panic("not yet")
}

// one read; ErrManifestUnknown
func (m *Model) ManifestByTag(ctx context.Context, repo, tag string) (Manifest, error) {
	panic("not yet")
}

const InlineManifest = 64 << 10 // a larger manifest's bytes are first uploaded as a blob of the same digest in the repository (StartUpload..CommitUpload), then Push with Body nil
type Push struct {
	Repository   string
	Digest       digest.Digest
	MediaType    string
	Size         int64
	Body         []byte          // nil for a manifest larger than InlineManifest: its bytes are the repository's blob of the same digest
	Tags         []string        // moved or created with it, up to MaxTags (10)
	Blobs        []digest.Digest // needed: config and layers that are distributable (unique)
	Manifests    []digest.Digest // children of an index (unique)
	AllowMissing bool            // sparse: children (Manifests) need not exist
	Referrer     *Referrer       // the manifest has a subject
}
type Referrer struct {
	Subject    digest.Digest
	Descriptor ocispec.Descriptor /* as the referrers API lists it: mediaType,digest,size,artifactType,annotations */
}

// *MissingError, ErrTagImmutable, ErrContention
func (m *Model) PushManifest(ctx context.Context, p Push) error { panic("not yet") }

// its tags go with it; ErrManifestUnknown
func (m *Model) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	panic("not yet")
}

// ---- referrer.go
// ordered by digest
func (m *Model) Referrers(ctx context.Context, repo string, subject digest.Digest, after digest.Digest, limit int) (list []ocispec.Descriptor, more bool, err error) {
	panic("not yet")
}

// ---- sweep.go
type Objects interface {
	Delete(ctx context.Context, key string) error
} // the part of blob.Store... plus Abort
// works off what is due now
func (m *Model) Sweep(ctx context.Context, objects Objects) (SweepReport, error) { panic("not yet") }
