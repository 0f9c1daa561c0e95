package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/slipway-oci/slipway/internal/blob"
)

// What the answers to pre-signed URLs say: a blob never changes.
const (
	contentType  = "application/octet-stream"
	cacheControl = "private, max-age=31536000, immutable"
)

// Open answers with a URL that is signed for the access; nothing is asked of
// S3, so a missing object shows when the URL is followed. The only signed
// header is Host, so a client may add Range and others.
func (s *Store) Open(ctx context.Context, key string, access blob.Access) (blob.Source, error) {
	u, err := s.url(ctx, key, access)
	if err != nil {
		return blob.Source{}, fmt.Errorf("s3: open %s: %w", key, err)
	}
	return blob.Source{Redirect: &blob.Redirect{URL: u}}, nil
}

func (s *Store) url(ctx context.Context, key string, access blob.Access) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	expires := s3.WithPresignExpires(s.opts.PresignExpiry)
	switch access {
	case blob.AccessGet:
		r, err := s.presign.PresignGetObject(ctx, &s3.GetObjectInput{
			Bucket:               &s.opts.Bucket,
			Key:                  aws.String(s.ObjectKey(key)),
			ResponseContentType:  aws.String(contentType),
			ResponseCacheControl: aws.String(cacheControl),
		}, expires)
		if err != nil {
			return "", err
		}
		return r.URL, nil
	case blob.AccessHead:
		r, err := s.presign.PresignHeadObject(ctx, &s3.HeadObjectInput{
			Bucket:               &s.opts.Bucket,
			Key:                  aws.String(s.ObjectKey(key)),
			ResponseContentType:  aws.String(contentType),
			ResponseCacheControl: aws.String(cacheControl),
		}, expires)
		if err != nil {
			return "", err
		}
		return r.URL, nil
	}
	return "", fmt.Errorf("unknown access %q", access)
}

// body is the answer of a GetObject. Its Size is what a Counter counts.
type body struct {
	io.ReadCloser
	size int64
}

func (b body) Size() int64 { return b.size }

// Read gets the range. A connection that breaks is an error of the reader that
// it returns, never a short answer.
func (s *Store) Read(ctx context.Context, key string, r blob.Range) (io.ReadCloser, error) {
	rc, err := s.read(ctx, key, r)
	if err != nil {
		return nil, fmt.Errorf("s3: read %s: %w", key, err)
	}
	return rc, nil
}

func (s *Store) read(ctx context.Context, key string, r blob.Range) (io.ReadCloser, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	if r.Offset < 0 {
		return nil, fmt.Errorf("negative offset %d", r.Offset)
	}
	nothing := body{io.NopCloser(eof{}), 0}
	if r.Length == 0 { // HTTP has no such range
		if _, err := s.head(ctx, key); err != nil {
			return nil, err
		}
		return nothing, nil
	}
	out, err := s.get(ctx, s.ObjectKey(key), r, nil)
	if is(err, "InvalidRange") {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	return body{out.Body, aws.ToInt64(out.ContentLength)}, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// get reads a range of a name in the bucket; if etag is not nil, only of the
// object that has it.
func (s *Store) get(ctx context.Context, name string, r blob.Range, etag *string) (*s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{
		Bucket:              &s.opts.Bucket,
		Key:                 &name,
		IfMatch:             etag,
		ExpectedBucketOwner: s.owner,
	}
	switch {
	case r.Length > 0:
		last := r.Offset + min(r.Length-1, math.MaxInt64-r.Offset)
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.Offset, last))
	case r.Offset > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.Offset))
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil && missing(err) {
		return nil, errors.Join(blob.ErrNotFound, err)
	}
	return out, err
}

// head asks for an object's size and checksums.
func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket:              &s.opts.Bucket,
		Key:                 aws.String(s.ObjectKey(key)),
		ChecksumMode:        "ENABLED",
		ExpectedBucketOwner: s.owner,
	})
	if err != nil && missing(err) {
		return nil, errors.Join(blob.ErrNotFound, err)
	}
	return out, err
}

// Stat asks for the object's size.
func (s *Store) Stat(ctx context.Context, key string) (int64, error) {
	if err := check(ctx, key); err != nil {
		return 0, fmt.Errorf("s3: stat %s: %w", key, err)
	}
	out, err := s.head(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("s3: stat %s: %w", key, err)
	}
	return aws.ToInt64(out.ContentLength), nil
}

// Delete removes the object.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return fmt.Errorf("s3: delete %s: %w", key, err)
	}
	if err := s.remove(ctx, s.ObjectKey(key)); err != nil {
		return fmt.Errorf("s3: delete %s: %w", key, err)
	}
	return nil
}
