package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
)

const (
	// maxInline is how many bytes wait in the upload's state: most image
	// configs fit, and then cost one PutObject altogether.
	maxInline = 4 << 10
	// firstBuffer is what an Append allocates before it knows how much comes.
	firstBuffer = 64 << 10
	// afterwards is how long clean-up may take when the caller's time is up.
	afterwards = 10 * time.Second
)

// Append hashes what comes and sends it in parts. Bytes that are too few for a
// part go to a tail object, or into the state if they are very few.
//
// When S3 fails or ctx ends, it returns the given state: what this call has
// sent is overwritten by the next, or expires.
func (s *Store) Append(ctx context.Context, up blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	next, err := s.append(ctx, up, r, limit)
	if err != nil {
		return next, fmt.Errorf("s3: append %s: %w", up.Key, err)
	}
	return next, nil
}

func (s *Store) append(ctx context.Context, up blob.Upload, r io.Reader, limit int64) (blob.Upload, error) {
	if err := check(ctx, up.Key); err != nil {
		return up, err
	}
	if up.Size > limit {
		return up, blob.ErrTooLarge
	}
	run, err := resume(up)
	if err != nil {
		return up, err
	}
	if err := s.shed(ctx, up.Key, run); err != nil {
		return up, err
	}
	begun := run.uploadID
	sending, stop := context.WithCancel(ctx)
	defer stop()
	g := s.gather(sending, up.Key, run)
	serr := g.pour(ctx, r, limit-up.Size)
	if serr == nil || errors.As(serr, new(*blob.SourceError)) {
		err = g.finish(ctx)
	} else {
		err, serr = serr, nil
	}
	if err == nil {
		next, err := advance(up, run)
		if err != nil {
			return up, err
		}
		return next, serr
	}
	if !errors.Is(err, context.Canceled) {
		stop()
	}
	// Nothing may be under way when this returns. If a part failed, all that
	// followed was cancelled, and the part says why.
	if werr := g.parts.wait(); werr != nil && errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = werr
	}
	if run.uploadID != begun {
		// No state will name it. If this fails, the bucket's rule ends it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
		defer cancel()
		s.endMultipart(ctx, up.Key, run.uploadID)
	}
	return up, err
}

// gatherer collects bytes until they are enough for a part.
//
//	buf  | tails, not loaded yet | inline | what came |
//	     0                      hole           fresh...
//
// The tails' place is left free, because most of the time they are not needed:
// only when there is enough for a part they are read, and the part is sent.
type gatherer struct {
	s     *Store
	key   string
	run   *running
	parts *sender

	buf   []byte
	hole  int // bytes at the front of buf that are still in the tails
	fresh int // bytes at the front of buf that run.rest has seen
	sent  bool
}

func (s *Store) gather(ctx context.Context, key string, run *running) *gatherer {
	g := &gatherer{s: s, key: key, run: run, parts: s.sender(ctx, key, run)}
	g.hole = int(run.tailed())
	g.fresh = g.hole + len(run.inline)
	g.buf = make([]byte, g.fresh, g.fresh+firstBuffer)
	copy(g.buf[g.hole:], run.inline)
	return g
}

// pour reads r to its end and sends parts as they fill. It takes no more than
// most bytes. An error of r comes as a SourceError.
//
// A part is cut only when another minimal part is there behind it. So what is
// left at the end is enough for a part itself, and an upload that comes as one
// stream never needs a tail.
func (g *gatherer) pour(ctx context.Context, r io.Reader, most int64) error {
	for idle := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		size := g.s.partSize(len(g.run.parts))
		full := int(size) + minPart
		if len(g.buf) >= full {
			if err := g.cut(ctx, int(size)); err != nil {
				return err
			}
			continue
		}
		if len(g.buf) == cap(g.buf) {
			g.buf = g.s.grow(g.buf, full)
		}
		n, err := r.Read(g.buf[len(g.buf):min(cap(g.buf), full)])
		if most -= int64(n); most < 0 {
			return blob.ErrTooLarge
		}
		g.run.hash.Write(g.buf[len(g.buf):][:n])
		g.buf = g.buf[:len(g.buf)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &blob.SourceError{Err: err}
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return &blob.SourceError{Err: io.ErrNoProgress}
		}
	}
}

// finish finds a place for what is left and waits for all of it to be there.
func (g *gatherer) finish(ctx context.Context) error {
	n := len(g.buf)
	switch {
	case n == g.hole+len(g.run.inline) && !g.sent: // nothing came
	case n >= g.s.leastPart(len(g.run.parts)) || g.sent && n >= minPart:
		if err := g.cut(ctx, n); err != nil {
			return err
		}
	default:
		if err := g.stash(ctx); err != nil {
			return err
		}
	}
	return g.parts.wait()
}

// cut sends the first n bytes as the next part; the others are the new buf.
func (g *gatherer) cut(ctx context.Context, n int) error {
	if err := g.load(ctx); err != nil {
		return err
	}
	buf, rest, fresh := g.buf, g.run.rest, g.fresh
	if n < len(buf) {
		size := g.s.partSize(len(g.run.parts) + 1)
		g.buf = append(g.s.buffer(int(size)+minPart), buf[n:]...)
	} else {
		g.buf = nil
	}
	if err := g.run.fold(); err != nil {
		return err
	}
	g.fresh, g.sent = 0, true
	return g.parts.send(ctx, buf, n, rest, fresh)
}

// load fills the hole.
func (g *gatherer) load(ctx context.Context) error {
	if g.hole == 0 {
		return nil
	}
	if err := g.s.loadTails(ctx, g.key, g.run.tails, g.buf[:g.hole]); err != nil {
		return err
	}
	g.hole = 0
	return nil
}

// stash keeps the bytes that are too few for a part.
func (g *gatherer) stash(ctx context.Context) error {
	came := g.buf[g.fresh:]
	if len(g.buf)-g.hole > maxInline && len(g.run.tails) == maxTails {
		// Make one tail of many, so that the state stays small.
		if err := g.load(ctx); err != nil {
			return err
		}
		rest := g.run.rest
		if err := g.run.fold(); err != nil {
			return err
		}
		g.run.rest = rest
	}
	g.run.rest.Write(came)
	waiting := g.buf[g.hole:]
	if len(waiting) <= maxInline {
		g.run.inline = slices.Clone(waiting)
		return nil
	}
	t, err := g.s.putTail(ctx, g.key, waiting)
	if err != nil {
		return err
	}
	g.run.tails, g.run.inline = append(g.run.tails, t), nil
	return nil
}
