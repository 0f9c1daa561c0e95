package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/s3"
)

var keys atomic.Int64

func headInput(bucket, key string) *awss3.HeadObjectInput {
	return &awss3.HeadObjectInput{Bucket: &bucket, Key: &key}
}

// answer is an error of S3.
func answer(r *http.Request, status int, code string) *http.Response {
	body := fmt.Sprintf("<Error><Code>%s</Code><Message>injected</Message></Error>", code)
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/xml"}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// reset is an answer's body that breaks in the middle.
type reset struct{ io.ReadCloser }

func (b reset) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:max(1, len(p)/2)])
	if err == nil {
		err = errors.New("connection reset by peer")
	}
	return n, err
}

// faults fails one request of many.
type faults struct {
	mu    sync.Mutex
	seen  int
	at    int // fails; -1 for none
	kind  string
	wrong bool // the fault came true
}

var kinds = []string{"500", "refused", "timeout after success", "reset", "damaged"}

func (f *faults) wrap(next http.RoundTripper) http.RoundTripper {
	next = enforceCopyCondition(next)
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		f.mu.Lock()
		now := f.seen == f.at
		f.seen++
		f.wrong = f.wrong || now
		f.mu.Unlock()
		if !now {
			return next.RoundTrip(r)
		}
		switch f.kind {
		case "500":
			return answer(r, http.StatusInternalServerError, "InternalError"), nil
		case "503":
			return answer(r, http.StatusServiceUnavailable, "SlowDown"), nil
		case "refused":
			return nil, errors.New("connection refused")
		case "damaged": // a bit of the body flips
			if r.Body != nil && r.ContentLength > 0 && r.Method == "PUT" {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					return nil, err
				}
				b[len(b)/2] ^= 1
				r = r.Clone(r.Context())
				r.Body = io.NopCloser(bytes.NewReader(b))
			}
			return next.RoundTrip(r)
		}
		resp, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if f.kind == "reset" {
			resp.Body = reset{resp.Body}
			return resp, nil
		}
		resp.Body.Close()
		return nil, os.ErrDeadlineExceeded
	})
}

// lives are uploads that between them make every kind of request.
var lives = [][]int{
	{1000},
	{100_000},
	{3000, 9000, 20_000},
	{5<<20 - 10, 20, 9000},
	{10<<20 + 1},
}

// TestFaults fails each request once, in each way. With the SDK's repetitions
// nobody notices. Without them the call fails, the caller does it again from
// the state it has, and the object is right.
func TestFaults(t *testing.T) {
	g, bucket := start(t)
	whole := noise(11 << 20)
	for i, chunks := range lives {
		for _, attempts := range []int{1, 3} {
			kinds := kinds
			if attempts > 1 { // what the SDK makes of an answer is the same for any request
				kinds = []string{"500", "timeout after success"}
			}
			if i >= 3 { // large: only what is special about multipart uploads
				kinds = []string{"timeout after success", "damaged"}
				if attempts > 1 {
					kinds = kinds[:4-i] // one, and none for the largest
				}
			}
			t.Run(fmt.Sprintf("upload %d, %d attempts", i, attempts), func(t *testing.T) {
				t.Parallel() // with the waiting between attempts
				for _, kind := range kinds {
					for at := 0; ; at++ {
						f := &faults{at: at, kind: kind}
						x := steps{t, openAt(t, g, bucket, func(o *s3.Options) {
							o.MaxAttempts, o.PartSize = attempts, 5<<20
						}, f.wrap)}
						x.survive(fmt.Sprintf("request %d: %s", at, kind), whole, chunks, max(1, 3-attempts))
						if !f.wrong {
							break // there is no such request any more
						}
					}
				}
			})
		}
	}
}

// survive pushes and reads; each step may be tried so often.
func (t steps) survive(name string, whole []byte, chunks []int, tries int) {
	t.Helper()
	again := func(what string, call func() error) {
		t.Helper()
		var err error
		for range tries {
			if err = call(); err == nil {
				return
			}
		}
		t.Fatalf("%s: %s: %v", name, what, err)
	}
	up, n := t.begin(digest.SHA256), 0
	for _, c := range chunks {
		again("Append", func() error {
			next, err := t.s.Append(ctx, up, bytes.NewReader(whole[n:n+c]), 1<<40)
			if err == nil {
				up = next
			} else if next.Size != up.Size {
				return fmt.Errorf("the state changed: %w", err)
			}
			return err
		})
		n += c
	}
	b := whole[:n]
	again("Complete", func() error { return t.s.Complete(ctx, up, digest.FromBytes(b)) })
	again("Complete again", func() error { return t.s.Complete(ctx, up, digest.FromBytes(b)) })
	again("Verify", func() error { return t.s.Verify(ctx, up.Key, digest.SHA512.FromBytes(b), int64(n)) })
	for range 2 { // the reset may be in this answer; it must not be a short one
		rc, err := t.s.Read(ctx, up.Key, blob.Range{Length: -1})
		if err != nil {
			continue
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err == nil && !bytes.Equal(got, b) {
			t.Fatalf("%s: other bytes", name)
		}
		if err == nil {
			break
		}
	}
	again("Abort", func() error { return t.s.Abort(ctx, up) })
}

// TestSlowDown: S3 throttles, and the SDK waits.
func TestSlowDown(t *testing.T) {
	f := &faults{at: 1, kind: "503"}
	x := steps{t, open(t, nil, f.wrap)}
	x.survive("SlowDown", noise(6<<20), []int{6 << 20}, 1)
	if !f.wrong {
		t.Error("nothing was throttled")
	}
}

// TestBrokenTail: bytes that changed on their way over a tail are not accepted,
// although all that came in was right.
func TestBrokenTail(t *testing.T) {
	for _, chunks := range [][]int{{9000, 9000}, {4 << 20, 4 << 20}, {6 << 20, 9000}} {
		x := steps{t, open(t, func(o *s3.Options) { o.MaxAttempts = 1 }, func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if err == nil && operation(r) == "GetObject" {
					b, err := io.ReadAll(resp.Body)
					if err != nil {
						return nil, err
					}
					b[0] ^= 1
					resp.Body = io.NopCloser(bytes.NewReader(b))
				}
				return resp, err
			})
		})}
		up, b := x.begin(digest.SHA256), noise(8<<20+9000)
		var err error
		for _, n := range chunks {
			if up, err = x.s.Append(ctx, up, bytes.NewReader(b[up.Size:][:n]), 1<<40); err != nil {
				break
			}
		}
		if err == nil {
			err = x.s.Complete(ctx, up, digest.FromBytes(b[:up.Size]))
		}
		if err == nil {
			t.Errorf("chunks %v: damaged bytes were accepted", chunks)
		}
		if _, err := x.s.Stat(ctx, up.Key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("chunks %v: Stat: %v", chunks, err)
		}
	}
}
