package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/disk"
)

// crashDir makes the test binary the process that is killed.
const crashDir = "SLIPWAY_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		pushForever(dir)
	}
	os.Exit(m.Run())
}

// contentOf is the object that belongs to a key.
func contentOf(key string) []byte {
	r := rand.NewChaCha8(sha256.Sum256([]byte(key)))
	b := make([]byte, 1+r.Uint64()%2_000_000)
	r.Read(b)
	return b
}

// pushForever makes objects until it is killed and prints one line for each
// acknowledged step, as a caller writes its rows.
func pushForever(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		fail(err)
	}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				up, err := s.Begin(fmt.Sprintf("crash-%d-%d-%d", os.Getpid(), w, i), digest.SHA256)
				if err != nil {
					fail(err)
				}
				b := contentOf(up.Key)
				for int(up.Size) < len(b) {
					n := min(len(b)-int(up.Size), 1+rand.IntN(700_000))
					if up, err = s.Append(context.Background(), up, bytes.NewReader(b[up.Size:][:n]), 1<<40); err != nil {
						fail(err)
					}
					row, err := json.Marshal(up)
					if err != nil {
						fail(err)
					}
					fmt.Printf("appended %s\n", row)
				}
				if err := s.Complete(context.Background(), up, digest.FromBytes(b)); err != nil {
					fail(err)
				}
				fmt.Printf("completed %s\n", up.Key)
			}
		}()
	}
	select {}
}

// TestCrash kills a process in the middle of its pushes. Every object that it
// acknowledged is whole, and every upload goes on from its last row.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	completed, resumed := 0, 0
	for range rounds {
		acknowledged, rows := runAndKill(t, dir)
		s := open(t, dir, disk.Options{})
		for key := range acknowledged {
			wantContent(t, s, key, contentOf(key))
			completed++
			delete(rows, key)
		}
		for key, up := range rows {
			b := contentOf(key)
			up, err := s.Append(context.Background(), up, bytes.NewReader(b[up.Size:]), 1<<40)
			if err != nil {
				t.Fatalf("go on with %s: %v", key, err)
			}
			if err := s.Complete(context.Background(), up, digest.FromBytes(b)); err != nil {
				t.Fatalf("complete %s: %v", key, err)
			}
			wantContent(t, s, key, b)
			resumed++
		}
	}
	t.Logf("%d objects acknowledged before a kill, %d uploads resumed after one", completed, resumed)
	if completed == 0 || resumed == 0 {
		t.Error("the kills came too early or too late to prove anything")
	}
}

// runAndKill returns what the process acknowledged: completed keys, and the
// last row of each upload.
func runAndKill(t *testing.T, dir string) (map[string]bool, map[string]blob.Upload) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // it was killed: the error says nothing
	defer cmd.Process.Kill()

	completed, rows := map[string]bool{}, map[string]blob.Upload{}
	r := bufio.NewReader(out)
	var timer *time.Timer
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			break // what is left of a line was not acknowledged
		}
		if err != nil {
			t.Fatal(err)
		}
		if timer == nil {
			timer = time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, func() { cmd.Process.Kill() })
		}
		what, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch what {
		case "completed":
			completed[rest] = true
		case "appended":
			var up blob.Upload
			if err := json.Unmarshal([]byte(rest), &up); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			rows[up.Key] = up
		default:
			t.Fatalf("line %q", line)
		}
	}
	if stderr.Len() > 0 {
		t.Fatalf("the process failed: %s", &stderr)
	}
	return completed, rows
}

func wantContent(t *testing.T, s blob.Store, key string, want []byte) {
	t.Helper()
	rc, err := s.Read(context.Background(), key, blob.Range{Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("object %s: %d bytes that differ from the %d wanted", key, len(got), len(want))
	}
}
