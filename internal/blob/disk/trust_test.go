package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

var ctx = context.Background()

const key = "an-object-of-the-test"

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}

func mustOpen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustAppend(t *testing.T, s *Store, up blob.Upload, b []byte) blob.Upload {
	t.Helper()
	up, err := s.Append(ctx, up, bytes.NewReader(b), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func begun(t *testing.T, s *Store) blob.Upload {
	t.Helper()
	up, err := s.Begin(key, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func pathOf(t *testing.T, s *Store, key string) string {
	t.Helper()
	_, path, err := s.place(key)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// edit changes the bytes of a file, as a crash of the machine may.
func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

var damages = []struct {
	name   string
	change func([]byte) []byte
	want   error // nil: harmless
}{
	{"nothing", func(b []byte) []byte { return b }, nil},
	{"first byte", func(b []byte) []byte { b[0] ^= 1; return b }, blob.ErrLost},
	{"last byte", func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b }, blob.ErrLost},
	{"zeros in the middle", func(b []byte) []byte { clear(b[len(b)/2:][:4096]); return b }, blob.ErrLost},
	{"zeros at the end", func(b []byte) []byte { clear(b[len(b)-4096:]); return b }, blob.ErrLost},
	{"all zeros", func(b []byte) []byte { clear(b); return b }, blob.ErrLost},
	{"shorter", func(b []byte) []byte { return b[:len(b)-1] }, blob.ErrLost},
	{"empty", func([]byte) []byte { return nil }, blob.ErrLost},
	{"longer", func(b []byte) []byte { return append(b, "rest of a crashed append"...) }, nil},
}

// TestDamageBetweenRuns damages the file of an upload between two runs of the
// engine. The row with the hash has survived, and the hash is right.
func TestDamageBetweenRuns(t *testing.T) {
	b := noise(1_500_000)
	tail := []byte("appended after the crash")
	for _, d := range damages {
		for _, continued := range []bool{false, true} {
			for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
				dir := t.TempDir()
				s := mustOpen(t, dir)
				up := mustAppend(t, s, begun(t, s), b)
				edit(t, pathOf(t, s, key), d.change)

				s = mustOpen(t, dir)
				want, err := b, error(nil)
				if continued {
					want = slices.Concat(b, tail)
					up, err = s.Append(ctx, up, bytes.NewReader(tail), 1<<40)
				}
				if err == nil {
					err = s.Complete(ctx, up, algorithm.FromBytes(want))
				}
				if !errors.Is(err, d.want) {
					t.Errorf("%s, continued %v, %s: error %v, want %v", d.name, continued, algorithm, err, d.want)
				}
				if err != nil {
					continue
				}
				if got, err := os.ReadFile(pathOf(t, s, key)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, continued %v, %s: other bytes accepted (%v)", d.name, continued, algorithm, err)
				}
			}
		}
	}
}

// TestDamageWithinRun: what needs no second reading is noticed at all times.
func TestDamageWithinRun(t *testing.T) {
	b := noise(700_000)
	for _, d := range damages {
		if d.name != "nothing" && d.name != "shorter" && d.name != "empty" && d.name != "longer" {
			continue
		}
		s := mustOpen(t, t.TempDir())
		up := mustAppend(t, s, begun(t, s), b)
		edit(t, pathOf(t, s, key), d.change)
		if err := s.Complete(ctx, up, digest.FromBytes(b)); !errors.Is(err, d.want) {
			t.Errorf("%s: Complete: error %v, want %v", d.name, err, d.want)
		}
		if _, err := s.Append(ctx, up, bytes.NewReader(nil), 1<<40); !errors.Is(err, d.want) {
			t.Errorf("%s: Append: error %v, want %v", d.name, err, d.want)
		}
	}
	s := mustOpen(t, t.TempDir())
	up := mustAppend(t, s, begun(t, s), b)
	if err := os.Remove(pathOf(t, s, key)); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(ctx, up, digest.FromBytes(b)); !errors.Is(err, blob.ErrLost) {
		t.Errorf("removed: Complete: error %v, want ErrLost", err)
	}
	if _, err := s.Append(ctx, up, bytes.NewReader(b), 1<<40); !errors.Is(err, blob.ErrLost) {
		t.Errorf("removed: Append: error %v, want ErrLost", err)
	}
}

// TestFailedSync: after an fsync that failed, the kernel takes the pages for
// clean and a second fsync succeeds. Nothing may be believed by that.
func TestFailedSync(t *testing.T) {
	b := noise(100_000)
	s := mustOpen(t, t.TempDir())
	up := mustAppend(t, s, begun(t, s), b)
	works := s.sync
	s.sync = func(*os.File) error { return syscall.EIO }
	if err := s.Complete(ctx, up, digest.FromBytes(b)); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Complete: error %v, want EIO", err)
	}
	s.sync = works
	edit(t, pathOf(t, s, key), func(b []byte) []byte { clear(b[4096:8192]); return b })
	if err := s.Complete(ctx, up, digest.FromBytes(b)); !errors.Is(err, blob.ErrLost) {
		t.Errorf("Complete of lost bytes: error %v, want ErrLost", err)
	}
	edit(t, pathOf(t, s, key), func([]byte) []byte { return b })
	if err := s.Complete(ctx, up, digest.FromBytes(b)); err != nil {
		t.Errorf("Complete of whole bytes: %v", err)
	}
}

// TestLateComplete: an old state of the upload does not cut the object.
func TestLateComplete(t *testing.T) {
	b := noise(10_000)
	dir := t.TempDir()
	s := mustOpen(t, dir)
	old := mustAppend(t, s, begun(t, s), b[:5000])
	up := mustAppend(t, s, old, b[5000:])
	if err := s.Complete(ctx, up, digest.FromBytes(b)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, mustOpen(t, dir)} {
		for _, late := range []blob.Upload{begun(t, s), old} {
			for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
				if err := s.Complete(ctx, late, algorithm.FromBytes(b)); !errors.Is(err, blob.ErrDigest) {
					t.Errorf("late Complete: error %v, want ErrDigest", err)
				}
			}
		}
		if n, err := s.Stat(ctx, key); err != nil || n != 10_000 {
			t.Errorf("Stat after a late Complete = %d, %v", n, err)
		}
	}
}

// TestForeignState: a state that is not what Append returned is refused.
func TestForeignState(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	b := noise(1000)
	good := mustAppend(t, s, begun(t, s), b)
	for name, change := range map[string]func(*blob.Upload){
		"none":              func(up *blob.Upload) { up.State = nil },
		"cut":               func(up *blob.Upload) { up.State = up.State[:len(up.State)-1] },
		"only the head":     func(up *blob.Upload) { up.State = up.State[:hashOffset] },
		"other version":     func(up *blob.Upload) { up.State[0]++ },
		"other size":        func(up *blob.Upload) { up.Size-- },
		"negative size":     func(up *blob.Upload) { up.Size = -5 },
		"other algorithm":   func(up *blob.Upload) { up.Algorithm = digest.SHA512 },
		"unknown algorithm": func(up *blob.Upload) { up.Algorithm = "md5" },
		"negative in both": func(up *blob.Upload) {
			up.Size = -5
			binary.BigEndian.PutUint64(up.State[sizeOffset:], 1<<64-5)
		},
	} {
		up := good
		up.State = bytes.Clone(good.State)
		change(&up)
		if _, err := s.Append(ctx, up, bytes.NewReader(nil), 1<<40); !errors.Is(err, errState) {
			t.Errorf("%s: Append: error %v, want %v", name, err, errState)
		}
		if err := s.Complete(ctx, up, digest.FromBytes(b)); !errors.Is(err, errState) {
			t.Errorf("%s: Complete: error %v, want %v", name, err, errState)
		}
	}
	if err := s.Complete(ctx, good, digest.FromBytes(b)); err != nil {
		t.Errorf("Complete after refusals: %v", err)
	}
}

// TestSyncs counts what Complete makes durable.
func TestSyncs(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	s := mustOpen(t, root)
	var synced []string
	works := s.sync
	s.sync = func(f *os.File) error {
		synced = append(synced, f.Name())
		return works(f)
	}
	b := noise(600_000)
	path := pathOf(t, s, key)
	shard := filepath.Dir(path)
	// The shard is there from another run that may have ended before its sync.
	if err := os.Mkdir(shard, 0o700); err != nil {
		t.Fatal(err)
	}
	up := mustAppend(t, s, begun(t, s), b)
	if len(synced) > 0 {
		t.Errorf("Append synced %q", synced)
	}
	for i, want := range [][]string{{path, shard, root}, {path, shard}} {
		synced = nil
		if err := s.Complete(ctx, up, digest.FromBytes(b)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(synced, want) {
			t.Errorf("Complete %d synced %q, want %q", i, synced, want)
		}
	}
	// By another run: one reading, no sync more.
	s2 := mustOpen(t, root)
	synced = nil
	s2.sync = s.sync
	if err := s2.Complete(ctx, up, digest.FromBytes(b)); err != nil {
		t.Fatal(err)
	}
	if want := []string{path, shard, root}; !slices.Equal(synced, want) {
		t.Errorf("Complete by another run synced %q, want %q", synced, want)
	}
	synced = nil
	if err := s.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	if want := []string{shard}; !slices.Equal(synced, want) {
		t.Errorf("Delete synced %q, want %q", synced, want)
	}
}
