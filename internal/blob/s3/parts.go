package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-oci/slipway/internal/blob"
)

// Limits of S3.
const (
	minPart  = 5 << 20 // bytes of a part that is not the last
	maxParts = 10_000
)

// inFlight is how many parts of one Append are on their way while the next one
// is read. One connection to S3 carries less than a client's.
const inFlight = 2

// partSize is how many bytes part n (from 0) of a stream has. Sizes double
// twice: with 8 MiB at first, 10,000 parts are 308 GiB, a blob of 50 GiB has
// 1,730, and no part is too much for memory.
func (s *Store) partSize(n int) int64 { return s.opts.PartSize << min(n/100, 2) }

// leastPart is how many bytes are sent as part n (from 0) when no more come for
// now. It keeps up with partSize, or uploads in chunks would run out of parts.
func (s *Store) leastPart(n int) int { return minPart << min(n/100, 2) }

// buffer returns an empty buffer of at least the capacity.
func (s *Store) buffer(n int) []byte {
	if b, _ := s.buffers.Get().(*[]byte); b != nil && cap(*b) >= n {
		return (*b)[:0]
	}
	return make([]byte, 0, n)
}

func (s *Store) release(b []byte) { s.buffers.Put(&b) }

// grow returns b with more capacity, but at most that of most bytes.
func (s *Store) grow(b []byte, most int) []byte {
	return append(make([]byte, 0, min(max(4*cap(b), firstBuffer), most)), b...)
}

// sender sends parts in the background. After an error it sends no more.
type sender struct {
	s     *Store
	key   string
	run   *running
	group *errgroup.Group
	ctx   context.Context // ends with the first error
	sent  []chan part     // in the order of their numbers
	begin int             // parts that were there before
	done  bool
	err   error
}

func (s *Store) sender(ctx context.Context, key string, run *running) *sender {
	p := &sender{s: s, key: key, run: run, begin: len(run.parts)}
	p.group, p.ctx = errgroup.WithContext(ctx)
	p.group.SetLimit(inFlight)
	return p
}

// send takes the buffer and sends its first n bytes as the next part. rest is a
// hash that has seen the first seen of them.
func (p *sender) send(ctx context.Context, buf []byte, n int, rest *blob.Hasher, seen int) error {
	number := len(p.run.parts) + 1
	if number >= maxParts { // one must remain for Complete
		return fmt.Errorf("%w: %d parts", blob.ErrTooLarge, number)
	}
	if p.run.uploadID == "" {
		id, err := p.s.startMultipart(ctx, p.key)
		if err != nil {
			return err
		}
		p.run.uploadID = id
	}
	// Its place now, its ETag in wait.
	p.run.parts = append(p.run.parts, part{size: int64(n)})
	id, i := p.run.uploadID, len(p.sent)
	p.sent = append(p.sent, make(chan part, 1))
	to := p.sent[i]
	p.group.Go(func() error {
		rest.Write(buf[seen:n])
		got, err := p.s.uploadPart(p.ctx, p.key, id, number, buf[:n], sum(rest.Sum(nil)))
		if err != nil {
			return err // a request that failed may still read the buffer
		}
		p.s.release(buf)
		to <- got
		return nil
	})
	return p.ctx.Err() // if a part failed, wait tells why
}

// wait waits for the parts and enters them. It may be called again.
func (p *sender) wait() error {
	if p.done {
		return p.err
	}
	p.done = true
	if p.err = p.group.Wait(); p.err == nil {
		for i, c := range p.sent {
			p.run.parts[p.begin+i] = <-c
		}
	}
	return p.err
}

func (s *Store) startMultipart(ctx context.Context, key string) (string, error) {
	in := &s3.CreateMultipartUploadInput{
		Bucket:              &s.opts.Bucket,
		Key:                 aws.String(s.ObjectKey(key)),
		ContentType:         aws.String(contentType),
		ChecksumAlgorithm:   types.ChecksumAlgorithmSha256,
		ChecksumType:        types.ChecksumTypeComposite,
		ExpectedBucketOwner: s.owner,
	}
	if s.opts.KMSKeyID != "" {
		in.ServerSideEncryption = types.ServerSideEncryptionAwsKms
		in.SSEKMSKeyId, in.BucketKeyEnabled = &s.opts.KMSKeyID, aws.Bool(true)
	}
	out, err := s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return "", err
	}
	if aws.ToString(out.UploadId) == "" {
		return "", errors.New("S3 gave no upload id")
	}
	return *out.UploadId, nil
}

// uploadPart sends a part; S3 refuses bytes that do not have the checksum. A
// number that was used before gets the new bytes.
func (s *Store) uploadPart(ctx context.Context, key, id string, number int, b []byte, x sum) (part, error) {
	out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket:              &s.opts.Bucket,
		Key:                 aws.String(s.ObjectKey(key)),
		UploadId:            &id,
		PartNumber:          aws.Int32(int32(number)),
		Body:                bytes.NewReader(b),
		ContentLength:       aws.Int64(int64(len(b))),
		ChecksumSHA256:      aws.String(x.base64()),
		ExpectedBucketOwner: s.owner,
	}, signed(x))
	if is(err, "NoSuchUpload") {
		return part{}, fmt.Errorf("%w: %v", blob.ErrLost, err)
	}
	if err != nil {
		return part{}, err
	}
	return part{size: int64(len(b)), sum: x, etag: strings.Trim(aws.ToString(out.ETag), `"`)}, nil
}

// endMultipart aborts a multipart upload, if it is there.
func (s *Store) endMultipart(ctx context.Context, key, id string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket:              &s.opts.Bucket,
		Key:                 aws.String(s.ObjectKey(key)),
		UploadId:            &id,
		ExpectedBucketOwner: s.owner,
	})
	if is(err, "NoSuchUpload") {
		return nil
	}
	return err
}
