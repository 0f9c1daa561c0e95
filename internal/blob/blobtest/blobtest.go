// Package blobtest proves that an engine keeps the contract of package blob.
// Every engine's own tests call Run and, with a folder or bucket that outlives
// the store, RunDurable.
package blobtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// Options describe what an engine does differently. The zero value is an engine
// that carries all bytes itself.
type Options struct {
	// Fetch follows a redirect and returns the answer's body, or for
	// AccessHead as many bytes as its Content-Length says. An engine that
	// redirects needs it.
	Fetch func(t *testing.T, r blob.Redirect, access blob.Access) []byte
	// OpensMissing says that Open redirects without looking, so that a missing
	// object is no error.
	OpensMissing bool
	// Boundaries are sizes in bytes at which the engine does something else:
	// its buffer, its parts. 5 MiB is always tried.
	Boundaries []int
	// Quick leaves out the sizes around boundaries for sha512 and most of the
	// repetitions, for engines behind a slow stand-in.
	Quick bool
}

// unlimited is a limit that no test reaches.
const unlimited = 1 << 40

// Run runs the suite. open returns a store that may be empty or not; the suite
// uses keys of its own. Whatever has to be closed, open registers with t.
func Run(t *testing.T, open func(t *testing.T) blob.Store, opts Options) {
	for _, c := range []struct {
		name string
		run  func(*rig)
	}{
		{"Sizes", sizes},
		{"Chunks", chunks},
		{"Empty", empty},
		{"OtherAlgorithm", otherAlgorithm},
		{"WrongDigest", wrongDigest},
		{"Limit", limit},
		{"EndlessSource", endlessSource},
		{"FailingSource", failingSource},
		{"ShorterRetry", shorterRetry},
		{"RepeatedAppend", repeatedAppend},
		{"Cancelled", cancelled},
		{"RepeatedComplete", repeatedComplete},
		{"Abort", abort},
		{"Malformed", malformed},
		{"Missing", missing},
		{"Ranges", ranges},
		{"Seek", seek},
		{"Delete", deletion},
		{"Concurrent", concurrent},
		{"AnySplit", anySplit},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(&rig{tb: t, t: t, s: open(t), opts: opts})
		})
	}
}

// tb is what *testing.T and *rapid.T have in common here.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// rig is a store under test with the steps that most cases consist of. Each
// step fails the test if the store does.
type rig struct {
	tb
	t    *testing.T
	s    blob.Store
	opts Options
}

var ctx = context.Background()

var (
	keyPrefix = hex.EncodeToString(binary8(rand.Uint64()))
	keyCount  atomic.Int64
)

func binary8(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}

// newKey returns a key that no other run uses, in case the store outlives it.
func newKey() string { return fmt.Sprintf("blobtest-%s-%d", keyPrefix, keyCount.Add(1)) }

// noise returns bytes that do not repeat, the same for the same arguments.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// stored returns the upload as it comes back from the caller's row.
func (g *rig) stored(up blob.Upload) blob.Upload {
	g.Helper()
	row, err := json.Marshal(up)
	if err != nil {
		g.Fatalf("encode the upload: %v", err)
	}
	var back blob.Upload
	if err := json.Unmarshal(row, &back); err != nil {
		g.Fatalf("decode the upload: %v", err)
	}
	return back
}

func (g *rig) begin(algorithm digest.Algorithm) blob.Upload {
	g.Helper()
	key := newKey()
	up, err := g.s.Begin(key, algorithm)
	if err != nil {
		g.Fatalf("Begin: %v", err)
	}
	if up.Key != key || up.Algorithm != algorithm || up.Size != 0 {
		g.Fatalf("Begin(%q, %q) = %+v", key, algorithm, up)
	}
	return g.stored(up)
}

func (g *rig) append(up blob.Upload, b []byte) blob.Upload {
	g.Helper()
	next, err := g.s.Append(ctx, up, bytes.NewReader(b), unlimited)
	if err != nil {
		g.Fatalf("Append of %d bytes at %d: %v", len(b), up.Size, err)
	}
	g.wantSize(next, up, int64(len(b)))
	return g.stored(next)
}

// wantSize checks that next is up with n more bytes.
func (g *rig) wantSize(next, up blob.Upload, n int64) {
	g.Helper()
	if next.Key != up.Key || next.Algorithm != up.Algorithm || next.Size != up.Size+n {
		g.Fatalf("Append of %d bytes: state of %s, %s, %d bytes became %s, %s, %d bytes",
			n, up.Key, up.Algorithm, up.Size, next.Key, next.Algorithm, next.Size)
	}
}

func (g *rig) complete(up blob.Upload, b []byte) {
	g.Helper()
	g.completeAs(up, up.Algorithm.FromBytes(b))
}

func (g *rig) completeAs(up blob.Upload, want digest.Digest) {
	g.Helper()
	if err := g.s.Complete(ctx, up, want); err != nil {
		g.Fatalf("Complete of %d bytes: %v", up.Size, err)
	}
}

// push makes an object of the bytes by one Append.
func (g *rig) push(algorithm digest.Algorithm, b []byte) (key string) {
	g.Helper()
	up := g.append(g.begin(algorithm), b)
	g.complete(up, b)
	return up.Key
}

// wantError checks that err is target.
func (g *rig) wantError(what string, err, target error) {
	g.Helper()
	if !errors.Is(err, target) {
		g.Fatalf("%s: error %v, want %v", what, err, target)
	}
}

// wantObject checks all ways to an object: they tell exactly these bytes.
func (g *rig) wantObject(key string, want []byte) {
	g.Helper()
	size, err := g.s.Stat(ctx, key)
	if err != nil || size != int64(len(want)) {
		g.Fatalf("Stat = %d, %v; want %d bytes", size, err, len(want))
	}
	rc, err := g.s.Read(ctx, key, blob.Range{Length: -1})
	if err != nil {
		g.Fatalf("Read: %v", err)
	}
	got, err := io.ReadAll(rc)
	if cerr := rc.Close(); err != nil || cerr != nil {
		g.Fatalf("Read: %v, Close: %v", err, cerr)
	}
	g.wantBytes("Read", got, want)
	g.wantBytes("Open for GET", g.fetch(key, blob.AccessGet), want)
	if got := g.fetch(key, blob.AccessHead); len(got) != len(want) {
		g.Fatalf("Open for HEAD: %d bytes, want %d", len(got), len(want))
	}
}

// fetch returns what a client gets by way of Open.
func (g *rig) fetch(key string, access blob.Access) []byte {
	g.Helper()
	src, err := g.s.Open(ctx, key, access)
	if err != nil {
		g.Fatalf("Open: %v", err)
	}
	if (src.Content == nil) == (src.Redirect == nil) {
		g.Fatalf("Open = %+v, want exactly one field set", src)
	}
	if src.Redirect != nil {
		if g.opts.Fetch == nil {
			g.Fatalf("Open redirects to %s, and Options have no Fetch", src.Redirect.URL)
		}
		return g.opts.Fetch(g.t, *src.Redirect, access)
	}
	b, err := io.ReadAll(src.Content)
	if cerr := src.Content.Close(); err != nil || cerr != nil {
		g.Fatalf("read the opened object: %v, Close: %v", err, cerr)
	}
	return b
}

func (g *rig) wantBytes(what string, got, want []byte) {
	g.Helper()
	if len(got) != len(want) {
		g.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			g.Fatalf("%s: byte %d of %d differs", what, i, len(want))
		}
	}
}

// wantMissing checks that no way leads to an object.
func (g *rig) wantMissing(key string) {
	g.Helper()
	_, err := g.s.Stat(ctx, key)
	g.wantError("Stat", err, blob.ErrNotFound)
	_, err = g.s.Read(ctx, key, blob.Range{Length: -1})
	g.wantError("Read", err, blob.ErrNotFound)
	if g.opts.OpensMissing {
		return
	}
	for _, access := range []blob.Access{blob.AccessGet, blob.AccessHead} {
		_, err = g.s.Open(ctx, key, access)
		g.wantError("Open for "+string(access), err, blob.ErrNotFound)
	}
}
