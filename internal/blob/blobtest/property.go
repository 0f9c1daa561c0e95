package blobtest

import (
	"bytes"
	"context"
	"io"

	"pgregory.net/rapid"

	"github.com/slipway-oci/slipway/internal/blob"
)

// anySplit: however content is split into Appends, whichever of them fail and
// from whichever state the caller goes on, the object is the content.
func anySplit(g *rig) {
	rapid.Check(g.t, func(t *rapid.T) {
		(&rig{tb: t, t: g.t, s: g.s, opts: g.opts}).split(t)
	})
}

func (g *rig) split(t *rapid.T) {
	// Small ones for many steps, a few that pass an engine's buffer.
	most := rapid.SampledFrom([]int{0, 3, 200, 70_000, 1_200_000}).Draw(t, "most")
	b := noise(rapid.IntRange(0, 1000).Draw(t, "seed"), rapid.IntRange(0, most).Draw(t, "size"))
	algorithm := rapid.SampledFrom(algorithms).Draw(t, "algorithm")
	wanted := rapid.SampledFrom(algorithms).Draw(t, "wanted")

	up := g.begin(algorithm)
	old := []blob.Upload{up} // states that a caller may have kept
	fails := rapid.IntRange(0, 6).Draw(t, "fails")
	for {
		rest := b[up.Size:]
		n := len(rest)
		if n > 0 && rapid.Bool().Draw(t, "part") {
			n = rapid.IntRange(0, n).Draw(t, "n")
		}
		way := "whole"
		if fails > 0 {
			way = rapid.SampledFrom([]string{"whole", "broken", "garbage", "limit", "cancelled", "back"}).Draw(t, "way")
		}
		if way != "whole" {
			fails--
		}
		var next blob.Upload
		var err error
		switch way {
		case "whole":
			next = g.append(up, rest[:n])
		case "broken":
			eager := rapid.Bool().Draw(t, "eager")
			next, err = g.s.Append(ctx, up, &breaking{b: rest[:n], err: errBroken, eager: eager}, unlimited)
			g.wantSourceError(err, errBroken)
			g.wantSize(next, up, int64(n))
		case "garbage": // another body, whose state the caller never got
			garbage := rapid.IntRange(0, most+10).Draw(t, "garbage")
			g.append(up, noise(1001, garbage))
			next = up
		case "limit":
			next, err = g.s.Append(ctx, up, bytes.NewReader(append(bytes.Clone(rest[:n]), 0)), up.Size+int64(n))
			g.wantError("Append", err, blob.ErrTooLarge)
			g.wantSize(next, up, 0)
		case "cancelled":
			c, cancel := context.WithCancel(ctx)
			next, err = g.s.Append(c, up, &breaking{b: rest[:n], err: io.ErrClosedPipe, last: cancel}, unlimited)
			cancel()
			if err == nil {
				g.Fatalf("Append whose context ended: no error")
			}
		case "back":
			next = rapid.SampledFrom(old).Draw(t, "old")
			old = nil // the states behind it are void
		}
		if next = g.stored(next); rapid.Bool().Draw(t, "keep") || way == "whole" || way == "back" {
			up = next
		}
		old = append(old, up)
		if int(up.Size) == len(b) && rapid.Bool().Draw(t, "done") {
			break
		}
	}
	g.completeAs(up, wanted.FromBytes(b))
	g.wantObject(up.Key, b)
	if err := g.s.Delete(ctx, up.Key); err != nil {
		g.Fatalf("Delete: %v", err)
	}
}
