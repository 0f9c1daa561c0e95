package blob_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/disk"
)

var (
	ctx       = context.Background()
	errInject = errors.New("injected")
)

const key = "key-of-the-test"

func open(t *testing.T) blob.Store {
	t.Helper()
	s, err := disk.Open(t.TempDir(), disk.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// life calls everything once. It stops at the first error.
func life(s blob.Store) error {
	up, err := s.Begin(key, digest.SHA256)
	if err != nil {
		return err
	}
	if up, err = s.Append(ctx, up, strings.NewReader("hello"), 100); err != nil {
		return err
	}
	if up, err = s.Append(ctx, up, strings.NewReader(" world"), 100); err != nil {
		return err
	}
	if err := s.Complete(ctx, up, digest.FromString("hello world")); err != nil {
		return err
	}
	if _, err := s.Stat(ctx, key); err != nil {
		return err
	}
	for _, r := range []blob.Range{{Length: -1}, {Offset: 9, Length: 5}} {
		rc, err := s.Read(ctx, key, r)
		if err != nil {
			return err
		}
		if err := rc.Close(); err != nil {
			return err
		}
	}
	src, err := s.Open(ctx, key, blob.AccessGet)
	if err != nil {
		return err
	}
	if err := src.Content.Close(); err != nil {
		return err
	}
	if err := s.Delete(ctx, key); err != nil {
		return err
	}
	return s.Abort(ctx, up)
}

func TestCounter(t *testing.T) {
	var c blob.Counter
	s := blob.WithHook(open(t), c.Hook())
	if err := life(s); err != nil {
		t.Fatal(err)
	}
	want := map[blob.Op]blob.Count{
		blob.OpAppend:   {Calls: 2, Bytes: 11},
		blob.OpComplete: {Calls: 1, Bytes: 11},
		blob.OpStat:     {Calls: 1},
		blob.OpRead:     {Calls: 2, Bytes: 11 + 2},
		blob.OpOpen:     {Calls: 1},
		blob.OpDelete:   {Calls: 1},
		blob.OpAbort:    {Calls: 1},
	}
	if got := c.Snapshot(); !maps.Equal(got, want) {
		t.Errorf("Snapshot = %v, want %v", got, want)
	}
	c.Reset()
	if got := c.Snapshot(); len(got) != 0 {
		t.Errorf("Snapshot after Reset = %v", got)
	}
	// Failed calls count, with what they moved.
	up, err := s.Begin(key, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	s.Append(ctx, up, io.MultiReader(strings.NewReader("abc"), failing{}), 100)
	if got := c.Snapshot()[blob.OpAppend]; got != (blob.Count{Calls: 1, Bytes: 3}) {
		t.Errorf("failed Append counts as %+v", got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errInject }

// TestBefore: the call is not made, and After not called.
func TestBefore(t *testing.T) {
	for _, op := range []blob.Op{blob.OpAppend, blob.OpComplete, blob.OpStat, blob.OpRead, blob.OpOpen, blob.OpDelete, blob.OpAbort} {
		var c blob.Counter
		s := blob.WithHook(open(t), c.Hook())
		s = blob.WithHook(s, blob.Hook{
			Before: func(call blob.Call) error {
				if call.Key != key || call.Duration != 0 {
					t.Errorf("Before got %+v", call)
				}
				if call.Op == op {
					return errInject
				}
				return nil
			},
			After: func(call blob.Call, err error) error {
				if call.Op == op || call.Key != key || call.Duration <= 0 {
					t.Errorf("%s: After got %+v", op, call)
				}
				return err
			},
		})
		if err := life(s); !errors.Is(err, errInject) {
			t.Errorf("%s: error %v, want the injected", op, err)
		}
		if n := c.Snapshot()[op].Calls; n != 0 {
			t.Errorf("%s: the store was called", op)
		}
	}
}

// TestAfter: an error after success hides the answer, not the effect.
func TestAfter(t *testing.T) {
	for _, op := range []blob.Op{blob.OpAppend, blob.OpComplete, blob.OpStat, blob.OpRead, blob.OpOpen, blob.OpDelete, blob.OpAbort} {
		inner := open(t)
		s := blob.WithHook(inner, blob.Hook{After: func(call blob.Call, err error) error {
			if call.Op == op && err == nil {
				return errInject
			}
			return err
		}})
		if err := life(s); !errors.Is(err, errInject) {
			t.Errorf("%s: error %v, want the injected", op, err)
		}
	}
	inner := open(t)
	s := blob.WithHook(inner, blob.Hook{After: func(blob.Call, error) error { return errInject }})
	up, err := s.Begin(key, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.Append(ctx, up, strings.NewReader("hello"), 100)
	if !errors.Is(err, errInject) || next.Size != 0 {
		t.Errorf("Append = %d bytes, %v; want the old state and the injected error", next.Size, err)
	}
	if n, err := inner.Stat(ctx, key); err != nil || n != 5 {
		t.Errorf("after the append whose answer got lost: %d, %v; want 5 bytes", n, err)
	}
	if src, err := s.Open(ctx, key, blob.AccessGet); err == nil || src.Content != nil {
		t.Errorf("Open = %v, %v; want nothing and an error", src, err)
	}
	// An error may be replaced by success as well.
	s = blob.WithHook(inner, blob.Hook{After: func(blob.Call, error) error { return nil }})
	if _, err := s.Stat(ctx, "no-such-object"); err != nil {
		t.Errorf("Stat: %v", err)
	}
}

// TestInterrupted: the state so far passes the decorator.
func TestInterrupted(t *testing.T) {
	s := blob.WithHook(open(t), blob.Hook{})
	up, err := s.Begin(key, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.Append(ctx, up, io.MultiReader(strings.NewReader("abc"), failing{}), 100)
	if !errors.As(err, new(*blob.SourceError)) || next.Size != 3 {
		t.Errorf("Append = %d bytes, %v; want 3 and a SourceError", next.Size, err)
	}
}

// TestContentStaysFile: sendfile works through any number of decorators.
func TestContentStaysFile(t *testing.T) {
	var c blob.Counter
	s := blob.WithHook(blob.WithHook(open(t), c.Hook()), blob.Hook{
		After: func(_ blob.Call, err error) error { return err },
	})
	up, err := s.Begin(key, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(ctx, up, digest.FromString("")); err != nil {
		t.Fatal(err)
	}
	src, err := s.Open(ctx, key, blob.AccessGet)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Content.Close()
	if _, ok := src.Content.(*os.File); !ok {
		t.Errorf("Content is a %T, want *os.File", src.Content)
	}
}
