package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/s3"
)

// TestRedirect: what a URL promises, checked by an S3 that checks signatures.
func TestRedirect(t *testing.T) {
	x := steps{t, open(t, nil, nil)}
	b := noise(100_000)
	up := x.append(x.begin(digest.SHA256), b)
	x.complete(up, b)
	at := func(access blob.Access) string {
		t.Helper()
		src, err := x.s.Open(ctx, up.Key, access)
		if err != nil || src.Redirect == nil {
			t.Fatalf("Open = %+v, %v", src, err)
		}
		return src.Redirect.URL
	}
	get, head := at(blob.AccessGet), at(blob.AccessHead)
	for _, raw := range []string{get, head} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if got := q.Get("X-Amz-SignedHeaders"); got != "host" {
			t.Errorf("signed headers %q, want host only", got)
		}
		if got := q.Get("X-Amz-Expires"); got != "1200" {
			t.Errorf("good for %q seconds, want 1200", got)
		}
		for k := range q {
			if k := strings.ToLower(k); strings.Contains(k, "checksum") || strings.Contains(k, "owner") {
				t.Errorf("parameter %s", k)
			}
		}
	}
	for _, tt := range []struct {
		name, url, method string
		header            http.Header
		status            int
		body              []byte
	}{
		{"GET", get, "GET", nil, 200, b},
		{"HEAD", head, "HEAD", nil, 200, nil},
		{"a range", get, "GET", http.Header{"Range": {"bytes=10-19"}}, 206, b[10:20]},
		{"headers that clients send", get, "GET", http.Header{"Accept": {"application/octet-stream"}, "User-Agent": {"docker/29"},
			"Accept-Encoding": {"identity"}}, 200, b},
		{"HEAD to the URL for GET", get, "HEAD", nil, 403, nil},
		{"GET to the URL for HEAD", head, "GET", nil, 403, nil},
		{"another object", strings.Replace(get, up.Key, up.Key+"0", 1), "GET", nil, 403, nil},
		{"a longer life", strings.Replace(get, "X-Amz-Expires=1200", "X-Amz-Expires=12000", 1), "GET", nil, 403, nil},
		{"another type", strings.Replace(get, "octet-stream", "html", 1), "GET", nil, 403, nil},
	} {
		resp := follow(t, tt.url, tt.method, tt.header)
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != tt.status || tt.body != nil && !bytes.Equal(got, tt.body) {
			t.Errorf("%s: %s, %d bytes, %v; want %d", tt.name, resp.Status, len(got), err, tt.status)
		}
		if tt.status == 200 {
			if got := resp.Header.Get("Content-Type"); got != "application/octet-stream" {
				t.Errorf("%s: Content-Type %q", tt.name, got)
			}
			if got := resp.Header.Get("Cache-Control"); got != "private, max-age=31536000, immutable" {
				t.Errorf("%s: Cache-Control %q", tt.name, got)
			}
			if resp.ContentLength != int64(len(b)) {
				t.Errorf("%s: Content-Length %d", tt.name, resp.ContentLength)
			}
		}
	}
	if _, err := x.s.Open(ctx, up.Key, "PUT"); err == nil {
		t.Error("Open for PUT: no error")
	}
}

// TestExpired: a URL ends.
func TestExpired(t *testing.T) {
	x := steps{t, open(t, func(o *s3.Options) { o.PresignExpiry = time.Second }, nil)}
	up := x.append(x.begin(digest.SHA256), []byte("abc"))
	x.complete(up, []byte("abc"))
	src, err := x.s.Open(ctx, up.Key, blob.AccessGet)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2100 * time.Millisecond)
	if resp := follow(t, src.Redirect.URL, "GET", nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("%s, want 403", resp.Status)
	}
}

// TestRead tells its size, for those who count.
func TestRead(t *testing.T) {
	x := steps{t, open(t, nil, nil)}
	up := x.append(x.begin(digest.SHA256), noise(1000))
	x.complete(up, noise(1000))
	for _, tt := range []struct {
		r    blob.Range
		want int64
	}{
		{blob.Range{Length: -1}, 1000}, {blob.Range{Offset: 990, Length: 1 << 62}, 10},
		{blob.Range{Offset: 1000, Length: 1}, 0}, {blob.Range{Offset: 5}, 0},
	} {
		rc, err := x.s.Read(ctx, up.Key, tt.r)
		if err != nil {
			t.Fatal(err)
		}
		if got := rc.(interface{ Size() int64 }).Size(); got != tt.want {
			t.Errorf("%+v: Size = %d, want %d", tt.r, got, tt.want)
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNew(t *testing.T) {
	if _, err := s3.New(s3.Options{Bucket: "b"}); err == nil {
		t.Error("without a client: no error")
	}
	g, bucket := start(t)
	for _, o := range []s3.Options{
		{},
		{Bucket: bucket, PartSize: 5<<20 - 1},
		{Bucket: bucket, PartSize: 65 << 20},
		{Bucket: bucket, PresignExpiry: 8 * 24 * time.Hour},
		{Bucket: bucket, PresignExpiry: -1},
	} {
		o.Client = g.Client(nil)
		if _, err := s3.New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
