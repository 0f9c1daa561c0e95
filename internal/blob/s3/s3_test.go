package s3_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/blobtest"
	"github.com/slipway-oci/slipway/internal/blob/s3"
	"github.com/slipway-oci/slipway/internal/blob/s3/s3test"
)

var ctx = context.Background()

// gateway returns the S3 of all tests here. It is built and started by the
// first that asks, so that tests without S3 run without it.
var gateway func() (*s3test.Gateway, error)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "slipway-s3-")
	if err != nil {
		log.Fatal(err)
	}
	var running *s3test.Gateway
	gateway = sync.OnceValues(func() (*s3test.Gateway, error) {
		program, err := s3test.Build(ctx, dir)
		if err != nil {
			return nil, err
		}
		buckets := dir + "/buckets"
		if err := os.Mkdir(buckets, 0o700); err != nil {
			return nil, err
		}
		running, err = s3test.Start(ctx, program, buckets)
		return running, err
	})
	code := m.Run()
	if running != nil {
		if err := running.Stop(); err != nil {
			log.Print(err)
			code = 1
		}
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// withStandins has to be set in the environment for the tests that start a
// stand-in: they take a minute or two, and no program uses the engine yet.
// `make standins` sets it.
const withStandins = "SLIPWAY_STANDINS"

var buckets atomic.Int64

// start returns the gateway and the name of a bucket of the test's own.
func start(t *testing.T) (*s3test.Gateway, string) {
	t.Helper()
	if os.Getenv(withStandins) == "" {
		t.Skipf("NOT TESTED: builds and runs versitygw; set %s=1", withStandins)
	}
	g, err := gateway()
	if err != nil {
		t.Fatal(err)
	}
	bucket := fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := g.Bucket(ctx, bucket); err != nil {
		t.Fatal(err)
	}
	return g, bucket
}

// open returns a store in a bucket of its own. change and wrap may be nil; wrap
// puts something in front of S3.
func open(t *testing.T, change func(*s3.Options), wrap func(http.RoundTripper) http.RoundTripper) *s3.Store {
	t.Helper()
	g, bucket := start(t)
	return openAt(t, g, bucket, change, wrap)
}

func openAt(t *testing.T, g *s3test.Gateway, bucket string, change func(*s3.Options), wrap func(http.RoundTripper) http.RoundTripper) *s3.Store {
	t.Helper()
	transport := http.DefaultTransport
	if wrap != nil {
		transport = wrap(transport)
	}
	opts := s3.Options{Client: g.Client(transport), Bucket: bucket, Prefix: "some prefix/", ExpectedBucketOwner: s3test.Owner}
	if change != nil {
		change(&opts)
	}
	s, err := s3.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fetch follows a redirect as a client does, that knows nothing but the URL.
func fetch(t *testing.T, r blob.Redirect, access blob.Access) []byte {
	t.Helper()
	resp := follow(t, r.URL, string(access), nil)
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %s: %s", access, r.URL, resp.Status, b)
	}
	if access == blob.AccessHead {
		return make([]byte, resp.ContentLength)
	}
	return b
}

func follow(t *testing.T, url, method string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// suite names the sizes at which this engine does something else: the inline
// limit, and a part with the minimal part that is held back behind it.
var suite = blobtest.Options{
	Fetch:        fetch,
	OpensMissing: true,
	Boundaries:   []int{4 << 10, 13 << 20},
	Quick:        true,
}

func TestContract(t *testing.T) {
	g, bucket := start(t)
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return openAt(t, g, bucket, nil, nil)
	}, suite)
}

// TestContractDurable: another process may go on after every call.
func TestContractDurable(t *testing.T) {
	g, bucket := start(t)
	opts := suite
	opts.Boundaries = nil
	blobtest.RunDurable(t, func(t *testing.T, _ string) blob.Store {
		return openAt(t, g, bucket, nil, nil)
	}, opts)
}
