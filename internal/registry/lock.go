package registry

import (
	"context"
	"sync"
	"time"
)

// keyedLock is a lock per key that costs nothing while nobody holds it. The
// zero value is ready to use.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]*keyedEntry
}

type keyedEntry struct {
	turn  chan struct{} // holds a token while the key is locked
	users int           // holders and waiters
}

// lock waits up to the given time for its turn. It returns how to unlock, or
// false when the wait or the context ended first.
func (l *keyedLock) lock(ctx context.Context, key string, wait time.Duration) (unlock func(), ok bool) {
	l.mu.Lock()
	e := l.held[key]
	if e == nil {
		if l.held == nil {
			l.held = make(map[string]*keyedEntry)
		}
		e = &keyedEntry{turn: make(chan struct{}, 1)}
		l.held[key] = e
	}
	e.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn; leave() }, true
	default:
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn; leave() }, true
	case <-timeout.C:
	case <-ctx.Done():
	}
	leave()
	return nil, false
}
