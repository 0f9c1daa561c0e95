package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-oci/slipway/internal/blob"
)

const (
	// maxTails is how many tails an upload has before they become one.
	maxTails = 32
	// maxSpent is how many tails stay although the newest state needs them no
	// more, so that a caller who lost that state can go on from an older one.
	maxSpent = 64
	// loading is how many tails are read at a time.
	loading = 8
)

// putTail writes bytes under a new name, which only the returned value knows.
func (s *Store) putTail(ctx context.Context, key string, b []byte) (tail, error) {
	t := tail{id: newTailID(), size: int64(len(b))}
	return t, s.put(ctx, s.tailKey(key, t.id), b, hashOf(b), nil)
}

// put writes an object in one request. S3 refuses bytes that do not have the
// checksum. onlyIf is nil or "*": only if there is no object.
func (s *Store) put(ctx context.Context, name string, b []byte, x sum, onlyIf *string) error {
	in := &s3.PutObjectInput{
		Bucket:              &s.opts.Bucket,
		Key:                 &name,
		Body:                bytes.NewReader(b),
		ContentLength:       aws.Int64(int64(len(b))),
		ContentType:         aws.String(contentType),
		ChecksumSHA256:      aws.String(x.base64()),
		IfNoneMatch:         onlyIf,
		ExpectedBucketOwner: s.owner,
	}
	if s.opts.KMSKeyID != "" {
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
		in.SSEKMSKeyId, in.BucketKeyEnabled = &s.opts.KMSKeyID, aws.Bool(true)
	}
	_, err := s.client.PutObject(ctx, in, signed(x))
	return err
}

// copy has S3 copy an object of the bucket and compute its SHA-256, which it
// returns, or "" if S3 does not say. A checksum that a multipart upload left
// does not count: the copy is one object.
func (s *Store) copy(ctx context.Context, from, to string, fromETag, onlyIf *string) (string, error) {
	in := &s3.CopyObjectInput{
		Bucket:                    &s.opts.Bucket,
		Key:                       &to,
		CopySource:                s.copySource(from),
		CopySourceIfMatch:         fromETag,
		IfNoneMatch:               onlyIf,
		ChecksumAlgorithm:         types.ChecksumAlgorithmSha256,
		ExpectedBucketOwner:       s.owner,
		ExpectedSourceBucketOwner: s.owner,
	}
	if s.opts.KMSKeyID != "" {
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
		in.SSEKMSKeyId, in.BucketKeyEnabled = &s.opts.KMSKeyID, aws.Bool(true)
	}
	out, err := s.client.CopyObject(ctx, in)
	if err != nil && missing(err) {
		return "", errors.Join(blob.ErrNotFound, err)
	}
	if err != nil || out.CopyObjectResult == nil {
		return "", err
	}
	return aws.ToString(out.CopyObjectResult.ChecksumSHA256), nil
}

// loadTails reads all tails into b, which has their length. What it reads is
// hashed before it counts: S3 has the checksum of all that is pending.
func (s *Store) loadTails(ctx context.Context, key string, tails []tail, b []byte) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loading)
	for _, t := range tails {
		to := b[:t.size]
		b = b[t.size:]
		g.Go(func() error { return s.loadTail(ctx, s.tailKey(key, t.id), to) })
	}
	return g.Wait()
}

func (s *Store) loadTail(ctx context.Context, name string, to []byte) error {
	var err error
	for range 3 { // the SDK does not repeat what breaks behind the headers
		var out *s3.GetObjectOutput
		out, err = s.get(ctx, name, blob.Range{Length: -1}, nil)
		if errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("%w: %v", blob.ErrLost, err)
		}
		if err != nil {
			return err
		}
		_, err = io.ReadFull(out.Body, to)
		out.Body.Close() // all was read, or the error is known
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// shed deletes the oldest of too many spent tails. Going back so far is not
// possible any more.
func (s *Store) shed(ctx context.Context, key string, run *running) error {
	if len(run.spent) <= maxSpent {
		return nil
	}
	n := len(run.spent) - maxSpent/2
	var names []string
	for _, id := range run.spent[:n] {
		names = append(names, s.tailKey(key, id))
	}
	if err := s.remove(ctx, names...); err != nil {
		return err
	}
	run.spent = run.spent[n:]
	return nil
}

// tailNames returns the names of all tails that the state knows.
func (s *Store) tailNames(key string, run *running) []string {
	var names []string
	for _, id := range run.spent {
		names = append(names, s.tailKey(key, id))
	}
	for _, t := range run.tails {
		names = append(names, s.tailKey(key, t.id))
	}
	return names
}

// remove deletes names from the bucket, which may be missing.
func (s *Store) remove(ctx context.Context, names ...string) error {
	const most = 1000 // of S3, in one request
	for len(names) > 0 {
		n := min(len(names), most)
		if err := s.removeSome(ctx, names[:n]); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

func (s *Store) removeSome(ctx context.Context, names []string) error {
	if len(names) == 1 {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{
			Bucket: &s.opts.Bucket, Key: &names[0], ExpectedBucketOwner: s.owner,
		})
		if err != nil && missing(err) {
			return nil
		}
		return err
	}
	del := &types.Delete{Quiet: aws.Bool(true)}
	for _, name := range names {
		del.Objects = append(del.Objects, types.ObjectIdentifier{Key: &name})
	}
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &s.opts.Bucket, Delete: del, ExpectedBucketOwner: s.owner,
	})
	if err != nil {
		return err
	}
	for _, e := range out.Errors {
		if code := aws.ToString(e.Code); code != "NoSuchKey" {
			return fmt.Errorf("delete %s: %s: %s", aws.ToString(e.Key), code, aws.ToString(e.Message))
		}
	}
	return nil
}
