package server

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
)

// headerRequestID carries the id of a request in both directions.
const headerRequestID = "X-Request-Id"

// maxRequestID is the longest id accepted from a client.
const maxRequestID = 64

type requestIDKey struct{}

// requestID returns the id that the host gave the request of ctx, or "".
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// chooseRequestID takes what came in, so that a proxy's log and ours can be
// laid side by side, unless it could break a log line; then it makes one up.
func chooseRequestID(incoming string) string {
	if saneRequestID(incoming) {
		return incoming
	}
	return fmt.Sprintf("%016x", rand.Uint64()) // names a request, protects nothing
}

func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// requestLog adds the id of the request to every record that is logged with its
// context.
type requestLog struct{ slog.Handler }

func (h requestLog) Handle(ctx context.Context, r slog.Record) error {
	if id := requestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h requestLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestLog{h.Handler.WithAttrs(attrs)}
}

func (h requestLog) WithGroup(name string) slog.Handler {
	return requestLog{h.Handler.WithGroup(name)}
}
