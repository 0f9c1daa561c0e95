package bolt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// crashEnv makes TestCrashChild, run in a child, write to the file of this
// name until it is killed.
const crashEnv = "SLIPWAY_BOLT_TEST_CRASH"

const crashWriters = 6

// crashKeys are where a numbered write of a writer leaves its marks: two items
// of its own, far apart in the tree, and one that says how far the writer is.
func crashKeys(writer, n int) (left, right, last table.Key) {
	return table.Key{PK: "left", SK: fmt.Sprintf("%d#%06d", writer, n)},
		table.Key{PK: "right", SK: fmt.Sprintf("%06d#%d", n, writer)},
		table.Key{PK: "last", SK: fmt.Sprint(writer)}
}

// TestCrashChild prints "<writer> <n>" after each acknowledged write.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashEnv)
	if path == "" {
		t.Skip("runs in the child of TestCrash")
	}
	tab, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for n := crashResume(t, tab, w); ; n++ {
				left, right, last := crashKeys(w, n)
				body := make([]byte, 3000*(n%3)) // some in a page of their own
				cond := table.IfVersion(fmt.Sprint(n - 1))
				if n == 1 {
					cond = table.IfAbsent()
				}
				err := tab.Write(context.Background(), []table.Action{
					table.Put(table.Item{Key: left, Version: "v", Body: body}, table.IfAbsent()),
					table.Put(table.Item{Key: right, Version: "v", Body: body}, table.IfAbsent()),
					table.Put(table.Item{Key: last, Version: fmt.Sprint(n)}, cond),
				})
				if err != nil {
					panic(err)
				}
				fmt.Printf("%d %d\n", w, n) // one write call, never torn
			}
		})
	}
	wg.Wait()
}

// crashResume returns the number of the writer's next write.
func crashResume(t *testing.T, tab *Table, writer int) int {
	_, _, key := crashKeys(writer, 0)
	it, err := tab.Get(context.Background(), key)
	if errors.Is(err, table.ErrNotFound) {
		return 1
	}
	var n int
	if _, scanErr := fmt.Sscan(it.Version, &n); err != nil || scanErr != nil {
		t.Errorf("writer %d: %+v, %v, %v", writer, it, err, scanErr)
	}
	return n + 1
}

// TestCrash kills a process that writes, again and again on the same file.
// What was acknowledged is there, and no write is there in part. It proves the
// order of answer and commit and the atomicity of the file; that a commit
// waits for the disk only a power cut could prove.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	acknowledged := make([]int, crashWriters)
	for round := range rounds {
		killWhileWriting(t, path, acknowledged)
		tab, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		written := checkAfterCrash(t, tab, acknowledged)
		t.Logf("round %d: acknowledged %v, written %v", round, acknowledged, written)
		copy(acknowledged, written) // what has been seen must not go away either
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWhileWriting runs the child for a random moment and notes the last
// number that each writer had acknowledged.
func killWhileWriting(t *testing.T, path string, acknowledged []int) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), crashEnv+"="+path)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	lines := 0
	for scanner := bufio.NewScanner(stdout); scanner.Scan(); lines++ {
		var w, n int
		if _, err := fmt.Sscanf(scanner.Text(), "%d %d", &w, &n); err != nil {
			t.Errorf("child said %q", scanner.Text())
			continue
		}
		acknowledged[w] = max(acknowledged[w], n)
		if kill == nil {
			kill = time.AfterFunc(rand.N(200*time.Millisecond), func() { _ = child.Process.Kill() })
		}
	}
	err = child.Wait()
	if kill == nil {
		t.Fatalf("child ended before it wrote: %v", err)
	}
	kill.Stop()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("child was to be killed and ended with %v after %d lines", err, lines)
	}
}

// checkAfterCrash checks the marks of all writes up to the last, and returns
// the number of the last one of each writer.
func checkAfterCrash(t *testing.T, tab *Table, acknowledged []int) []int {
	t.Helper()
	ctx := context.Background()
	marks := map[table.Key]bool{}
	for _, pk := range []string{"left", "right"} {
		r := table.Range{PK: pk, Limit: 1000}
		for more := true; more; {
			page, err := tab.Query(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				marks[it.Key] = true
			}
			more, r.After = page.More, page.Last
		}
	}
	written := make([]int, crashWriters)
	total := 0
	for w := range crashWriters {
		written[w] = crashResume(t, tab, w) - 1
		total += written[w]
		if written[w] < acknowledged[w] || written[w] > acknowledged[w]+1 {
			t.Errorf("writer %d: acknowledged %d, written %d", w, acknowledged[w], written[w])
		}
		for n := 1; n <= written[w]; n++ {
			left, right, _ := crashKeys(w, n)
			if !marks[left] || !marks[right] {
				t.Errorf("write %d of writer %d is there in part: left %v, right %v", n, w, marks[left], marks[right])
			}
		}
	}
	if len(marks) != 2*total {
		t.Errorf("%d marks of %d writes", len(marks), total)
	}
	err := tab.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("the file is damaged: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return written
}
