// Package s3 keeps objects of the blob contract in one S3 bucket.
//
//	<prefix>blobs/<key>        objects, under their final name
//	<prefix>tails/<key>-<id>   the last bytes of uploads, and copies to verify
//
// A name below blobs/ is written once, by Complete, under the condition that
// nothing is there: whoever is late, a process that was thought dead or a
// request that was sent again, cannot change bytes that were verified. A name
// below tails/ is random, so no two attempts write the same one.
//
// S3 takes parts of 5 MiB or more, clients send chunks of any size. What is too
// small for a part waits: up to a few KiB in the upload's state, more as tail
// objects, until there is enough for a part or Complete comes.
//
// Crashes leave tails and multipart uploads that no state names. The bucket
// needs two lifecycle rules for them, both longer than an upload may take: one
// expires <prefix>tails/, one aborts incomplete multipart uploads. Nothing here
// lists the bucket; but the role needs s3:ListBucket, because without it S3
// says 403 instead of 404 for what is missing. Versioning has to be off.
package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// DefaultPresignExpiry is how long the URL of a redirect is good for: long
// enough for a client that queues its downloads. A started download goes on.
const DefaultPresignExpiry = 20 * time.Minute

// Options say where objects are kept. Client and Bucket are required.
type Options struct {
	// Client signs and sends. Its retryer and checksum settings are replaced;
	// if it uses the SDK's own HTTP client without a timeout for the headers of
	// an answer, it gets one.
	Client *s3.Client
	// Presign makes the URLs of redirects. By default they are made with
	// Client's credentials and endpoint.
	Presign *s3.PresignClient
	// Bucket is the bucket's name.
	Bucket string
	// Prefix stands before every name in the bucket, "registry/" for one.
	Prefix string
	// KMSKeyID has S3 encrypt with this KMS key (SSE-KMS, with a bucket key).
	// Without it, the bucket's own default holds.
	KMSKeyID string
	// ExpectedBucketOwner is the account that has to own the bucket, or S3
	// refuses. URLs of redirects do not carry it: it would be a header that
	// clients do not send.
	ExpectedBucketOwner string
	// PresignExpiry is DefaultPresignExpiry by default and 7 days at most. A
	// URL dies with the credentials that signed it, if those expire earlier.
	PresignExpiry time.Duration
	// PartSize is what the first parts of a multipart upload have, in bytes:
	// 8 MiB by default, from 5 MiB to 64 MiB. Later parts have up to four
	// times as much. One Append holds three parts in memory.
	PartSize int64
	// MaxAttempts bounds how often one request is sent; 5 by default.
	MaxAttempts int
}

// Store is the engine. It is safe for concurrent use, and any number of
// processes may use one bucket.
type Store struct {
	opts    Options
	client  *s3.Client
	presign *s3.PresignClient
	owner   *string // ExpectedBucketOwner, or nil
	maxCopy int64   // bytes that CopyObject takes; less in tests

	buffers sync.Pool // of *[]byte, for parts
}

var _ blob.Store = (*Store)(nil)

// New returns the store in the bucket. It does no I/O.
func New(opts Options) (*Store, error) {
	if opts.Client == nil || opts.Bucket == "" {
		return nil, errors.New("s3: new store: Client and Bucket are required")
	}
	if opts.PresignExpiry == 0 {
		opts.PresignExpiry = DefaultPresignExpiry
	}
	if opts.PresignExpiry < time.Second || opts.PresignExpiry > 7*24*time.Hour {
		return nil, fmt.Errorf("s3: new store: URLs that are good for %s: S3 allows 1 s to 7 days", opts.PresignExpiry)
	}
	if opts.PartSize == 0 {
		opts.PartSize = 8 << 20
	}
	if opts.PartSize < minPart || opts.PartSize > 64<<20 {
		return nil, fmt.Errorf("s3: new store: parts of %d bytes: want %d to %d", opts.PartSize, minPart, 64<<20)
	}
	if opts.MaxAttempts == 0 {
		opts.MaxAttempts = 5
	}
	s := &Store{opts: opts, client: tuned(opts.Client, opts.MaxAttempts), presign: opts.Presign, maxCopy: maxCopy}
	if s.presign == nil {
		s.presign = s3.NewPresignClient(s.client)
	}
	if opts.ExpectedBucketOwner != "" {
		s.owner = aws.String(opts.ExpectedBucketOwner)
	}
	return s, nil
}

// ObjectKey returns the name in the bucket of the object with the key, for
// those who have others write it: Verify is theirs.
func (s *Store) ObjectKey(key string) string { return s.opts.Prefix + "blobs/" + key }

func (s *Store) tailKey(key string, id tailID) string {
	return s.opts.Prefix + "tails/" + key + "-" + hex.EncodeToString(id[:])
}

// copySource is a name as CopyObject wants it: with the bucket, and escaped.
func (s *Store) copySource(name string) *string {
	parts := strings.Split(s.opts.Bucket+"/"+name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return aws.String(strings.Join(parts, "/"))
}

// tailID makes the name of a tail.
type tailID [8]byte

func newTailID() (id tailID) {
	rand.Read(id[:]) // never fails
	return id
}

// Begin returns an empty upload.
func (s *Store) Begin(key string, algorithm digest.Algorithm) (blob.Upload, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Upload{}, fmt.Errorf("s3: begin %s: %w", key, err)
	}
	if _, err := blob.NewHasher(algorithm); err != nil {
		return blob.Upload{}, fmt.Errorf("s3: begin %s: %w", key, err)
	}
	return blob.Upload{Key: key, Algorithm: algorithm}, nil
}

// check is what every call with a key does first.
func check(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// Close has nothing to release: the client is the caller's.
func (s *Store) Close() error { return nil }
