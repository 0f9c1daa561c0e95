package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// smallDisk is a directory on a file system of so many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("a file system that can be filled needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// ballast takes up space until it is removed.
func ballast(t *testing.T, dir string, size int) (remove func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func sized(sk string, size int) []table.Action {
	it := testItem(sk)
	it.Body = []byte(strings.Repeat(sk[:1], size))
	return []table.Action{table.Put(it, table.Always())}
}

// check holds the table against what was acknowledged, and the file against
// bbolt's own rules.
func check(t *testing.T, tab *Table, want map[string]int) {
	t.Helper()
	page, err := tab.Query(context.Background(), table.Range{PK: "p", Limit: 100_000})
	got := map[string]int{}
	for after := ""; err == nil; {
		for _, it := range page.Items {
			got[it.SK], after = len(it.Body), it.SK
		}
		if !page.More {
			break
		}
		page, err = tab.Query(context.Background(), table.Range{PK: "p", After: after, Limit: 100_000})
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%d items, %d acknowledged, %v", len(got), len(want), err)
	}
	err = tab.db.View(func(tx *bbolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	if err != nil {
		t.Errorf("the file: %v", err)
	}
}

// TestFullDisk fills the disk and frees space, again and again, beside readers:
// what was acknowledged stays, what was refused did not happen, and writes work
// again as soon as there is space, without an Open.
func TestFullDisk(t *testing.T) {
	ctx := context.Background()
	dir := smallDisk(t, 40<<20)
	tab := open(t, dir, Options{})
	want := map[string]int{}
	refusals := 0
	for round := range 6 {
		free := ballast(t, dir, (20-2*round)<<20)
		release := func() error { return nil }
		if round > 0 { // before that the map grows, which waits for readers
			reader, err := tab.db.Begin(false) // holds pages of before
			if err != nil {
				t.Fatal(err)
			}
			release = reader.Rollback
		}
		for i := 0; ; i++ {
			sk, size := fmt.Sprintf("a%d-%d", round, i), 1000+i*7919%200_000
			err := tab.Write(ctx, sized(sk, size))
			if err == nil {
				want[sk] = size
				continue
			}
			if !errors.Is(err, ErrFull) || errors.Is(err, ErrBroken) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("write to a full disk: %v", err)
			}
			if refusals++; refusals%10 == 0 {
				break
			}
		}
		check(t, tab, want)
		if err := tab.Err(); err != nil {
			t.Errorf("a full disk broke the table: %v", err)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
		free()
		if err := tab.Write(ctx, sized("a-large", 380_000)); err != nil {
			t.Fatalf("round %d: after space was freed: %v", round, err)
		}
		want["a-large"] = 380_000
		// Most goes again, so that the next round writes over freed pages.
		for i, sk := range slices.Sorted(maps.Keys(want)) {
			if i%4 == 0 {
				continue
			}
			err := tab.Write(ctx, []table.Action{table.Delete(testItem(sk).Key, table.Always())})
			if err != nil {
				t.Fatalf("round %d: after space was freed: %v", round, err)
			}
			delete(want, sk)
		}
		check(t, tab, want)
	}
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, open(t, dir, Options{}), want)
	t.Logf("%d writes were refused, %d items are left", refusals, len(want))
}

// TestFullDiskTellsRequestsApart: a small write is not refused because a large
// one in its batch has no room.
func TestFullDiskTellsRequestsApart(t *testing.T) {
	ctx := context.Background()
	dir := smallDisk(t, 6<<20)
	tab := open(t, dir, Options{})
	if err := tab.Write(ctx, sized("old", 300_000)); err != nil {
		t.Fatal(err)
	}
	if err := tab.Write(ctx, put("x")); err != nil { // frees pages
		t.Fatal(err)
	}
	ballast(t, dir, 5<<20-1<<19)
	release := holdWriter(t, tab)
	plugged := plug(t, tab)
	large := newRequest(slices.Concat(sized("l1", 390_000), sized("l2", 390_000), sized("l3", 390_000), sized("l4", 390_000)))
	small := newRequest([]table.Action{table.Delete(testItem("x").Key, table.Always())})
	for _, req := range []*request{large, small} {
		if err := tab.enqueue(req); err != nil {
			t.Fatal(err)
		}
	}
	release()
	if err := <-plugged; err != nil {
		t.Fatal(err)
	}
	if err := <-large.answer; !errors.Is(err, ErrFull) {
		t.Errorf("the large write: %v", err)
	}
	if err := <-small.answer; err != nil {
		t.Errorf("the small write: %v", err)
	}
}

// TestFullOrBroken: which failures of a commit leave the table whole.
func TestFullOrBroken(t *testing.T) {
	full := func(op string, cause error) error { return &fs.PathError{Op: op, Path: "meta.db", Err: cause} }
	for name, c := range map[string]struct {
		err    error
		broken bool
	}{
		"write, full":         {full("write", syscall.ENOSPC), false},
		"write, quota":        {full("write", syscall.EDQUOT), false},
		"grow, full":          {fmt.Errorf("file resize error: %s", full("truncate", syscall.ENOSPC)), false},
		"grow, quota":         {fmt.Errorf("file resize error: %s", full("truncate", syscall.EDQUOT)), false},
		"write, broken":       {full("write", syscall.EIO), true},
		"grow, broken":        {fmt.Errorf("file resize error: %s", full("truncate", syscall.EIO)), true},
		"grow's fsync, full":  {fmt.Errorf("file sync error: %s", full("sync", syscall.ENOSPC)), true},
		"fdatasync, full":     {syscall.ENOSPC, true},
		"fsync, full":         {full("sync", syscall.ENOSPC), true},
		"fdatasync, broken":   {syscall.EIO, true},
		"something else full": {fmt.Errorf("mmap allocate error: %w", syscall.ENOSPC), true},
	} {
		t.Run(name, func(t *testing.T) {
			tab := open(t, t.TempDir(), Options{NoSync: true})
			works := tab.update
			tab.update = func(fn func(*bbolt.Tx) error) error {
				return works(func(tx *bbolt.Tx) error {
					if err := fn(tx); err != nil {
						return err
					}
					return c.err // rolls back
				})
			}
			err := tab.Write(t.Context(), put("x"))
			if errors.Is(err, ErrBroken) != c.broken || errors.Is(err, ErrFull) == c.broken {
				t.Errorf("%v: %v", c.err, err)
			}
			if full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT); full == c.broken {
				t.Errorf("%v seems to be a full disk: %v", err, full)
			}
			if (tab.Err() != nil) != c.broken {
				t.Errorf("Err: %v", tab.Err())
			}
			tab.update = works
			if err := tab.Write(t.Context(), put("x")); (err != nil) != c.broken {
				t.Errorf("the next write: %v", err)
			}
		})
	}
}

// TestFullAfterTheMetaPage: a commit whose meta page got there has happened, so
// it is not one of those that may be taken for undone.
func TestFullAfterTheMetaPage(t *testing.T) {
	tab := open(t, t.TempDir(), Options{NoSync: true})
	works := tab.update
	tab.update = func(fn func(*bbolt.Tx) error) error {
		if err := works(fn); err != nil {
			return err
		}
		return &fs.PathError{Op: "write", Path: "meta.db", Err: syscall.ENOSPC}
	}
	if err := tab.Write(t.Context(), put("x")); !errors.Is(err, ErrBroken) || errors.Is(err, ErrFull) || tab.Err() == nil {
		t.Errorf("%v", err)
	}
}
