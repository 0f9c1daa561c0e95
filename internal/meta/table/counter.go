package table

import "sync"

// Count is how often an operation was called and how much it moved.
type Count struct {
	Calls int // calls done, failed ones included
	Items int // items returned, or actions performed, by those that succeeded
}

// Counts is a Count for each operation. Two of them compare with ==, so that a
// test states a budget of storage calls as one literal.
type Counts struct {
	Get, BatchGet, Query, Write Count
}

// Calls is the number of calls of any kind.
func (c Counts) Calls() int {
	return c.Get.Calls + c.BatchGet.Calls + c.Query.Calls + c.Write.Calls
}

// Counter counts the calls of the tables that carry its [Counter.Hook]. The
// zero Counter is ready for use, by any number of goroutines.
//
//	var calls table.Counter
//	t = table.WithHook(t, calls.Hook())
type Counter struct {
	mu     sync.Mutex
	counts Counts
}

// Hook returns the hook that feeds c.
func (c *Counter) Hook() Hook {
	return Hook{After: func(call Call, err error) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := c.of(call.Op); n != nil {
			n.Calls++
			n.Items += call.Items
		}
		return err
	}}
}

func (c *Counter) of(op Op) *Count {
	switch op {
	case OpGet:
		return &c.counts.Get
	case OpBatchGet:
		return &c.counts.BatchGet
	case OpQuery:
		return &c.counts.Query
	case OpWrite:
		return &c.counts.Write
	}
	return nil
}

// Snapshot returns what has been counted since the start or the last Reset.
func (c *Counter) Snapshot() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// Reset sets all counts to zero and returns what they were.
func (c *Counter) Reset() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.counts
	c.counts = Counts{}
	return was
}
