package table

import (
	"context"
	"time"
)

// Op names a method of [Table] in a [Call].
type Op string

// The operations that a [Hook] sees; Close is not one of them.
const (
	OpGet      Op = "get"
	OpBatchGet Op = "batch_get"
	OpQuery    Op = "query"
	OpWrite    Op = "write"
)

// Call describes one call of a Table to a [Hook]. Its slices are the caller's
// own: a hook reads them during its run and neither changes nor keeps them.
type Call struct {
	Op      Op
	Keys    []Key    // of a get (one) or a batch_get
	Range   Range    // of a query
	Actions []Action // of a write

	// The rest is known in After only, and zero there for a call that failed,
	// but for Duration.

	// Items is how many items were returned, or how many actions, checks
	// included, were performed.
	Items int
	// Bytes is the Size of these items together.
	Bytes int
	// Duration is how long the table beneath took.
	Duration time.Duration
}

// Hook is called around every call of a table. Both functions are optional and
// run on the goroutine of the call, so they must be safe for concurrent use;
// one that blocks holds up just that call, which is how a test puts calls in
// an order.
type Hook struct {
	// Before runs ahead of the call. An error is returned to the caller
	// instead of doing the call; After does not run then.
	Before func(Call) error
	// After runs when the call has been done, with its result. What it returns
	// is what the caller gets: err as it came, or an error after a success (the
	// acknowledgement that got lost). A caller that gets an error gets no items.
	After func(c Call, err error) error
}

// WithHook returns t with h around each of its calls. Close goes to t as it
// is. Hooks nest: the one added last is the outermost.
func WithHook(t Table, h Hook) Table { return &hooked{t: t, h: h} }

type hooked struct {
	t Table
	h Hook
}

// around runs do, which reports what it returned or wrote, between the two
// functions of the hook.
func (h *hooked) around(c Call, do func() (items, bytes int, err error)) error {
	if h.h.Before != nil {
		if err := h.h.Before(c); err != nil {
			return err
		}
	}
	start := time.Now()
	items, bytes, err := do()
	c.Duration = time.Since(start)
	if err == nil {
		c.Items, c.Bytes = items, bytes
	}
	if h.h.After != nil {
		return h.h.After(c, err)
	}
	return err
}

func (h *hooked) Get(ctx context.Context, key Key) (Item, error) {
	var it Item
	err := h.around(Call{Op: OpGet, Keys: []Key{key}}, func() (int, int, error) {
		var err error
		it, err = h.t.Get(ctx, key)
		return 1, it.Size(), err
	})
	if err != nil {
		return Item{}, err
	}
	return it, nil
}

func (h *hooked) BatchGet(ctx context.Context, keys []Key) ([]Item, error) {
	var items []Item
	err := h.around(Call{Op: OpBatchGet, Keys: keys}, func() (int, int, error) {
		var err error
		items, err = h.t.BatchGet(ctx, keys)
		return len(items), sizeOf(items), err
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (h *hooked) Query(ctx context.Context, r Range) (Page, error) {
	var page Page
	err := h.around(Call{Op: OpQuery, Range: r}, func() (int, int, error) {
		var err error
		page, err = h.t.Query(ctx, r)
		return len(page.Items), sizeOf(page.Items), err
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func (h *hooked) Write(ctx context.Context, actions []Action) error {
	return h.around(Call{Op: OpWrite, Actions: actions}, func() (int, int, error) {
		err := h.t.Write(ctx, actions)
		bytes := 0
		for _, a := range actions {
			bytes += a.Item.Size()
		}
		return len(actions), bytes, err
	})
}

func (h *hooked) Close() error { return h.t.Close() }

func sizeOf(items []Item) int {
	n := 0
	for _, it := range items {
		n += it.Size()
	}
	return n
}
