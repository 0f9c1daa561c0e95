// Package meta is the metadata model of a registry: repositories, tags,
// manifests, who refers to what, and which bytes may go. It knows images and
// one narrow [table.Table]; it knows no HTTP and no engine.
//
// Three rules hold at every moment, whatever crashes where, and the rest of
// the package exists to keep them:
//
//  1. A manifest that a reader can get in a repository has every blob it needs
//     in that repository, and every one of these has its object.
//  2. A tag points to a manifest that is there.
//  3. What nothing refers to is removed in the end, by work that follows the
//     changes (the due queue), never by walking the registry.
//
// keys.go draws the rows; collect.go draws how a blob goes and comes back.
package meta

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// Errors of the model. What a caller did wrong is told apart from a table that
// failed, whose error is wrapped as it is.
var (
	// ErrRepositoryUnknown: nothing was ever pushed under the name.
	ErrRepositoryUnknown = errors.New("meta: no such repository")
	// ErrManifestUnknown: no manifest under the tag or digest in the repository.
	ErrManifestUnknown = errors.New("meta: no such manifest in the repository")
	// ErrBlobUnknown: the blob is not visible in the repository, whether or not
	// another repository has it.
	ErrBlobUnknown = errors.New("meta: no such blob in the repository")
	// ErrBlobReferenced: a manifest in the repository needs the blob.
	ErrBlobReferenced = errors.New("meta: the blob is needed by a manifest in the repository")
	// ErrUploadUnknown: no such upload session, or it has ended or expired.
	ErrUploadUnknown = errors.New("meta: no such upload")
	// ErrUploadConflict: somebody else moved the upload on since it was read.
	ErrUploadConflict = errors.New("meta: the upload was changed by another request")
	// ErrTooManyUploads: the repository has as many open uploads as it may.
	ErrTooManyUploads = errors.New("meta: too many open uploads in the repository")
	// ErrTagImmutable: the tag exists, points elsewhere and may not move.
	ErrTagImmutable = errors.New("meta: the tag is immutable and points to another manifest")
	// ErrContention: the write lost against others so often that it gave up. It
	// did not happen; trying again later is fine.
	ErrContention = errors.New("meta: too much contention, try again")
)

// MissingError says which content a manifest needs that the repository lacks.
type MissingError struct {
	Blobs     []digest.Digest
	Manifests []digest.Digest
}

func (e *MissingError) Error() string {
	all := make([]string, 0, len(e.Blobs)+len(e.Manifests))
	for _, d := range e.Blobs {
		all = append(all, "blob "+d.String())
	}
	for _, d := range e.Manifests {
		all = append(all, "manifest "+d.String())
	}
	return "meta: the repository lacks " + strings.Join(all, ", ")
}

// Options are the settings of a Model. The zero value of a field means its
// default.
type Options struct {
	// Grace is how long unreferenced content stays as it is, and then again how
	// long it stays revivable, before its bytes are deleted. A client that saw
	// a blob has at least this long to push the manifest that needs it.
	// Default 6 h.
	Grace time.Duration
	// UploadAge is how long an upload session lives. Default 24 h.
	UploadAge time.Duration
	// MaxUploads is the most open upload sessions in one repository.
	// Default 1,000.
	MaxUploads int
	// ImmutableTags is the setting that a repository is created with.
	ImmutableTags bool
	// Clock tells the time. Default time.Now.
	Clock func() time.Time
}

// Model is the metadata of one registry. It is safe for concurrent use, and so
// are many Models, in as many processes, over one table.
type Model struct {
	table table.Table
	opts  Options

	// maxActions is how many actions the model puts into one write. The tests
	// lower it to drive the way of large manifests with small ones.
	maxActions int
	// newID makes upload ids and row versions; the tests make it repeatable.
	newID func() string
}

// New returns the model over the table, which it does not close.
func New(t table.Table, opts Options) *Model {
	if opts.Grace == 0 {
		opts.Grace = 6 * time.Hour
	}
	if opts.UploadAge == 0 {
		opts.UploadAge = 24 * time.Hour
	}
	if opts.MaxUploads == 0 {
		opts.MaxUploads = 1000
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	return &Model{table: t, opts: opts, maxActions: table.MaxActions, newID: randomID}
}

// randomID returns 26 lower-case letters and digits with 128 bits of chance:
// it names an upload and its object, so guessing one must be hopeless.
func randomID() string { return strings.ToLower(rand.Text()) }

// now is the time to the millisecond, in UTC: what rows carry.
func (m *Model) now() time.Time { return m.opts.Clock().UTC().Truncate(time.Millisecond) }

// retries bounds how often a write starts over because somebody else was
// faster. Each loss means that another write won, so the registry as a whole
// moves; the bound only keeps one request from being starved for ever.
const retries = 64

// errAgain makes attempt start over.
var errAgain = errors.New("meta: start over")

// attempt calls try until it neither loses a condition nor asks to start over.
func attempt(op string, try func() error) error {
	for range retries {
		err := try()
		if table.IsCondition(err) || errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		return nil
	}
	return fmt.Errorf("%s: %w", op, ErrContention)
}

func isNotFound(err error) bool { return errors.Is(err, table.ErrNotFound) }
