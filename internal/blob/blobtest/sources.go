package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

var errBroken = errors.New("connection broken")

// breaking gives its bytes and then an error. With eager it gives the error
// together with the last bytes.
type breaking struct {
	b     []byte
	err   error
	eager bool
	last  func() // called before the error
}

func (r *breaking) Read(p []byte) (int, error) {
	n := copy(p, r.b)
	r.b = r.b[n:]
	if len(r.b) > 0 || n > 0 && !r.eager {
		return n, nil
	}
	if r.last != nil {
		r.last()
	}
	return n, r.err
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// limit refuses what passes it and leaves the upload as it was.
func limit(g *rig) {
	for _, n := range []int{0, 1, 600_000, mib5 + 1} {
		b := noise(7, n+1)
		for _, before := range []int{0, n / 3} {
			up := g.begin(digest.SHA256)
			if before > 0 {
				up = g.append(up, b[:before])
			}
			next, err := g.s.Append(ctx, up, bytes.NewReader(b[before:]), int64(n))
			g.wantError("Append of one byte too many", err, blob.ErrTooLarge)
			if !reflect.DeepEqual(g.stored(next), up) {
				g.Fatalf("Append of one byte too many changed the upload")
			}
			next, err = g.s.Append(ctx, up, bytes.NewReader(b[before:n]), int64(n))
			if err != nil {
				g.Fatalf("Append up to the limit of %d: %v", n, err)
			}
			g.wantSize(next, up, int64(n-before))
			up = g.stored(next)
			_, err = g.s.Append(ctx, up, bytes.NewReader(b[n:]), int64(n))
			g.wantError("Append behind the limit", err, blob.ErrTooLarge)
			g.complete(up, b[:n])
			g.wantObject(up.Key, b[:n])
		}
	}
}

// endlessSource is stopped by the limit.
func endlessSource(g *rig) {
	for _, limit := range []int64{0, 1000, mib5} {
		up := g.begin(digest.SHA256)
		_, err := g.s.Append(ctx, up, endless{}, limit)
		g.wantError("Append", err, blob.ErrTooLarge)
		g.abort(up)
	}
}

// failingSource goes on from the state that came with the error, and from the
// state before.
func failingSource(g *rig) {
	whole := noise(8, mib5+100_000)
	for _, before := range []int{0, 10, mib5} {
		for _, n := range []int{0, 1, 70_000, mib5 + 5} {
			for _, eager := range []bool{false, true} {
				for _, keep := range []bool{false, true} {
					if g.opts.Quick && eager != keep {
						continue
					}
					b := whole[:min(before+n+1000, len(whole))]
					n := min(n, len(b)-before)
					up := g.begin(digest.SHA512)
					if before > 0 {
						up = g.append(up, b[:before])
					}
					next, err := g.s.Append(ctx, up, &breaking{b: b[before:][:n], err: errBroken, eager: eager}, unlimited)
					g.wantSourceError(err, errBroken)
					g.wantSize(next, up, int64(n))
					if keep {
						up = g.stored(next)
					}
					up = g.append(up, b[up.Size:])
					g.complete(up, b)
					g.wantObject(up.Key, b)
				}
			}
		}
	}
	// A reader says that it was cut off by this error; it is not the end.
	up := g.begin(digest.SHA256)
	next, err := g.s.Append(ctx, up, &breaking{b: whole[:10], err: io.ErrUnexpectedEOF}, unlimited)
	g.wantSourceError(err, io.ErrUnexpectedEOF)
	g.wantSize(next, up, 10)
}

func (g *rig) wantSourceError(err, cause error) {
	g.Helper()
	var source *blob.SourceError
	if !errors.As(err, &source) || !errors.Is(err, cause) {
		g.Fatalf("Append from a failing source: error %v, want a SourceError of %v", err, cause)
	}
}

// shorterRetry leaves nothing of the longer try before, whether that failed or
// its answer got lost.
func shorterRetry(g *rig) {
	long := noise(9, mib5+700_000)
	for _, before := range []int{0, 5, mib5} {
		for _, short := range [][]byte{nil, noise(10, 3), noise(11, 600_000)} {
			up := g.begin(digest.SHA256)
			if before > 0 {
				up = g.append(up, long[:before])
			}
			_, err := g.s.Append(ctx, up, &breaking{b: long, err: errBroken}, unlimited)
			g.wantSourceError(err, errBroken)
			g.append(up, long)

			want := append(bytes.Clone(long[:before]), short...)
			if len(short) > 0 { // else Complete has to cut off the rest itself
				up = g.append(up, short)
			}
			g.complete(up, want)
			g.wantObject(up.Key, want)
		}
	}
}

// repeatedAppend from the same state gives the same each time.
func repeatedAppend(g *rig) {
	b := noise(12, mib5+20)
	old := g.append(g.begin(digest.SHA256), b[:10])
	for range 3 {
		mid := g.append(old, b[10:mib5])
		up := g.append(mid, b[mib5:])
		up = g.append(mid, b[mib5:])
		g.complete(up, b)
		g.wantObject(up.Key, b)
	}
}

// cancelled calls fail with the context's error; what Append had read by then
// may or may not be kept, and either state goes on.
func cancelled(g *rig) {
	b := noise(13, mib5+200_000)
	gone, cancel := context.WithCancel(ctx)
	cancel()

	up := g.append(g.begin(digest.SHA256), b[:1000])
	_, err := g.s.Append(gone, up, bytes.NewReader(b[1000:]), unlimited)
	g.wantError("Append", err, context.Canceled)
	g.wantError("Complete", g.s.Complete(gone, up, digest.FromBytes(b[:1000])), context.Canceled)
	g.complete(up, b[:1000])
	_, err = g.s.Read(gone, up.Key, blob.Range{Length: -1})
	g.wantError("Read", err, context.Canceled)
	_, err = g.s.Stat(gone, up.Key)
	g.wantError("Stat", err, context.Canceled)
	g.wantError("Delete", g.s.Delete(gone, up.Key), context.Canceled)
	g.wantObject(up.Key, b[:1000])

	for _, keep := range []bool{false, true} {
		for _, err := range []error{nil, errBroken} { // the reader notices, or not
			c, cancel := context.WithCancel(ctx)
			up := g.begin(digest.SHA256)
			var r io.Reader = &breaking{b: b[:mib5], err: err, last: cancel}
			if err == nil {
				rest := iotest.OneByteReader(bytes.NewReader(b[mib5:]))
				r = io.MultiReader(&breaking{b: b[:mib5], err: io.EOF, last: cancel}, rest)
			}
			next, err := g.s.Append(c, up, r, unlimited)
			if err == nil {
				g.Fatalf("Append whose context ended: no error")
			}
			if next.Size < up.Size || next.Size > int64(len(b)) {
				g.Fatalf("Append whose context ended has %d of %d bytes", next.Size, len(b))
			}
			if keep {
				up = g.stored(next)
			}
			up = g.append(up, b[up.Size:])
			g.complete(up, b)
			g.wantObject(up.Key, b)
		}
	}
}
