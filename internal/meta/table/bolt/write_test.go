package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// holdWriter keeps the writer from its next transaction until the returned
// function is called.
func holdWriter(t *testing.T, tab *Table) (release func()) {
	t.Helper()
	tx, err := tab.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (t *Table) queued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue)
}

// plug puts one write into the hands of the held writer, so that those that
// follow queue up behind it.
func plug(t *testing.T, tab *Table) (answer <-chan error) {
	t.Helper()
	req := newRequest(put("plug"))
	if err := tab.enqueue(req); err != nil {
		t.Fatal(err)
	}
	await(t, "the writer to take the first write", func() bool { return tab.queued() == 0 })
	return req.answer
}

func TestWritesQueuedTogetherShareACommit(t *testing.T) {
	tab := open(t, t.TempDir(), Options{})
	release := holdWriter(t, tab)
	first := plug(t, tab)
	const writers = 32
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if err := tab.Write(context.Background(), put(strconv.Itoa(i))); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "all writes to queue", func() bool { return tab.queued() == writers })
	release()
	wg.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got, want := tab.Stats(), (Stats{Writes: writers + 1, Commits: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestConcurrentWritersShareCommits(t *testing.T) {
	tab := open(t, t.TempDir(), Options{})
	const writers, each = 32, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := tab.Write(context.Background(), put(fmt.Sprintf("%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := tab.Stats()
	t.Logf("%d writes in %d commits", got.Writes, got.Commits)
	if got.Writes != writers*each || got.Commits > writers*each/4 {
		t.Errorf("%d writes in %d commits, want a quarter as many at most", got.Writes, got.Commits)
	}
}

// TestConditionsSeeTheBatch: writes of one batch are judged in their order,
// each on what those before it leave.
func TestConditionsSeeTheBatch(t *testing.T) {
	tab := open(t, t.TempDir(), Options{})
	release := holdWriter(t, tab)
	first := plug(t, tab)
	version := func(v string) table.Item { it := testItem("x"); it.Version = v; return it }
	steps := []struct {
		action table.Action
		ok     bool
	}{
		{table.Put(version("v1"), table.IfAbsent()), true},
		{table.Put(version("v2"), table.IfAbsent()), false},
		{table.Put(version("v2"), table.IfVersion("v1")), true},
		{table.Put(version("v3"), table.IfVersion("v1")), false},
		{table.Delete(version("").Key, table.IfVersion("v2")), true},
		{table.Check(version("").Key, table.IfPresent()), false},
		{table.Put(version("v4"), table.IfAbsent()), true},
	}
	answers := make([]chan error, len(steps))
	for i, s := range steps {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- tab.Write(context.Background(), []table.Action{s.action}) }()
		await(t, "the write to queue", func() bool { return tab.queued() == i+1 })
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	for i, s := range steps {
		if err := <-answers[i]; s.ok != (err == nil) || err != nil && !table.IsCondition(err) {
			t.Errorf("step %d: %v, want success %v", i, err, s.ok)
		}
	}
	if it, err := tab.Get(context.Background(), version("").Key); err != nil || it.Version != "v4" {
		t.Errorf("after the batch: %+v, %v", it, err)
	}
	if got := tab.Stats().Commits; got != 2 {
		t.Errorf("%d commits, want 2", got)
	}
}

func TestBatchIsBounded(t *testing.T) {
	var tab Table
	large := &request{bytes: maxBatchBytes/2 + 1}
	huge := &request{bytes: 2 * maxBatchBytes}
	small := &request{bytes: 1}
	for _, c := range []struct {
		name  string
		queue []*request
		want  []int // lengths of the batches
	}{
		{"nothing", nil, []int{0}},
		{"bytes", []*request{large, small, large, small}, []int{2, 2, 0}},
		{"one over the bound", []*request{huge, huge, small}, []int{1, 1, 1, 0}},
		{"requests", make([]*request, 2*maxBatchRequests+1), []int{maxBatchRequests, maxBatchRequests, 1, 0}},
	} {
		tab.queue = nil
		for _, r := range c.queue {
			if r == nil {
				r = small
			}
			tab.queue = append(tab.queue, r)
		}
		for i, want := range c.want {
			if batch, last := tab.take(); len(batch) != want || last {
				t.Errorf("%s: batch %d has %d requests, last %v; want %d", c.name, i, len(batch), last, want)
			}
		}
	}
}

func TestRefusalsAndChecksCommitNothing(t *testing.T) {
	tab := open(t, t.TempDir(), Options{})
	err := tab.Write(context.Background(), []table.Action{table.Put(testItem("x"), table.IfPresent())})
	if !table.IsCondition(err) {
		t.Fatal(err)
	}
	err = tab.Write(context.Background(), []table.Action{table.Check(testItem("x").Key, table.IfAbsent())})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tab.Stats(), (Stats{Writes: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestCancelWhileQueued: a write whose context ends in the queue does not
// happen, and the others in the queue do.
func TestCancelWhileQueued(t *testing.T) {
	tab := open(t, t.TempDir(), Options{})
	release := holdWriter(t, tab)
	first := plug(t, tab)
	ctx, cancel := context.WithCancel(context.Background())
	cancelled, kept := make(chan error, 1), make(chan error, 1)
	go func() { cancelled <- tab.Write(ctx, put("cancelled")) }()
	await(t, "the write to queue", func() bool { return tab.queued() == 1 })
	go func() { kept <- tab.Write(context.Background(), put("kept")) }()
	await(t, "the write to queue", func() bool { return tab.queued() == 2 })
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled write: %v", err)
	}
	if n := tab.queued(); n != 1 {
		t.Errorf("%d writes queued after one of two was cancelled", n)
	}
	release()
	for _, answer := range []<-chan error{first, kept} {
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
	if _, err := tab.Get(context.Background(), testItem("cancelled").Key); !errors.Is(err, table.ErrNotFound) {
		t.Errorf("the cancelled write happened: %v", err)
	}
	if _, err := tab.Get(context.Background(), testItem("kept").Key); err != nil {
		t.Error(err)
	}
}

// waitContext tells when somebody waits for its end, as Write does when its
// request is in the queue.
type waitContext struct {
	context.Context
	once   sync.Once
	waited chan struct{}
}

func (c *waitContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waited) })
	return c.Context.Done()
}

// TestCancelWhileTaken: the caller of a write that the writer has taken does
// not wait for it, and may change what it passed in.
func TestCancelWhileTaken(t *testing.T) {
	tab := open(t, t.TempDir(), Options{})
	release := holdWriter(t, tab)
	ctx, cancel := context.WithCancel(context.Background())
	waiting := &waitContext{Context: ctx, waited: make(chan struct{})}
	it := testItem("taken")
	it.Body = bytes.Repeat([]byte("b"), 1000)
	answer := make(chan error, 1)
	go func() { answer <- tab.Write(waiting, []table.Action{table.Put(it, table.Always())}) }()
	<-waiting.waited
	await(t, "the writer to take the write", func() bool { return tab.queued() == 0 })
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled write: %v", err)
	}
	clear(it.Body) // the caller's own again: the writer must not look at it
	release()
	if err := tab.Write(context.Background(), put("next")); err != nil {
		t.Fatal(err)
	}
	got, err := tab.Get(context.Background(), it.Key)
	if err != nil || !bytes.Equal(got.Body, bytes.Repeat([]byte("b"), 1000)) {
		t.Errorf("body %.20q, error %v", got.Body, err)
	}
}

// TestFailedCommit: everybody in the batch gets the error, refused or not, and
// so does every Write after it. Reads go on, and what was acknowledged stays.
func TestFailedCommit(t *testing.T) {
	ctx := context.Background()
	errDisk := errors.New("disk on fire")
	for _, c := range []struct {
		name string
		fail func() error
	}{
		{"error", func() error { return errDisk }},
		{"panic", func() error { panic(errDisk.Error()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			tab := open(t, dir, Options{})
			if err := tab.Write(ctx, put("before")); err != nil {
				t.Fatal(err)
			}
			// The transaction is prepared, and fails instead of committing.
			tab.update = func(fn func(*bbolt.Tx) error) error {
				return tab.db.Update(func(tx *bbolt.Tx) error {
					if err := fn(tx); err != nil {
						return err
					}
					return c.fail()
				})
			}
			writes := [][]table.Action{
				put("during"),
				{table.Put(testItem("during"), table.IfAbsent())},
				{table.Check(testItem("during").Key, table.IfPresent())},
			}
			answers := make(chan error, len(writes))
			tab.mu.Lock() // the writer gets them all at once
			for _, actions := range writes {
				req := newRequest(actions)
				tab.queue = append(tab.queue, req)
				go func() { answers <- <-req.answer }()
			}
			tab.mu.Unlock()
			tab.poke()
			for range writes {
				err := <-answers
				if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), errDisk.Error()) {
					t.Errorf("write of the failed batch: %v", err)
				}
			}
			tab.update = tab.db.Update // would succeed now
			if err := tab.Write(ctx, put("after")); !errors.Is(err, ErrBroken) {
				t.Errorf("write after the failed batch: %v", err)
			}
			if _, err := tab.Get(ctx, testItem("before").Key); err != nil {
				t.Errorf("get after the failed batch: %v", err)
			}
			if err := tab.Close(); err != nil {
				t.Fatal(err)
			}
			tab = open(t, dir, Options{})
			if _, err := tab.Get(ctx, testItem("before").Key); err != nil {
				t.Errorf("get after opening again: %v", err)
			}
			if err := tab.Write(ctx, put("after")); err != nil {
				t.Errorf("write after opening again: %v", err)
			}
		})
	}
}
