package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/s3/s3test"
)

// foreign writes an object as somebody else would: in one request with the
// SHA-256 or without, or in parts.
func foreign(t *testing.T, g *s3test.Gateway, bucket, key, how string, b []byte) {
	t.Helper()
	c := g.Client(nil)
	var err error
	switch how {
	case "sha256":
		_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(b),
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	case "crc":
		_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(b)})
	default:
		algorithm := types.ChecksumAlgorithmSha256
		if how == "parts, crc" {
			algorithm = types.ChecksumAlgorithmCrc64nvme
		}
		var up *awss3.CreateMultipartUploadOutput
		up, err = c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, ChecksumAlgorithm: algorithm})
		if err != nil {
			t.Fatal(err)
		}
		var parts []types.CompletedPart
		for i := range 2 {
			half := b[:5<<20]
			if i == 1 {
				half = b[5<<20:]
			}
			out, err := c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId,
				PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(half), ChecksumAlgorithm: algorithm})
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag,
				ChecksumSHA256: out.ChecksumSHA256, ChecksumCRC64NVME: out.ChecksumCRC64NVME})
		}
		_, err = c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerify climbs the ladder with objects that the engine did not write, and
// counts the rungs.
func TestVerify(t *testing.T) {
	var c calls
	g, bucket := start(t)
	s := openAt(t, g, bucket, nil, c.wrap)
	b := noise(6 << 20)
	const head, copied, read = "1 HeadObject", "1 CopyObject, 1 DeleteObject, 1 HeadObject", "1 GetObject, 1 HeadObject"
	for i, tt := range []struct {
		how     string
		size    int
		maxCopy int64
		want256 string // requests for a sha256 digest; sha512 always reads
	}{
		{"sha256", 1000, 5 << 30, head},
		{"crc", 1000, 5 << 30, copied},
		{"crc", 1000, 1000, copied},
		{"crc", 1000, 999, read},
		{"parts", 6 << 20, 5 << 30, copied},
		{"parts, crc", 6 << 20, 5 << 30, copied},
		{"parts", 6 << 20, 6<<20 - 1, read},
	} {
		name := fmt.Sprintf("%s, %d bytes, copies up to %d", tt.how, tt.size, tt.maxCopy)
		key := fmt.Sprintf("foreign-%d", i)
		b := b[:tt.size]
		foreign(t, g, bucket, s.ObjectKey(key), tt.how, b)
		s.SetMaxCopy(tt.maxCopy)
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			want := tt.want256
			if algorithm == digest.SHA512 {
				want = read
			}
			c.take()
			if err := s.Verify(ctx, key, algorithm.FromBytes(b), int64(len(b))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := c.take(); got != want {
				t.Errorf("%s: Verify of %s makes %s; want %s", name, algorithm, got, want)
			}
			if err := s.Verify(ctx, key, algorithm.FromBytes(b[1:]), int64(len(b))); !errors.Is(err, blob.ErrDigest) {
				t.Errorf("%s: wrong %s: %v", name, algorithm, err)
			}
			for _, size := range []int64{0, int64(len(b)) - 1, int64(len(b)) + 1} {
				if err := s.Verify(ctx, key, algorithm.FromBytes(b), size); !errors.Is(err, blob.ErrDigest) {
					t.Errorf("%s: wrong size: %v", name, err)
				}
			}
		}
		// The copies are gone, and the object is as it was.
		if got, err := g.Client(nil).GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: aws.String(s.ObjectKey(key))}); err != nil {
			t.Error(err)
		} else if all, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(all, b) {
			t.Errorf("%s: the object changed: %v", name, err)
		}
	}
	if names := left(t, g, bucket); len(names) != 7 {
		t.Errorf("left: %q", names)
	}
	if err := s.Verify(ctx, "no-such-key", digest.FromString(""), 0); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Verify of a missing object: %v", err)
	}
	if err := s.Verify(ctx, "foreign-0", "sha256:abc", 1000); err == nil {
		t.Error("Verify of a malformed digest: no error")
	}
}

// TestVerifyGoesOn: reading a large object survives connections that break.
func TestVerifyGoesOn(t *testing.T) {
	g, bucket := start(t)
	b := noise(6 << 20)
	broken := 0
	s := openAt(t, g, bucket, nil, func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil && operation(r) == "GetObject" {
				broken++
				resp.Body = &cutOff{resp.Body, 1_500_000}
			}
			return resp, err
		})
	})
	foreign(t, g, bucket, s.ObjectKey("foreign-object"), "crc", b)
	if err := s.Verify(ctx, "foreign-object", digest.SHA512.FromBytes(b), int64(len(b))); err != nil {
		t.Error(err)
	}
	if err := s.Verify(ctx, "foreign-object", digest.SHA512.FromBytes(b[1:]), int64(len(b))); !errors.Is(err, blob.ErrDigest) {
		t.Errorf("wrong digest: %v", err)
	}
	if broken != 10 {
		t.Errorf("%d requests, want 10", broken)
	}
}

// cutOff breaks after n bytes.
type cutOff struct {
	io.ReadCloser
	n int
}

func (c *cutOff) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, errors.New("connection reset by peer")
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.n)])
	c.n -= n
	return n, err
}
