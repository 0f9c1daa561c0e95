package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

func hashOf(b []byte) sum { return sha256.Sum256(b) }

// Complete writes the object under its name, unless something is there already.
//
// The proof that S3 holds the digest's bytes has two halves. Append hashed all
// bytes as they came, which must give the digest. And it hashed the same bytes
// again part by part; S3 computed the SHA-256 of each part, also of what took
// the way over tails, and accepted only what is equal. So nothing is read back,
// except for a digest of an algorithm that did not run: that takes Verify.
//
// The first Complete of an upload wins. One that finds other bytes under the
// name, for an older state say, is ErrLost and changes nothing.
func (s *Store) Complete(ctx context.Context, up blob.Upload, want digest.Digest) error {
	if err := s.complete(ctx, up, want); err != nil {
		return fmt.Errorf("s3: complete %s: %w", up.Key, err)
	}
	return nil
}

func (s *Store) complete(ctx context.Context, up blob.Upload, want digest.Digest) error {
	if err := check(ctx, up.Key); err != nil {
		return err
	}
	if err := checkDigest(want); err != nil {
		return err
	}
	run, err := resume(up)
	if err != nil {
		return err
	}
	proven := true
	switch {
	case want.Algorithm() == up.Algorithm:
		if run.hash.Digest() != want {
			return blob.ErrDigest
		}
	case want.Algorithm() == digest.SHA256 && len(run.parts) == 0:
		if run.rest.Digest() != want { // it has seen all bytes
			return blob.ErrDigest
		}
	default:
		proven = false
	}
	if err := s.place(ctx, up, run); err != nil {
		return err
	}
	if !proven {
		// If the digest is wrong the object stays until Abort: the caller has
		// no row for it.
		if err := s.verify(ctx, up.Key, want, up.Size); err != nil {
			return err
		}
	}
	// The object is good. What cannot be deleted here expires.
	_ = s.remove(ctx, s.tailNames(up.Key, run)...)
	return nil
}

func checkDigest(want digest.Digest) error {
	if err := want.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", want, err)
	}
	_, err := blob.NewHasher(want.Algorithm())
	return err
}

var errForeign = errors.New("other bytes are under the name")

// place makes the object of the upload's bytes.
func (s *Store) place(ctx context.Context, up blob.Upload, run *running) error {
	var err error
	switch {
	case len(run.parts) > 0:
		err = s.placeParts(ctx, up, run)
	case len(run.tails) == 1 && len(run.inline) == 0:
		err = s.placeTail(ctx, up, run)
	default:
		err = s.placeBytes(ctx, up, run)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, blob.ErrLost), errors.Is(err, blob.ErrNotFound), errors.Is(err, errForeign),
		is(err, "PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload", "InvalidPart"):
		// An earlier try may have got through: then the object is there, and
		// tails and multipart upload need not be.
		return s.placed(ctx, up, run, err)
	}
	return err
}

// placeBytes writes an object smaller than a part.
func (s *Store) placeBytes(ctx context.Context, up blob.Upload, run *running) error {
	b, err := s.loadPending(ctx, up.Key, run)
	if err != nil {
		return err
	}
	return s.put(ctx, s.ObjectKey(up.Key), b, run.restSum(), aws.String("*"))
}

// placeTail makes the object of a single tail, without the bytes coming here.
func (s *Store) placeTail(ctx context.Context, up blob.Upload, run *running) error {
	got, err := s.copy(ctx, s.tailKey(up.Key, run.tails[0].id), s.ObjectKey(up.Key), nil, aws.String("*"))
	if err != nil {
		return err
	}
	if got != run.restSum().base64() {
		return errForeign
	}
	return nil
}

// placeParts sends what is left as the last part and has S3 join them.
func (s *Store) placeParts(ctx context.Context, up blob.Upload, run *running) error {
	parts := run.parts
	if run.pending() > 0 {
		b, err := s.loadPending(ctx, up.Key, run)
		if err != nil {
			return err
		}
		last, err := s.uploadPart(ctx, up.Key, run.uploadID, len(parts)+1, b, run.restSum())
		if err != nil {
			return err
		}
		parts = append(parts[:len(parts):len(parts)], last)
	}
	list := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		list[i] = types.CompletedPart{
			PartNumber:     aws.Int32(int32(i + 1)),
			ETag:           aws.String(`"` + p.etag + `"`),
			ChecksumSHA256: aws.String(p.sum.base64()),
		}
	}
	out, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket:              &s.opts.Bucket,
		Key:                 aws.String(s.ObjectKey(up.Key)),
		UploadId:            &run.uploadID,
		MultipartUpload:     &types.CompletedMultipartUpload{Parts: list},
		MpuObjectSize:       aws.Int64(up.Size),
		ChecksumType:        types.ChecksumTypeComposite,
		IfNoneMatch:         aws.String("*"),
		ExpectedBucketOwner: s.owner,
	})
	if err != nil {
		return err
	}
	if aws.ToString(out.ChecksumSHA256) != run.composite() {
		return errForeign
	}
	return nil
}

// loadPending returns the bytes that are in no part.
func (s *Store) loadPending(ctx context.Context, key string, run *running) ([]byte, error) {
	b := make([]byte, run.pending())
	hole := run.tailed()
	copy(b[hole:], run.inline)
	return b, s.loadTails(ctx, key, run.tails, b[:hole])
}

// composite is the checksum of the object that S3 makes of the parts and of
// what is pending: the hash of their hashes, and their number.
func (r *running) composite() string {
	h, n := sha256.New(), len(r.parts)
	for _, p := range r.parts {
		h.Write(p.sum[:])
	}
	if r.pending() > 0 {
		x := r.restSum()
		h.Write(x[:])
		n++
	}
	return fmt.Sprintf("%s-%d", sum(h.Sum(nil)).base64(), n)
}

// placed looks whether the object is there after the given error: nil if it is
// the upload's. One look at its checksum tells, as both know it.
func (s *Store) placed(ctx context.Context, up blob.Upload, run *running, cause error) error {
	out, err := s.head(ctx, up.Key)
	if errors.Is(err, blob.ErrNotFound) {
		if is(cause, "PreconditionFailed", "ConditionalRequestConflict") {
			return cause // it was deleted just now: try again
		}
		return fmt.Errorf("%w: %v", blob.ErrLost, cause)
	}
	if err != nil {
		return err
	}
	got := aws.ToString(out.ChecksumSHA256)
	ours := run.composite()
	if len(run.parts) == 0 {
		ours = run.restSum().base64()
	}
	if aws.ToInt64(out.ContentLength) == up.Size {
		if got == ours {
			return nil
		}
		// The same bytes may have come in other parts.
		err := s.verify(ctx, up.Key, run.hash.Digest(), up.Size)
		if err == nil || !errors.Is(err, blob.ErrDigest) && !errors.Is(err, blob.ErrNotFound) {
			return err
		}
	}
	return fmt.Errorf("%w: %v", blob.ErrLost, cause)
}

// Abort removes the object, the tails that the state knows and the multipart
// upload. What a state that was lost knows expires by the bucket's rules.
func (s *Store) Abort(ctx context.Context, up blob.Upload) error {
	if err := s.abort(ctx, up); err != nil {
		return fmt.Errorf("s3: abort %s: %w", up.Key, err)
	}
	return nil
}

func (s *Store) abort(ctx context.Context, up blob.Upload) error {
	if err := check(ctx, up.Key); err != nil {
		return err
	}
	names := []string{s.ObjectKey(up.Key)}
	if len(up.State) > 0 { // else it never was more than an object
		run, err := resume(up)
		if err != nil {
			return err
		}
		if run.uploadID != "" {
			if err := s.endMultipart(ctx, up.Key, run.uploadID); err != nil {
				return err
			}
		}
		names = append(names, s.tailNames(up.Key, run)...)
	}
	return s.remove(ctx, names...)
}
