package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// TestContentIsFile: only an *os.File is sent without copying.
func TestContentIsFile(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	up := mustAppend(t, s, begun(t, s), []byte("content"))
	if err := s.Complete(ctx, up, digest.FromString("content")); err != nil {
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

// TestLayout: private files and folders, made when they are needed.
func TestLayout(t *testing.T) {
	root := filepath.Join(t.TempDir(), "above", "store")
	s := mustOpen(t, root)
	up := begun(t, s)
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 0 {
		t.Fatalf("after Open and Begin the folder has %v, %v; want nothing", entries, err)
	}
	if err := s.Abort(ctx, up); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, up, []byte("x"))
	path := pathOf(t, s, key)
	if rel, err := filepath.Rel(root, path); err != nil || len(rel) != len("3f/")+len(key) {
		t.Errorf("file at %q, %v; want a shard and the key", rel, err)
	}
	for path, want := range map[string]os.FileMode{
		filepath.Dir(root): os.ModeDir | 0o700,
		root:               os.ModeDir | 0o700,
		filepath.Dir(path): os.ModeDir | 0o700,
		path:               0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
}

// TestShards: keys that look alike are spread.
func TestShards(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	seen := map[int]int{}
	const keys = 256 * 50
	for i := range keys {
		shard, _, err := s.place("upload-2026-01-01-" + string([]byte{
			'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676%26)}) + "-constant-end")
		if err != nil {
			t.Fatal(err)
		}
		seen[shard]++
	}
	for shard := range shards {
		if n := seen[shard]; n < 10 || n > 200 {
			t.Errorf("shard %02x has %d of %d keys", shard, n, keys)
		}
	}
}

// TestRootGone: the engine does not make the folder a second time. If it is
// gone, its volume is, and writing below would fill another disk.
func TestRootGone(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	s := mustOpen(t, root)
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, begun(t, s), bytes.NewReader([]byte("x")), 10); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Append: error %v, want not exist", err)
	}
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is back: %v", err)
	}
}

func TestOpenOnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		if _, err := Open(dir, Options{}); err == nil {
			t.Errorf("Open(%s): no error", dir)
		}
	}
}

// TestDiskFull writes to a device that is always full.
func TestDiskFull(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	s := mustOpen(t, t.TempDir())
	up := begun(t, s)
	path := pathOf(t, s, key)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(full, path); err != nil {
		t.Fatal(err)
	}
	next, err := s.Append(ctx, up, bytes.NewReader([]byte("x")), 10)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Append: error %v, want ENOSPC", err)
	}
	if errors.As(err, new(*blob.SourceError)) {
		t.Errorf("Append: error %v is a SourceError: the client is not to blame", err)
	}
	if next.Size != 0 || next.State != nil {
		t.Errorf("Append = %+v, want the upload unchanged", next)
	}
}

// TestAppendCutsRest: what a crashed Append left does not stay behind a shorter
// one until Complete.
func TestAppendCutsRest(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	up := mustAppend(t, s, begun(t, s), noise(100))
	edit(t, pathOf(t, s, key), func(b []byte) []byte { return append(b, noise(5000)...) })
	mustAppend(t, s, up, noise(50))
	if info, err := os.Stat(pathOf(t, s, key)); err != nil || info.Size() != 150 {
		t.Errorf("file after the Append: %v, %v; want 150 bytes", info.Size(), err)
	}
}

// TestFailedAppendFreesSpace: bytes behind the upload go when the try ends.
func TestFailedAppendFreesSpace(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	up := mustAppend(t, s, begun(t, s), noise(100))
	if _, err := s.Append(ctx, up, bytes.NewReader(noise(5<<20)), 4<<20); !errors.Is(err, blob.ErrTooLarge) {
		t.Fatalf("Append: error %v, want ErrTooLarge", err)
	}
	if info, err := os.Stat(pathOf(t, s, key)); err != nil || info.Size() != 100 {
		t.Errorf("file after a refused Append: %v, %v; want 100 bytes", info.Size(), err)
	}
}
