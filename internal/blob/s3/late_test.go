package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/s3/s3test"
)

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// TestLateComplete: a process that was thought dead completes another state of
// the upload, with the digest that state has. The object that was completed
// first stays.
func TestLateComplete(t *testing.T) {
	x := steps{t, open(t, nil, enforceCopyCondition)}
	sizes := []int{10, 50_000, 6 << 20, 14 << 20}
	whole := noise(15 << 20)
	for _, first := range sizes {
		for _, late := range sizes {
			up := x.begin(digest.SHA256)
			a, b := whole[:first], whole[1000:1000+late]
			upA, upB := x.append(up, a), x.append(up, b)
			x.complete(upA, a)
			if err := x.s.Complete(ctx, upB, digest.FromBytes(b)); !errors.Is(err, blob.ErrLost) {
				t.Errorf("%d bytes after %d: Complete: %v, want ErrLost", late, first, err)
			}
			if got := x.read(up.Key); !bytes.Equal(got, a) {
				t.Errorf("%d bytes after %d: the object changed", late, first)
			}
			x.complete(upA, a)
		}
	}
}

// TestLateAppend: a process that was thought dead sends another part under the
// number of one that counts. The upload is lost then, but never wrong.
func TestLateAppend(t *testing.T) {
	x := steps{t, open(t, nil, nil)}
	whole := noise(20 << 20)
	old := x.append(x.begin(digest.SHA256), whole[:6<<20])
	up := x.append(old, whole[6<<20:12<<20])
	x.append(old, whole[7<<20:14<<20])
	if err := x.s.Complete(ctx, up, digest.FromBytes(whole[:12<<20])); !errors.Is(err, blob.ErrLost) {
		t.Errorf("Complete: %v, want ErrLost", err)
	}
	if _, err := x.s.Stat(ctx, up.Key); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat: %v", err)
	}
	// What is not part of the state does not hurt.
	old = x.append(x.begin(digest.SHA256), whole[:6<<20])
	x.append(old, whole[7<<20:14<<20])
	x.complete(old, whole[:6<<20])
}

// TestLost: the bucket's rules, or somebody, took what the state names.
func TestLost(t *testing.T) {
	g, bucket := start(t)
	x := steps{t, openAt(t, g, bucket, nil, nil)}
	whole := noise(12 << 20)
	for _, chunks := range [][]int{{9000}, {9000, 9000}, {6 << 20}, {6 << 20, 9000}} {
		up := x.begin(digest.SHA256)
		for _, n := range chunks {
			up = x.append(up, whole[up.Size:][:n])
		}
		if err := x.s.Abort(ctx, up); err != nil {
			t.Fatal(err)
		}
		if err := x.s.Complete(ctx, up, digest.FromBytes(whole[:up.Size])); !errors.Is(err, blob.ErrLost) || errors.Is(err, blob.ErrNotFound) {
			t.Errorf("chunks %v: Complete: %v, want ErrLost", chunks, err)
		}
		if up.Size < 6<<20 && len(chunks) == 1 {
			continue // that it is gone shows only in Complete
		}
		next, err := x.s.Append(ctx, up, bytes.NewReader(whole[:6<<20]), 1<<40)
		if !errors.Is(err, blob.ErrLost) || next.Size != up.Size {
			t.Errorf("chunks %v: Append: %d bytes, %v; want ErrLost", chunks, next.Size, err)
		}
	}
}

// left lists what is in the bucket, which only a test may.
func left(t *testing.T, g *s3test.Gateway, bucket string) (names []string) {
	t.Helper()
	c := g.Client(nil)
	objects, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects.Contents {
		names = append(names, *o.Key)
	}
	uploads, err := c.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uploads.Uploads {
		names = append(names, "upload of "+*u.Key)
	}
	return names
}

// TestNothingLeft: after Complete there is the object, after Abort nothing, for
// any way that an upload may take; also after calls that failed.
func TestNothingLeft(t *testing.T) {
	g, bucket := start(t)
	x := steps{t, openAt(t, g, bucket, nil, nil)}
	whole := noise(15 << 20)
	ways := append([][]int{nil, {6 << 20, 9000, 6 << 20}}, lives...)
	for _, end := range []string{"Complete", "Abort", "both"} {
		for _, chunks := range ways {
			up := x.begin(digest.SHA256)
			for _, n := range chunks {
				up = x.append(up, whole[up.Size:][:n])
			}
			if _, err := x.s.Append(ctx, up, bytes.NewReader(whole), up.Size+14<<20); !errors.Is(err, blob.ErrTooLarge) {
				t.Fatal(err)
			}
			var want []string
			if end != "Abort" {
				x.complete(up, whole[:up.Size])
				want = []string{x.s.ObjectKey(up.Key)}
			}
			if end != "Complete" {
				if err := x.s.Abort(ctx, up); err != nil {
					t.Fatal(err)
				}
				want = nil
			}
			if got := left(t, g, bucket); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("chunks %v, %s leave %q, want %q", chunks, end, got, want)
			}
			if err := x.s.Delete(ctx, up.Key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestManyTails: small chunks without end keep the state small and the tails
// few; the older ones go while the upload goes on.
func TestManyTails(t *testing.T) {
	g, bucket := start(t)
	x := steps{t, openAt(t, g, bucket, nil, nil)}
	whole := noise(11 << 20)
	const chunk = 40_000
	up := x.begin(digest.SHA256)
	most := 0
	for int(up.Size) < len(whole) {
		up = x.append(up, whole[up.Size:min(int(up.Size)+chunk, len(whole))])
		most = max(most, len(up.State))
		if n := len(left(t, g, bucket)); n > 140 {
			t.Fatalf("%d names in the bucket after %d bytes", n, up.Size)
		}
	}
	if most > 2500 {
		t.Errorf("the state had up to %d bytes", most)
	}
	x.complete(up, whole)
	if got := x.read(up.Key); !bytes.Equal(got, whole) {
		t.Error("other bytes")
	}
	for _, name := range left(t, g, bucket) {
		if strings.Contains(name, "tails/") {
			t.Errorf("left: %s", name)
		}
	}
}
