package datadir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

func mustOpen(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustClose(t *testing.T, d *Dir) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	d := mustOpen(t, dir)
	if d.Path != dir || d.Table == nil || d.Blobs == nil {
		t.Errorf("%+v", d)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the directory: %v, %v", info, err)
	}
	item := table.Item{Key: table.Key{PK: "p", SK: "s"}, Version: "1"}
	if err := d.Table.Write(t.Context(), []table.Action{table.Put(item, table.Always())}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, d)

	d, err := OpenExisting(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Table.Get(t.Context(), item.Key); err != nil {
		t.Errorf("what was written: %v", err)
	}
	mustClose(t, d)
}

// The entry of every new folder is durable before anything is made in it.
func TestOpenSyncsTheFolders(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "deep", "data")
	var synced []string
	d, err := open(dir, func(f *os.File) error {
		synced = append(synced, f.Name())
		if _, err := os.Stat(filepath.Join(dir, tableFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("at the sync of %s the table is there: %v", f.Name(), err)
		}
		return f.Sync()
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, d)
	for _, want := range []string{root, filepath.Dir(dir)} {
		if !slices.Contains(synced, want) {
			t.Errorf("synced %q, not %s", synced, want)
		}
	}

	fresh := filepath.Join(root, "fresh")
	if _, err := open(fresh, func(*os.File) error { return syscall.EIO }); !errors.Is(err, syscall.EIO) {
		t.Errorf("a folder that may get lost is opened: %v", err)
	}
	if _, err := os.Stat(filepath.Join(fresh, tableFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("and a table made in it: %v", err)
	}
}

// holdEnv makes TestHold, run in a child, hold this directory.
const holdEnv = "SLIPWAY_DATADIR_TEST_HOLD"

func TestHold(t *testing.T) {
	dir := os.Getenv(holdEnv)
	if dir == "" {
		t.Skip("runs in the child of TestSecondProcessIsRefused")
	}
	d := mustOpen(t, dir)
	os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
	mustClose(t, d)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	child := exec.Command(os.Args[0], "-test.run=^TestHold$")
	child.Env = append(os.Environ(), holdEnv+"="+dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("held\n"))); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(string) (*Dir, error){Open, OpenExisting} {
		if _, err := open(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Errorf("a second process: %v", err)
		}
	}
	_ = stdin.Close()
	_, _ = io.Copy(io.Discard, stdout)
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir))
}

func TestOpenExistingWhereThereIsNone(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if _, err := OpenExisting(dir); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s was filled: %v", dir, entries)
		}
	}
}

// The key is made once, for its owner only, and kept; a rest of a crash does
// not stop it.
func TestUploadKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, keyFile)
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, dir)
	key, err := d.UploadKey()
	if err != nil || len(key) != keyBytes {
		t.Fatalf("%x, %v", key, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != 2*keyBytes+1 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a second file is left: %v", err)
	}
	mustClose(t, d)
	d = mustOpen(t, dir)
	if again, err := d.UploadKey(); err != nil || !bytes.Equal(again, key) {
		t.Errorf("after a restart: %x, %v; want %x", again, err, key)
	}
	mustClose(t, d)

	other := mustOpen(t, t.TempDir())
	if another, err := other.UploadKey(); err != nil || bytes.Equal(another, key) {
		t.Errorf("another registry has the key %x, %v", another, err)
	}
	mustClose(t, other)
}

func TestBadUploadKey(t *testing.T) {
	whole := strings.Repeat("0f", keyBytes)
	for content, good := range map[string]bool{
		whole: true, whole + "\r\n": true,
		"": false, "abc": false, whole[2:]: false, whole + "0f": false, strings.Repeat("no", keyBytes): false,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, keyFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		d := mustOpen(t, dir)
		_, err := d.UploadKey()
		if good && err != nil || !good && (err == nil || !strings.Contains(err.Error(), "remove the file")) {
			t.Errorf("%q: %v", content, err)
		}
		mustClose(t, d)
	}
}
