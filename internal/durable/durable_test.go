package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/slipway-oci/slipway/internal/durable"
)

func TestMakeDir(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	var synced []string
	sync := func(f *os.File) error {
		synced = append(synced, f.Name())
		return nil
	}
	if err := durable.MakeDir(dir, sync); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Dir(root), root, filepath.Join(root, "a"), filepath.Join(root, "a", "b")}
	if !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}
	for p := dir; p != root; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", p, info, err)
		}
	}
	if err := durable.MakeDir(dir, (*os.File).Sync); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// A run that is killed before any of its syncs leaves nothing that the next one
// takes for durable.
func TestMakeDirAfterAKill(t *testing.T) {
	for kill := range 4 {
		root := t.TempDir()
		dir := filepath.Join(root, "a", "b", "c")
		durableIn := map[string]bool{}
		n := 0
		errKilled := errors.New("killed")
		err := durable.MakeDir(dir, func(f *os.File) error {
			if n++; n > kill {
				return errKilled
			}
			durableIn[f.Name()] = true
			return nil
		})
		if !errors.Is(err, errKilled) {
			t.Fatalf("kill %d: %v", kill, err)
		}
		if err := durable.MakeDir(dir, func(f *os.File) error { durableIn[f.Name()] = true; return nil }); err != nil {
			t.Fatal(err)
		}
		for p := filepath.Dir(dir); len(p) >= len(root); p = filepath.Dir(p) {
			if !durableIn[p] {
				t.Errorf("killed at sync %d: what is in %s may get lost", kill, p)
			}
		}
	}
}

func TestMakeDirRefuses(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if err := durable.MakeDir(dir, (*os.File).Sync); err == nil {
			t.Errorf("%s was made", dir)
		}
	}
	for cause, fatal := range map[error]bool{syscall.EACCES: false, syscall.EINVAL: false, syscall.EIO: true} {
		if err := durable.MakeDir(root, func(*os.File) error { return cause }); (err != nil) != fatal {
			t.Errorf("a folder that is there, whose parent answers %v: %v", cause, err)
		}
		if err := durable.MakeDir(filepath.Join(root, cause.Error()), func(f *os.File) error {
			if f.Name() == root {
				return cause
			}
			return nil
		}); err == nil {
			t.Errorf("a new folder, whose parent answers %v, counts as durable", cause)
		}
	}
	if err := durable.SyncDir(filepath.Join(root, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync of nothing: %v", err)
	}
}
