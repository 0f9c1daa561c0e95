package bolt

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

func testItem(sk string) table.Item {
	return table.Item{Key: table.Key{PK: "p", SK: sk}, Version: "v1", Value: []byte("{}")}
}

func put(sk string) []table.Action {
	return []table.Action{table.Put(testItem(sk), table.Always())}
}

func TestOpenCreatesPrivateFile(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	info, err := os.Stat(filepath.Join(dir, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file has mode %o, want 600", mode)
	}
}

func TestOpenErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.db")
	if err := os.WriteFile(damaged, []byte(strings.Repeat("not a database\n", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{damaged, filepath.Join(dir, "missing", "meta.db"), dir} {
		tab, err := Open(path, Options{})
		if err == nil {
			t.Errorf("open %s succeeded", path)
			tab.Close()
		} else if !strings.Contains(err.Error(), "bolt: open "+path) {
			t.Errorf("the error does not say what failed: %v", err)
		}
	}
}

// holdEnv makes TestHoldFile, run in a child, hold the file of this name.
const holdEnv = "SLIPWAY_BOLT_TEST_HOLD"

func TestHoldFile(t *testing.T) {
	path := os.Getenv(holdEnv)
	if path == "" {
		t.Skip("runs in the child of TestOpenHeldByAnotherProcess")
	}
	tab, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent has seen enough
}

func TestOpenHeldByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	child := exec.Command(os.Args[0], "-test.run=^TestHoldFile$")
	child.Env = append(os.Environ(), holdEnv+"="+path)
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
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "held\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	start := time.Now()
	_, err = Open(path, Options{})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), path) {
		t.Errorf("open of a held file: %v", err)
	}
	if waited := time.Since(start); waited > 20*lockTimeout {
		t.Errorf("open of a held file took %v", waited)
	}
	stdin.Close()
	_, _ = io.Copy(io.Discard, lines)
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	tab, err := Open(path, Options{})
	if err != nil {
		t.Fatalf("open after the other process has ended: %v", err)
	}
	tab.Close()
}

func TestClosed(t *testing.T) {
	ctx := context.Background()
	tab := open(t, t.TempDir(), Options{})
	if err := tab.Write(ctx, put("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := tab.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	key := testItem("x").Key
	_, getErr := tab.Get(ctx, key)
	_, batchErr := tab.BatchGet(ctx, []table.Key{key})
	_, queryErr := tab.Query(ctx, table.Range{PK: "p", Limit: 1})
	for op, err := range map[string]error{
		"get": getErr, "batch get": batchErr, "query": queryErr, "write": tab.Write(ctx, put("x")),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after close: %v, want ErrClosed", op, err)
		}
	}
}

func TestCancelledCalls(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tab := open(t, t.TempDir(), Options{})
	key := testItem("x").Key
	_, getErr := tab.Get(ctx, key)
	_, batchErr := tab.BatchGet(ctx, []table.Key{key})
	_, queryErr := tab.Query(ctx, table.Range{PK: "p", Limit: 1})
	for op, err := range map[string]error{
		"get": getErr, "batch get": batchErr, "query": queryErr, "write": tab.Write(ctx, put("x")),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", op, err)
		}
	}
	if got := tab.Stats(); got != (Stats{}) {
		t.Errorf("a cancelled write reached the writer: %+v", got)
	}
}

// TestForeignFormat: an item that this release cannot read is an error of the
// calls that need it, and of no other.
func TestForeignFormat(t *testing.T) {
	ctx := context.Background()
	tab := open(t, t.TempDir(), Options{})
	store := func(sk string, raw []byte) {
		err := tab.db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketName).Put(encodeKey(testItem(sk).Key), raw)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := encodeItem(testItem("whole"))
	store("later", append([]byte{formatOne + 1}, "something else"...))
	store("cut in the value", whole[:len(whole)-1])
	store("cut in the version", whole[:2])
	for _, sk := range []string{"later", "cut in the value", "cut in the version"} {
		it, err := tab.Get(ctx, testItem(sk).Key)
		if err == nil || errors.Is(err, table.ErrNotFound) || !strings.Contains(err.Error(), sk) {
			t.Errorf("get %q: %+v, error %v", sk, it, err)
		}
	}
	err := tab.Write(ctx, []table.Action{table.Put(testItem("later"), table.IfVersion("v1"))})
	if err == nil || table.IsCondition(err) {
		t.Errorf("write on the condition of an unreadable item: %v", err)
	}
	if err := tab.Write(ctx, put("whole")); err != nil {
		t.Errorf("write beside an unreadable item: %v", err)
	}
	if err := tab.Write(ctx, put("later")); err != nil {
		t.Errorf("write over an unreadable item: %v", err)
	}
	if _, err := tab.Get(ctx, testItem("later").Key); err != nil {
		t.Errorf("get after it was written over: %v", err)
	}
}
