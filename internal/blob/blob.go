// Package blob is the contract for the bytes of layers, configs and large
// manifests, and knows nothing of images, repositories or digests' owners.
//
// An object lives under a key that is chosen before its first byte arrives and
// never changes: nothing is renamed or copied to become visible. Which digest
// an object holds, and who may read it, are rows of the metadata model.
//
//	Begin ──▶ Upload ──Append──▶ Upload' ──Append──▶ Upload'' ──Complete──▶ object
//	  (no I/O)    ╰── the caller keeps the latest value durably; a crash goes on
//	                  from there, and bytes beyond it are overwritten
//
// The contract that every engine keeps, and that package blobtest proves:
//
//   - An Upload is a value. The engine keeps no state of an upload that is not
//     in it, so any process can go on with it.
//   - Bytes that Append acknowledged need not be durable before Complete
//     returns; after a crash of the machine Complete fails rather than accept
//     other bytes.
//   - After Complete returned nil the object is durable and holds exactly the
//     bytes of the digest.
//   - Delete and Abort may be repeated; deleting what is not there is no error.
//   - Two Appends of one upload at the same time are prevented by the caller.
package blob

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

var (
	// ErrNotFound says that there is no object (or no bytes of an upload)
	// under the key.
	ErrNotFound = errors.New("blob: no such object")
	// ErrDigest says that the uploaded bytes do not have the digest. The
	// upload can only be aborted then.
	ErrDigest = errors.New("blob: content does not match the digest")
	// ErrTooLarge says that an Append would pass the given limit. Bytes up to
	// the limit may have been written; the Upload value is unchanged.
	ErrTooLarge = errors.New("blob: content is larger than allowed")
	// ErrLost says that bytes which an Append acknowledged are gone (a crash
	// of the machine before Complete). The client has to start again.
	ErrLost = errors.New("blob: bytes of the upload were lost")
)

// SourceError wraps what the reader given to Append returned, so that a
// client's broken connection is told apart from a broken disk.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "blob: reading the content: " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Upload is the resumable state of an object in the making. It is a plain
// value that encodes to JSON; the caller stores it between requests.
type Upload struct {
	// Key names the object that Complete will leave.
	Key string `json:"key"`
	// Algorithm is the digest algorithm that runs over the bytes as they come
	// in. Complete accepts a digest of another algorithm, but has to read the
	// bytes again.
	Algorithm digest.Algorithm `json:"algorithm"`
	// Size is the number of bytes accepted so far, in bytes.
	Size int64 `json:"size"`
	// State is the engine's own: saved hash state, part list.
	State []byte `json:"state,omitempty"`
}

// Range selects bytes of an object: Length bytes from Offset; a negative
// Length means to the end. Bytes behind the end do not exist: the answer is
// shorter then, or empty, and no error. A negative Offset is one.
type Range struct {
	Offset int64
	Length int64
}

// Redirect is the answer of a store that does not want to carry the bytes: the
// client is to fetch this URL itself.
type Redirect struct {
	URL string
}

// Content is the answer of a store that carries the bytes. Closing it is the
// caller's. A Content that is an *os.File lets the HTTP server use sendfile.
type Content = io.ReadSeekCloser

// Source is what Open answers: exactly one of its fields is set.
type Source struct {
	Content  Content
	Redirect *Redirect
}

// Access says which request a Redirect has to serve: a URL signed for GET does
// not answer HEAD.
type Access string

// The two ways to access an object.
const (
	AccessGet  Access = "GET"
	AccessHead Access = "HEAD"
)

// Store keeps objects. Implementations are safe for concurrent use. Every method
// that takes a key or an Upload answers a malformed key with ErrKey.
//
// Open, Read and Stat are for keys that were completed. For an upload that is
// not, an engine may answer with what it has or with ErrNotFound.
type Store interface {
	// Begin returns the state of an empty upload under the key, hashing with
	// the algorithm (sha256 or sha512). It does no I/O, so that a session that
	// never sends a byte costs nothing. The key consists of lower-case
	// letters, digits and '-', 8 to 128 of them (ErrKey). Another algorithm is
	// ErrAlgorithm.
	Begin(key string, algorithm digest.Algorithm) (Upload, error)

	// Append reads r to its end and adds its bytes to the upload, at most so
	// many that the upload does not pass limit bytes in all (ErrTooLarge). It
	// returns the new state; the given one stays valid for another try.
	//
	// If r fails, Append returns the state that includes what was read so far
	// together with a *SourceError: the caller may keep it and let the client
	// resume. The same holds when ctx ends, though an engine may then return
	// the given state. A limit below the size the upload has is ErrTooLarge
	// whatever r holds. Other errors return the given state.
	Append(ctx context.Context, up Upload, r io.Reader, limit int64) (Upload, error)

	// Complete verifies the bytes against the digest and makes the object
	// durable. It may be repeated. Errors: ErrDigest, ErrLost. After an error
	// other than these two it may be tried again.
	Complete(ctx context.Context, up Upload, want digest.Digest) error

	// Abort removes what the upload left. The object of a completed upload is
	// removed too: whoever calls it knows that no row points there.
	Abort(ctx context.Context, up Upload) error

	// Open gives access to an object: its bytes, or where to get them. A
	// missing object is ErrNotFound, unless the engine redirects without
	// looking.
	Open(ctx context.Context, key string, access Access) (Source, error)

	// Read returns a part of an object through this process, whatever Open
	// does: for manifests too large for a row, and for verification.
	Read(ctx context.Context, key string, r Range) (io.ReadCloser, error)

	// Stat returns the size of a completed object in bytes, or ErrNotFound.
	Stat(ctx context.Context, key string) (int64, error)

	// Delete removes an object.
	Delete(ctx context.Context, key string) error

	// Close releases what the engine holds. No call may follow it.
	Close() error
}
