package blob

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// Op names a call of a Store that does I/O.
type Op string

// The operations that a Hook sees. Begin and Close are none of them.
const (
	OpAppend   Op = "append"
	OpComplete Op = "complete"
	OpAbort    Op = "abort"
	OpOpen     Op = "open"
	OpRead     Op = "read"
	OpStat     Op = "stat"
	OpDelete   Op = "delete"
)

// Call describes one call to a Hook.
type Call struct {
	Op  Op
	Key string
	// Bytes is how many bytes the call moved. Before the call it is what the
	// arguments tell: the upload's size for complete, a bounded range's length
	// for read, else 0. After it: what append accepted, also when it failed
	// half-way, and the size of what read answered, if the engine's reader
	// tells it by a method Size() int64. What is read from an opened object
	// passes no hook and is not counted.
	Bytes int64
	// Duration is how long the call took; 0 before it. For open and read it
	// ends when there is something to read from.
	Duration time.Duration
}

// Hook looks at calls, and may fail them. Both functions may be nil and have to
// be safe for concurrent use.
type Hook struct {
	// Before runs first. If it returns an error, that is the result: the
	// store is not called, nor is After.
	Before func(Call) error
	// After sees the result and returns the one that the caller gets. An
	// error in place of nil is a success whose answer got lost: the bytes are
	// there, and the caller has to cope without knowing.
	After func(Call, error) error
}

// WithHook returns a store that passes every call on to s, by way of the hook.
// The content that Open answers is not wrapped: an *os.File stays one.
func WithHook(s Store, h Hook) Store {
	return &hooked{store: s, hook: h}
}

type hooked struct {
	store Store
	hook  Hook
}

// around runs do between the two functions. do may change the call's Bytes.
func (h *hooked) around(c Call, do func(*Call) error) error {
	if h.hook.Before != nil {
		if err := h.hook.Before(c); err != nil {
			return err
		}
	}
	start := time.Now()
	err := do(&c)
	c.Duration = time.Since(start)
	if h.hook.After != nil {
		err = h.hook.After(c, err)
	}
	return err
}

func (h *hooked) Begin(key string, algorithm digest.Algorithm) (Upload, error) {
	return h.store.Begin(key, algorithm)
}

func (h *hooked) Append(ctx context.Context, up Upload, r io.Reader, limit int64) (Upload, error) {
	next, succeeded := up, false
	err := h.around(Call{Op: OpAppend, Key: up.Key}, func(c *Call) error {
		var err error
		next, err = h.store.Append(ctx, up, r, limit)
		c.Bytes = next.Size - up.Size
		succeeded = err == nil
		return err
	})
	if succeeded && err != nil {
		return up, err // the answer got lost, the new state with it
	}
	return next, err
}

func (h *hooked) Complete(ctx context.Context, up Upload, want digest.Digest) error {
	return h.around(Call{Op: OpComplete, Key: up.Key, Bytes: up.Size}, func(*Call) error {
		return h.store.Complete(ctx, up, want)
	})
}

func (h *hooked) Abort(ctx context.Context, up Upload) error {
	return h.around(Call{Op: OpAbort, Key: up.Key}, func(*Call) error {
		return h.store.Abort(ctx, up)
	})
}

func (h *hooked) Open(ctx context.Context, key string, access Access) (Source, error) {
	var src Source
	err := h.around(Call{Op: OpOpen, Key: key}, func(*Call) error {
		var err error
		src, err = h.store.Open(ctx, key, access)
		return err
	})
	if err != nil {
		if src.Content != nil {
			src.Content.Close() // opened for reading: nothing to lose
		}
		return Source{}, err
	}
	return src, nil
}

func (h *hooked) Read(ctx context.Context, key string, r Range) (io.ReadCloser, error) {
	var rc io.ReadCloser
	err := h.around(Call{Op: OpRead, Key: key, Bytes: max(r.Length, 0)}, func(c *Call) error {
		var err error
		rc, err = h.store.Read(ctx, key, r)
		if err != nil {
			c.Bytes = 0
		} else if sized, ok := rc.(interface{ Size() int64 }); ok {
			c.Bytes = sized.Size()
		}
		return err
	})
	if err != nil {
		if rc != nil {
			rc.Close()
		}
		return nil, err
	}
	return rc, nil
}

func (h *hooked) Stat(ctx context.Context, key string) (int64, error) {
	var size int64
	err := h.around(Call{Op: OpStat, Key: key}, func(*Call) error {
		var err error
		size, err = h.store.Stat(ctx, key)
		return err
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

func (h *hooked) Delete(ctx context.Context, key string) error {
	return h.around(Call{Op: OpDelete, Key: key}, func(*Call) error {
		return h.store.Delete(ctx, key)
	})
}

func (h *hooked) Close() error { return h.store.Close() }

// Count is what a Counter knows of one operation.
type Count struct {
	Calls int64 // made, successful or not
	Bytes int64 // as in Call.Bytes, after the call
}

// Counter counts calls and bytes an operation, for tests that hold a request to
// a budget: WithHook(s, counter.Hook()). The zero value is ready, and all
// methods are safe for concurrent use.
type Counter struct {
	mu     sync.Mutex
	counts map[Op]Count
}

// Hook returns the hook that counts. One counter may serve several stores.
func (c *Counter) Hook() Hook {
	return Hook{After: func(call Call, err error) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.counts == nil {
			c.counts = make(map[Op]Count)
		}
		n := c.counts[call.Op]
		n.Calls++
		n.Bytes += call.Bytes
		c.counts[call.Op] = n
		return err
	}}
}

// Snapshot returns the counts since the last Reset. Operations that were not
// called are not in the map.
func (c *Counter) Snapshot() map[Op]Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := make(map[Op]Count, len(c.counts))
	for op, n := range c.counts {
		m[op] = n
	}
	return m
}

// Reset forgets all counts.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = nil
}
