package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var v []time.Duration
	for i := 1; i <= 200; i++ {
		v = append(v, time.Duration(i))
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, 1}, {0.5, 100}, {0.99, 198}, {1, 200}} {
		if got := percentile(v, c.q); got != c.want {
			t.Errorf("percentile(1..200, %v) = %d, want %d", c.q, got, c.want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of nothing = %d", got)
	}
	if got := percentile(v[:1], 0.99); got != 1 {
		t.Errorf("percentile of one value = %d", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestZipf(t *testing.T) {
	const n, draws = 200, 200_000
	z := newZipf(1, n)
	rng := rand.New(rand.NewPCG(1, 2))
	count := make([]int, n)
	for range draws {
		count[z.pick(rng.Float64())]++
	}
	var harmonic float64
	for i := 1; i <= n; i++ {
		harmonic += 1 / float64(i)
	}
	for _, i := range []int{0, 1, 9} {
		want := draws / float64(i+1) / harmonic
		if math.Abs(float64(count[i])-want) > 5*math.Sqrt(want) {
			t.Errorf("index %d drawn %d times, want about %.0f", i, count[i], want)
		}
	}
	if z.pick(0) != 0 || z.pick(math.Nextafter(1, 0)) != n-1 {
		t.Error("the ends of the unit interval are not the first and the last index")
	}
}

func TestPayloadDigest(t *testing.T) {
	p, err := newPayloads(1, []int64{100, 5000, 17})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	check := func(one *payload) {
		t.Helper()
		raw, err := io.ReadAll(one.body())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		if got := "sha256:" + hex.EncodeToString(sum[:]); got != one.digest || int64(len(raw)) != one.size() {
			t.Errorf("payload of %d bytes: digest %s, size %d, claims %s, %d", len(raw), got, len(raw), one.digest, one.size())
		}
		if seen[one.digest] {
			t.Error("two payloads are alike")
		}
		seen[one.digest] = true
	}
	for _, size := range []int64{5000, 17, 100, 5000} {
		check(p.fresh(size))
	}
	check(p.configPayload())
	check(p.configPayload(p.fresh(17)))
}

func TestLayerSizes(t *testing.T) {
	sizes := layerSizes(1 << 30)
	var small, medium int
	for _, s := range sizes {
		if s < 1<<20 {
			small++
		}
		if s < 10<<20 {
			medium++
		}
	}
	if len(sizes) != 100 || small != 50 || medium != 80 || sizes[99] > 1<<30 || sizes[99] < 512<<20 {
		t.Errorf("%d sizes, %d under 1 MiB, %d under 10 MiB, largest %d", len(sizes), small, medium, sizes[99])
	}
	for _, s := range layerSizes(1 << 20) {
		if s > 1<<20 {
			t.Errorf("size %d above the limit", s)
		}
	}
}

// A Location may be relative, and its query is the registry's own: it must come back as it was, with the digest behind it.
func TestUploadFollowsLocation(t *testing.T) {
	p, err := newPayloads(1, []int64{64})
	if err != nil {
		t.Fatal(err)
	}
	blob := p.fresh(64)
	for _, patched := range []bool{false, true} {
		var put, got string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got += string(body)
			switch r.Method {
			case http.MethodPost:
				w.Header().Set("Location", "/elsewhere/1?z=2&a=1%2B1")
				w.WriteHeader(http.StatusAccepted)
			case http.MethodPatch:
				w.Header().Set("Location", "/elsewhere/2?z=2&a=1%2B1")
				w.Header().Set("Range", "0-63")
				w.WriteHeader(http.StatusAccepted)
			case http.MethodPut:
				put = r.URL.String()
				w.WriteHeader(http.StatusCreated)
			}
		}))
		c := newClient(srv.URL, patched)
		err := c.pushBlob(context.Background(), "a/b", blob)
		srv.Close()
		if err != nil {
			t.Fatal(err)
		}
		want := "/elsewhere/1?z=2&a=1%2B1&digest=sha256%3A" + strings.TrimPrefix(blob.digest, "sha256:")
		if patched {
			want = strings.Replace(want, "/1?", "/2?", 1)
		}
		if put != want {
			t.Errorf("patched %v: PUT %s, want %s", patched, put, want)
		}
		if digestOf([]byte(got)) != blob.digest {
			t.Errorf("patched %v: other bytes arrived", patched)
		}
	}
}

func TestClientStaysOnLoopback(t *testing.T) {
	c := newClient("http://192.0.2.1:80", false)
	if _, err := c.headBlob(context.Background(), "a", "sha256:00"); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("dialling another machine: %v", err)
	}
}

func TestReportKeepsProse(t *testing.T) {
	const old = "# Mine\n\nbefore\n\n" + beginMark + "\nold\n" + endMark + "\n\nafter\n"
	got, err := between(old, "new\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(old, "old", "new", 1); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := between("text "+endMark+beginMark, "new"); err == nil {
		t.Error("marks in the wrong order were accepted")
	}
	first, err := between("", "new")
	if err != nil || !strings.Contains(first, beginMark+"\nnew\n"+endMark) {
		t.Errorf("new document: %q, %v", first, err)
	}
}
