package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// maxCopy is how large an object CopyObject takes, in bytes.
const maxCopy = 5 << 30

// Verify proves that an object that did not come by way of Append has the
// digest and the size in bytes. The cheapest rung that can tell decides:
//
//  1. HeadObject: S3 has a SHA-256 of the whole object. It has verified or
//     computed it itself.
//  2. CopyObject, up to 5 GiB: S3 computes that SHA-256 while it copies. The
//     copy is a tail, and deleted. (The object itself is not copied onto
//     itself: its name is written once.)
//  3. GetObject: the bytes come here. That is the only way for sha512.
//
// Errors: ErrDigest for another digest or size, ErrNotFound.
func (s *Store) Verify(ctx context.Context, key string, want digest.Digest, size int64) error {
	if err := s.verify(ctx, key, want, size); err != nil {
		return fmt.Errorf("s3: verify %s: %w", key, err)
	}
	return nil
}

func (s *Store) verify(ctx context.Context, key string, want digest.Digest, size int64) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	if err := checkDigest(want); err != nil {
		return err
	}
	out, err := s.head(ctx, key)
	if err != nil {
		return err
	}
	if got := aws.ToInt64(out.ContentLength); got != size {
		return fmt.Errorf("%w: it has %d bytes, not %d", blob.ErrDigest, got, size)
	}
	if out.ETag == nil {
		return errors.New("S3 gave no ETag")
	}
	if want.Algorithm() != digest.SHA256 {
		return s.verifyBytes(ctx, key, want, size, out.ETag)
	}
	got := ""
	if out.ChecksumType == types.ChecksumTypeFullObject {
		got = aws.ToString(out.ChecksumSHA256)
	}
	if got == "" && size <= s.maxCopy {
		if got, err = s.verifyCopy(ctx, key, out.ETag); err != nil {
			return err
		}
	}
	x, err := parseSum(got)
	if err != nil { // S3 does not say, or it is not of the whole object
		return s.verifyBytes(ctx, key, want, size, out.ETag)
	}
	if digest.NewDigestFromBytes(digest.SHA256, x) != want {
		return blob.ErrDigest
	}
	return nil
}

// verifyCopy returns the SHA-256 that S3 computes of the object with the ETag.
func (s *Store) verifyCopy(ctx context.Context, key string, etag *string) (string, error) {
	to := s.tailKey(key, newTailID())
	got, err := s.copy(ctx, s.ObjectKey(key), to, etag, nil)
	if err != nil {
		return "", err
	}
	_ = s.remove(ctx, to) // or it expires
	return got, nil
}

// verifyBytes reads the object with the ETag. A connection that breaks goes on
// where it broke.
func (s *Store) verifyBytes(ctx context.Context, key string, want digest.Digest, size int64, etag *string) error {
	const tries, progress = 5, 1 << 20 // so many without so many bytes
	h, err := blob.NewHasher(want.Algorithm())
	if err != nil {
		return err
	}
	var out *s3.GetObjectOutput
	for offset, left := int64(0), tries; offset < size; {
		if out, err = s.get(ctx, s.ObjectKey(key), blob.Range{Offset: offset, Length: size - offset}, etag); err != nil {
			return err
		}
		n, err := io.Copy(h, io.LimitReader(out.Body, size-offset))
		out.Body.Close() // all was read, or the error is known
		offset += n
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n >= progress {
			left = tries
		}
		if left--; offset < size && left == 0 {
			return errors.Join(io.ErrUnexpectedEOF, err)
		}
	}
	if h.Digest() != want {
		return blob.ErrDigest
	}
	return nil
}
