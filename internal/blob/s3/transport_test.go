package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/s3"
	"github.com/slipway-oci/slipway/internal/blob/s3/s3test"
)

// roundTripper is a function in front of S3.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// operation names a request as S3's documentation does. What this engine must
// never do, listing above all, has no name here.
func operation(r *http.Request) string {
	q := r.URL.Query()
	_, uploads := q["uploads"]
	_, del := q["delete"]
	object := strings.Contains(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case !object && r.Method == "POST" && del:
		return "DeleteObjects"
	case !object:
	case r.Method == "GET" && !uploads && !q.Has("uploadId"):
		return "GetObject"
	case r.Method == "HEAD":
		return "HeadObject"
	case r.Method == "DELETE" && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == "DELETE":
		return "DeleteObject"
	case r.Method == "PUT" && q.Has("uploadId"):
		return "UploadPart"
	case r.Method == "PUT" && r.Header.Get("X-Amz-Copy-Source") != "":
		return "CopyObject"
	case r.Method == "PUT":
		return "PutObject"
	case r.Method == "POST" && uploads:
		return "CreateMultipartUpload"
	case r.Method == "POST" && q.Has("uploadId"):
		return "CompleteMultipartUpload"
	}
	return "unexpected " + r.Method + " " + r.URL.String()
}

// calls counts what goes to S3, repetitions included, and keeps the headers.
type calls struct {
	mu      sync.Mutex
	counts  map[string]int
	headers map[string]http.Header // the last
}

func (c *calls) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.mu.Lock()
		if c.counts == nil {
			c.counts, c.headers = make(map[string]int), make(map[string]http.Header)
		}
		c.counts[operation(r)]++
		c.headers[operation(r)] = r.Header.Clone()
		c.mu.Unlock()
		return next.RoundTrip(r)
	})
}

// take returns the counts since the last take, as "2 GetObject, 1 PutObject".
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, op := range slices.Sorted(maps.Keys(c.counts)) {
		list = append(list, fmt.Sprintf("%d %s", c.counts[op], op))
	}
	c.counts = nil
	return strings.Join(list, ", ")
}

// steps are calls of a store that must not fail.
type steps struct {
	*testing.T
	s *s3.Store
}

func (t steps) begin(algorithm digest.Algorithm) blob.Upload {
	t.Helper()
	up, err := t.s.Begin(fmt.Sprintf("key-of-test-%d", keys.Add(1)), algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func (t steps) append(up blob.Upload, b []byte) blob.Upload {
	t.Helper()
	up, err := t.s.Append(ctx, up, bytes.NewReader(b), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func (t steps) complete(up blob.Upload, b []byte) {
	t.Helper()
	if err := t.s.Complete(ctx, up, digest.FromBytes(b)); err != nil {
		t.Fatal(err)
	}
}

func (t steps) read(key string) []byte {
	t.Helper()
	rc, err := t.s.Read(ctx, key, blob.Range{Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b := new(bytes.Buffer)
	if _, err := b.ReadFrom(rc); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCalls counts S3 requests, because they are the bill.
func TestCalls(t *testing.T) {
	var c calls
	x := steps{t, open(t, nil, c.wrap)}
	const mib = 1 << 20
	for _, tt := range []struct {
		name     string
		chunks   []int
		append   string // of all chunks
		complete string
	}{
		{"nothing", []int{}, "", "1 PutObject"},
		{"a config", []int{2000}, "", "1 PutObject"},
		{"many bytes, one by one", slices.Repeat([]int{1}, 1000), "", "1 PutObject"},
		{"a small layer", []int{300_000}, "1 PutObject", "1 CopyObject, 1 DeleteObject"},
		{"just below a part", []int{5*mib - 1}, "1 PutObject", "1 CopyObject, 1 DeleteObject"},
		{"a part", []int{5 * mib}, "1 CreateMultipartUpload, 1 UploadPart", "1 CompleteMultipartUpload"},
		{"a stream", []int{30 * mib}, "1 CreateMultipartUpload, 4 UploadPart", "1 CompleteMultipartUpload"},
		{"two small chunks", []int{9000, 9000}, "2 PutObject", "1 DeleteObjects, 2 GetObject, 1 PutObject"},
		{"chunks of 4.5 MB", []int{4500000, 4500000, 4500000, 100},
			"1 CreateMultipartUpload, 1 GetObject, 2 PutObject, 1 UploadPart",
			"1 CompleteMultipartUpload, 1 DeleteObjects, 1 GetObject, 1 UploadPart"},
	} {
		up, b := x.begin(digest.SHA256), []byte(nil)
		for i, n := range tt.chunks {
			chunk := bytes.Repeat([]byte{byte(i)}, n)
			up, b = x.append(up, chunk), append(b, chunk...)
		}
		if got := c.take(); got != tt.append {
			t.Errorf("%s: Append makes %s; want %s", tt.name, got, tt.append)
		}
		x.complete(up, b)
		if got := c.take(); got != tt.complete {
			t.Errorf("%s: Complete makes %s; want %s", tt.name, got, tt.complete)
		}
	}

	up := x.append(x.begin(digest.SHA256), []byte("abc"))
	x.complete(up, []byte("abc"))
	c.take()
	for _, tt := range []struct {
		name string
		call func() error
		want string
	}{
		{"Open GET", func() error { _, err := x.s.Open(ctx, up.Key, blob.AccessGet); return err }, ""},
		{"Open HEAD", func() error { _, err := x.s.Open(ctx, up.Key, blob.AccessHead); return err }, ""},
		{"Stat", func() error { _, err := x.s.Stat(ctx, up.Key); return err }, "1 HeadObject"},
		{"Read", func() error { x.read(up.Key); return nil }, "1 GetObject"},
		{"Complete again", func() error { x.complete(up, []byte("abc")); return nil }, "1 HeadObject, 1 PutObject"},
		{"Verify", func() error { return x.s.Verify(ctx, up.Key, digest.FromString("abc"), 3) }, "1 HeadObject"},
		{"wrong digest", func() error { x.s.Complete(ctx, up, digest.FromString("x")); return nil }, ""},
		{"Delete", func() error { return x.s.Delete(ctx, up.Key) }, "1 DeleteObject"},
		{"Abort", func() error { return x.s.Abort(ctx, up) }, "1 DeleteObject"},
	} {
		if err := tt.call(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := c.take(); got != tt.want {
			t.Errorf("%s makes %s; want %s", tt.name, got, tt.want)
		}
	}
}

// TestHeaders: each request names the owner, each that writes an object the key,
// and none lists.
func TestHeaders(t *testing.T) {
	var c calls
	x := steps{t, open(t, func(o *s3.Options) { o.KMSKeyID = "key-id" }, c.wrap)}
	big := make([]byte, 6<<20)
	for _, b := range [][]byte{big[:10], big[:10_000], big} {
		up := x.append(x.begin(digest.SHA256), b)
		x.complete(up, b)
		x.read(up.Key)
		if err := x.s.Complete(ctx, up, digest.SHA512.FromBytes(b)); err != nil {
			t.Fatal(err)
		}
		if err := x.s.Verify(ctx, up.Key, digest.FromBytes(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if err := x.s.Abort(ctx, up); err != nil {
			t.Fatal(err)
		}
	}
	encrypts := map[string]bool{"PutObject": true, "CopyObject": true, "CreateMultipartUpload": true}
	if len(c.headers) != 10 {
		t.Errorf("requests: %v; want all 10 kinds", slices.Sorted(maps.Keys(c.headers)))
	}
	for op, h := range c.headers {
		if strings.HasPrefix(op, "unexpected") {
			t.Error(op)
		}
		if got := h.Get("X-Amz-Expected-Bucket-Owner"); got != s3test.Owner {
			t.Errorf("%s: owner %q", op, got)
		}
		kms := ""
		if encrypts[op] {
			kms = "aws:kms key-id true"
		}
		got := strings.TrimSpace(h.Get("X-Amz-Server-Side-Encryption") + " " +
			h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") + " " + h.Get("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"))
		if got != kms {
			t.Errorf("%s: encryption %q, want %q", op, got, kms)
		}
		if op == "UploadPart" && (h.Get("X-Amz-Checksum-Sha256") == "" || len(h.Get("X-Amz-Content-Sha256")) != 64) {
			t.Errorf("%s without checksum: %v", op, h)
		}
	}
	// versitygw compares the owner: with another all is refused.
	g, bucket := start(t)
	other := openAt(t, g, bucket, func(o *s3.Options) { o.ExpectedBucketOwner = "999999999999" }, nil)
	up := x.append(x.begin(digest.SHA256), big[:10])
	if err := other.Complete(ctx, up, digest.FromBytes(big[:10])); err == nil {
		t.Error("Complete in the bucket of somebody else: no error")
	}
	if _, err := other.Stat(ctx, up.Key); err == nil || strings.Contains(err.Error(), blob.ErrNotFound.Error()) {
		t.Errorf("Stat in the bucket of somebody else: %v", err)
	}
}

// TestMemory: at most two parts are on their way at a time.
func TestMemory(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	x := steps{t, open(t, nil, func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if operation(r) == "UploadPart" {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				defer func() { mu.Lock(); now--; mu.Unlock() }()
			}
			return next.RoundTrip(r)
		})
	})}
	b := make([]byte, 60<<20)
	x.complete(x.append(x.begin(digest.SHA256), b), b)
	if most < 1 || most > 2 {
		t.Errorf("%d parts were on their way at a time, want 1 or 2", most)
	}
}

// enforceCopyCondition gives CopyObject its If-None-Match, which S3 has and
// versitygw v1.8.0 does not.
func enforceCopyCondition(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if operation(r) == "CopyObject" && r.Header.Get("If-None-Match") == "*" {
			if there(r) {
				return answer(r, http.StatusPreconditionFailed, "PreconditionFailed"), nil
			}
		}
		return next.RoundTrip(r)
	})
}

func there(r *http.Request) bool {
	g, _ := gateway() // it runs
	bucket, key, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	_, err := g.Client(nil).HeadObject(context.Background(), headInput(bucket, key))
	return err == nil
}
