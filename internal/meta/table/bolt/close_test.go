package bolt

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// TestCloseAnswersEverybody: each Write that races with Close is either
// acknowledged, and there after reopening, or refused with ErrClosed.
func TestCloseAnswersEverybody(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	tab := open(t, dir, Options{})
	const writers = 8
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; ; i++ {
				sk := fmt.Sprintf("%d-%d", w, i)
				err := tab.Write(ctx, put(sk))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[sk] = true
				mu.Unlock()
			}
		})
	}
	await(t, "some writes", func() bool { return tab.Stats().Writes > 4*writers })
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	tab = open(t, dir, Options{})
	for sk := range acknowledged {
		if _, err := tab.Get(ctx, testItem(sk).Key); err != nil {
			t.Errorf("acknowledged %s: %v", sk, err)
		}
	}
	if page, err := tab.Query(ctx, table.Range{PK: "p", Limit: 1_000_000}); err != nil || len(page.Items) != len(acknowledged) {
		t.Errorf("%d items, %d acknowledged, error %v", len(page.Items), len(acknowledged), err)
	}
}

// TestCloseWaitsForTheQueue: what is queued when Close comes is written, over
// as many batches as it takes.
func TestCloseWaitsForTheQueue(t *testing.T) {
	dir := t.TempDir()
	tab := open(t, dir, Options{})
	release := holdWriter(t, tab)
	answers := []<-chan error{plug(t, tab)}
	for i := range 2*maxBatchRequests + 1 {
		req := newRequest(put(strconv.Itoa(i)))
		if err := tab.enqueue(req); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, req.answer)
	}
	closed := make(chan error, 1)
	go func() { closed <- tab.Close() }()
	await(t, "Close to begin", func() bool {
		tab.mu.Lock()
		defer tab.mu.Unlock()
		return tab.closed
	})
	release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for i, answer := range answers {
		select {
		case err := <-answer:
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		default:
			t.Fatalf("write %d got no answer", i)
		}
	}
	if got, want := tab.Stats(), (Stats{Writes: uint64(len(answers)), Commits: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
