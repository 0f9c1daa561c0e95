package blobtest

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

var algorithms = []digest.Algorithm{digest.SHA256, digest.SHA512}

const mib5 = 5 << 20

// sizes pushes objects in one Append, below, at and above every boundary.
func sizes(g *rig) {
	small := []int{1, 2, 63, 64, 65, 4096, 100_001}
	var large []int
	for _, b := range append([]int{mib5}, g.opts.Boundaries...) {
		large = append(large, b-1, b, b+1)
	}
	for _, algorithm := range algorithms {
		all := slices.Concat(small, large)
		if g.opts.Quick && algorithm == digest.SHA512 {
			all = small
		}
		for _, n := range all {
			b := noise(n, n)
			g.wantObject(g.push(algorithm, b), b)
		}
	}
}

// chunks pushes objects in many Appends, the state stored in between.
func chunks(g *rig) {
	for _, c := range []struct {
		total int
		sizes []int // of the Appends, over and over
	}{
		{40, []int{1}},
		{1000, []int{1, 0, 7, 63, 128}},
		{300_000, []int{65_537, 3, 4095}},
		{2*mib5 + 10, []int{mib5 - 1, 1, mib5 + 1}},
		{2*mib5 + 10, []int{1, mib5, 2}},
		{2 * mib5, []int{mib5}},
		{mib5 + 1, []int{1_000_003}},
	} {
		for _, algorithm := range algorithms {
			if g.opts.Quick && algorithm == digest.SHA512 && c.total > mib5 {
				continue
			}
			b := noise(c.total, c.total)
			up := g.begin(algorithm)
			for i, rest := 0, b; len(rest) > 0; i++ {
				n := min(c.sizes[i%len(c.sizes)], len(rest))
				up = g.append(up, rest[:n])
				rest = rest[n:]
			}
			g.complete(up, b)
			g.wantObject(up.Key, b)
		}
	}
}

// empty makes objects of no bytes, without an Append and with empty ones.
func empty(g *rig) {
	for _, algorithm := range algorithms {
		for appends := range 3 {
			up := g.begin(algorithm)
			for range appends {
				up = g.append(up, nil)
			}
			g.complete(up, nil)
			g.wantObject(up.Key, nil)
		}
	}
}

// otherAlgorithm completes with a digest of an algorithm that did not run.
func otherAlgorithm(g *rig) {
	for _, n := range []int{0, 1, 100_000, mib5 + 1} {
		b := noise(3, n)
		for i, algorithm := range algorithms {
			other := algorithms[1-i]
			up := g.begin(algorithm)
			if n > 0 {
				up = g.append(up, b[:n/2])
				up = g.append(up, b[n/2:])
			}
			wrong := other.FromString("something else")
			g.wantError("Complete with a wrong digest", g.s.Complete(ctx, up, wrong), blob.ErrDigest)

			up = g.append(g.begin(algorithm), b)
			g.completeAs(up, other.FromBytes(b))
			g.wantObject(up.Key, b)
		}
	}
}

// wrongDigest is not accepted, and all that is left can be removed.
func wrongDigest(g *rig) {
	for _, n := range []int{0, 1, 5000, mib5 + 1} {
		for _, algorithm := range algorithms {
			b := noise(4, n)
			up := g.begin(algorithm)
			if n > 0 {
				up = g.append(up, b)
			}
			for _, wrong := range []digest.Digest{
				algorithm.FromString("something else"),
				algorithm.FromBytes(append(slices.Clone(b), 0)),
			} {
				g.wantError("Complete", g.s.Complete(ctx, up, wrong), blob.ErrDigest)
			}
			if n > 0 {
				g.wantError("Complete", g.s.Complete(ctx, up, algorithm.FromBytes(b[1:])), blob.ErrDigest)
			}
			g.abort(up)
			g.wantMissing(up.Key)
		}
	}
}

// repeatedComplete is what a client does whose connection broke before the
// answer. It changes nothing.
func repeatedComplete(g *rig) {
	for _, n := range []int{0, 1, 70_000, mib5 + 1} {
		b := noise(5, n)
		up := g.begin(digest.SHA256)
		if n > 0 {
			up = g.append(up, b)
		}
		for range 3 {
			g.complete(up, b)
			g.wantObject(up.Key, b)
		}
		g.completeAs(up, digest.SHA512.FromBytes(b))
		g.wantObject(up.Key, b)
	}
}

func (g *rig) abort(up blob.Upload) {
	g.Helper()
	if err := g.s.Abort(ctx, up); err != nil {
		g.Fatalf("Abort: %v", err)
	}
}

// abort works in every state of an upload, and again.
func abort(g *rig) {
	b := noise(6, mib5+1)
	for _, c := range []struct {
		name string
		prep func() blob.Upload
	}{
		{"before any Append", func() blob.Upload { return g.begin(digest.SHA256) }},
		{"after a small Append", func() blob.Upload { return g.append(g.begin(digest.SHA256), b[:10]) }},
		{"after a large Append", func() blob.Upload { return g.append(g.begin(digest.SHA256), b) }},
		{"after Complete", func() blob.Upload {
			up := g.append(g.begin(digest.SHA256), b)
			g.complete(up, b)
			return up
		}},
		{"with an old state", func() blob.Upload {
			old := g.begin(digest.SHA256)
			g.append(old, b)
			return old
		}},
	} {
		up := c.prep()
		for i := range 3 {
			if err := g.s.Abort(ctx, up); err != nil {
				g.Fatalf("Abort %s, try %d: %v", c.name, i, err)
			}
			g.wantMissing(up.Key)
		}
	}
}

// malformed arguments are errors wherever they come from, and touch nothing
// outside of the store.
func malformed(g *rig) {
	good := g.append(g.begin(digest.SHA256), []byte("x"))
	for _, key := range []string{
		"", "short77", "Upper-case", "under_score", "dotted.name", "../../escape", "/absolute", "slash/inside",
		`back\slash`, "nul\x00byte-", "späcial-chars", "spaced out", "new\nlines-", fmt.Sprintf("%0129d", 0),
	} {
		what := fmt.Sprintf("key %q: ", key)
		_, err := g.s.Begin(key, digest.SHA256)
		g.wantError(what+"Begin", err, blob.ErrKey)
		up := good
		up.Key = key
		_, err = g.s.Append(ctx, up, endless{}, 10)
		g.wantError(what+"Append", err, blob.ErrKey)
		g.wantError(what+"Complete", g.s.Complete(ctx, up, digest.FromString("x")), blob.ErrKey)
		g.wantError(what+"Abort", g.s.Abort(ctx, up), blob.ErrKey)
		_, err = g.s.Open(ctx, key, blob.AccessGet)
		g.wantError(what+"Open", err, blob.ErrKey)
		_, err = g.s.Read(ctx, key, blob.Range{Length: -1})
		g.wantError(what+"Read", err, blob.ErrKey)
		_, err = g.s.Stat(ctx, key)
		g.wantError(what+"Stat", err, blob.ErrKey)
		g.wantError(what+"Delete", g.s.Delete(ctx, key), blob.ErrKey)
	}
	for _, key := range []string{"exactly8", "--------", fmt.Sprintf("%0128d", 0)} {
		if _, err := g.s.Begin(key, digest.SHA256); err != nil {
			g.Fatalf("Begin with key %q: %v", key, err)
		}
	}
	for _, algorithm := range []digest.Algorithm{"", "md5", digest.SHA384, "SHA256"} {
		_, err := g.s.Begin(newKey(), algorithm)
		g.wantError(fmt.Sprintf("Begin with algorithm %q", algorithm), err, blob.ErrAlgorithm)
	}
	for _, want := range []digest.Digest{"", "sha256", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e",
		digest.SHA384.FromString("x")} {
		if err := g.s.Complete(ctx, good, want); err == nil {
			g.Fatalf("Complete with digest %q: no error", want)
		}
	}
	g.complete(good, []byte("x"))
	g.wantObject(good.Key, []byte("x"))
}
