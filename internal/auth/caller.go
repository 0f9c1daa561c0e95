package auth

import (
	"context"
	"sync/atomic"
)

// Caller is who sends a request, as far as it is known yet: the host puts an
// empty one into the request's context, the authorizer fills it in, and the
// access log reads it when the request has been answered.
type Caller struct {
	name atomic.Pointer[string]
}

// Name returns the authenticated user's name, or "".
func (c *Caller) Name() string {
	if name := c.name.Load(); name != nil {
		return *name
	}
	return ""
}

func (c *Caller) set(name string) { c.name.Store(&name) }

type callerKey struct{}

// WithCaller returns a context that carries c.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// identify notes the name of the request's caller where the host wants to know.
func identify(ctx context.Context, name string) {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		c.set(name)
	}
}
