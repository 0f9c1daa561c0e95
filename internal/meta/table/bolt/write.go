package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// The bounds of one batch. They keep a commit short and its memory small; a
// batch has at least one request, whatever its size.
const (
	maxBatchRequests = 256
	maxBatchBytes    = 8 << 20
)

// request is a Write on its way through the writer.
type request struct {
	steps []step
	bytes int
	// outcome is the answer if the commit succeeds: nil or a ConditionError.
	// It is the writer's own until it is sent.
	outcome error
	answer  chan error // buffered, so that the writer never waits
}

// step is an Action, encoded. It shares no memory with the caller, who may be
// gone before the writer gets to it.
type step struct {
	kind  table.ActionKind
	key   table.Key
	cond  table.Condition
	rawK  []byte
	value []byte // of a Put
}

// Write implements table.Table.
//
// Where ctx ends while the Write is queued, it is withdrawn and certainly does
// not happen; once the writer has taken it, it may have happened or not.
//
// A Write that the disk has no room for returns an error that wraps [ErrFull].
// After a commit that failed otherwise, this and all further Writes return one
// that wraps [ErrBroken]; reads go on. A failed fsync may have dropped pages that
// the kernel still shows as written, and the next fsync would succeed without
// them: a commit on top could acknowledge what the disk does not have. Every
// Write acknowledged before is safe. The way out is to mend the disk and open
// the table again.
func (t *Table) Write(ctx context.Context, actions []table.Action) error {
	if err := table.ValidateWrite(actions); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bolt: write: %w", err)
	}
	req := newRequest(actions)
	if err := t.enqueue(req); err != nil {
		return err
	}
	select {
	case err := <-req.answer:
		return err
	case <-ctx.Done():
		t.withdraw(req)
	}
	select {
	case err := <-req.answer: // came in the meantime
		return err
	default:
		return fmt.Errorf("bolt: write: %w", ctx.Err())
	}
}

func newRequest(actions []table.Action) *request {
	req := &request{steps: make([]step, len(actions)), answer: make(chan error, 1)}
	for i, a := range actions {
		s := step{kind: a.Kind, key: a.Item.Key, cond: a.If, rawK: encodeKey(a.Item.Key)}
		if a.Kind == table.ActionPut {
			s.value = encodeItem(a.Item)
		}
		req.steps[i] = s
		req.bytes += len(s.rawK) + len(s.value)
	}
	return req
}

func (t *Table) enqueue(req *request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	t.queue = append(t.queue, req)
	t.poke()
	return nil
}

// withdraw takes req out of the queue if the writer has not done so.
func (t *Table) withdraw(req *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.queue, req); i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
	}
}

// poke makes the writer look at the queue.
func (t *Table) poke() {
	select {
	case t.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// take removes the next batch from the queue. last says that none follows.
func (t *Table) take() (batch []*request, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, bytes := 0, 0
	for _, req := range t.queue {
		bytes += req.bytes
		if n == maxBatchRequests || n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	batch = slices.Clone(t.queue[:n])
	t.queue = slices.Delete(t.queue, 0, n)
	return batch, t.closed && len(t.queue) == 0
}

// writer is the one goroutine that changes the file. It ends with Close, when
// the queue is empty.
func (t *Table) writer() {
	defer close(t.done)
	for range t.wake {
		for {
			// Those who were just answered, and are about to write again, go
			// first: without this the writers end up in two halves, each of
			// which waits for the other's commit.
			runtime.Gosched()
			batch, last := t.take()
			if len(batch) > 0 {
				t.perform(batch)
			}
			for _, req := range batch {
				req.answer <- req.outcome
			}
			if last {
				return
			}
			if len(batch) == 0 {
				break
			}
		}
	}
}

// perform commits the batch, unless the table is broken, and sets the outcome
// of each request.
func (t *Table) perform(batch []*request) {
	err := t.Err()
	if err == nil {
		err = t.commit(batch)
	}
	if errors.Is(err, ErrFull) && len(batch) > 1 {
		// A deletion that would make room is not to fail with what needs it.
		for _, req := range batch {
			t.perform([]*request{req})
		}
		return
	}
	if errors.Is(err, ErrBroken) && t.Err() == nil {
		t.broken.Store(&err)
	}
	if err != nil {
		for _, req := range batch {
			req.outcome = err
		}
	}
}

// errNothingChanged makes bbolt roll back instead of commit.
var errNothingChanged = errors.New("nothing changed")

// commit performs the batch in one transaction and sets the outcome of each
// request. An error, ErrFull or ErrBroken, is the answer to all of them.
func (t *Table) commit(batch []*request) (err error) {
	// bbolt panics where it finds the file damaged. It has rolled back by
	// then, and the callers are owed an answer.
	defer func() {
		if p := recover(); p != nil {
			err = broken(fmt.Errorf("panic: %v", p))
		}
	}()
	var id int
	err = t.update(func(tx *bbolt.Tx) error {
		id = tx.ID()
		b := tx.Bucket(bucketName)
		changed := false
		for _, req := range batch {
			req.outcome = nil // of a try before
			if err := req.apply(b); err != nil {
				return err
			}
			changed = changed || req.outcome == nil && req.changes()
		}
		if !changed {
			// Refusals and checks rest on what is committed already.
			return errNothingChanged
		}
		return nil
	})
	switch {
	case errors.Is(err, errNothingChanged):
		err = nil
	case err != nil:
		return t.failed(id, err)
	default:
		t.commits.Add(1)
	}
	t.writes.Add(uint64(len(batch)))
	return nil
}

// apply performs the request on b, which shows the requests before it in the
// batch. All conditions are read before the first change, so that a refused
// request leaves nothing to take back.
func (r *request) apply(b *bbolt.Bucket) error {
	var failed []table.Key
	for _, s := range r.steps {
		ok, err := s.holds(b)
		if err != nil {
			r.outcome = err // an unreadable item is no matter of the others
			return nil
		}
		if !ok {
			failed = append(failed, s.key)
		}
	}
	if failed != nil {
		r.outcome = &table.ConditionError{Failed: failed}
		return nil
	}
	for _, s := range r.steps {
		var err error
		switch s.kind {
		case table.ActionPut:
			err = b.Put(s.rawK, s.value)
		case table.ActionDelete:
			err = b.Delete(s.rawK)
		}
		if err != nil {
			return fmt.Errorf("bolt: write %s: %w", s.key, err)
		}
	}
	return nil
}

// changes reports whether a step of the request is more than a check.
func (r *request) changes() bool {
	return slices.ContainsFunc(r.steps, func(s step) bool { return s.kind != table.ActionCheck })
}

// holds reports whether the condition of the step holds of what b has.
func (s step) holds(b *bbolt.Bucket) (bool, error) {
	if s.cond.Kind == table.ConditionNone {
		return true, nil
	}
	raw := b.Get(s.rawK)
	if raw == nil {
		return s.cond.Holds(false, ""), nil
	}
	version, _, err := decodeVersion(raw)
	if err != nil {
		return false, fmt.Errorf("bolt: write %s: %w", s.key, err)
	}
	return s.cond.Holds(true, string(version)), nil
}
