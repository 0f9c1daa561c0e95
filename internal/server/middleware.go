package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/slipway-oci/slipway/internal/auth"
	"github.com/slipway-oci/slipway/internal/metrics"
)

// exchange is one request and its answer while they pass through: everything
// that is noted about them, in one piece of memory.
type exchange struct {
	recorder
	body   meteredBody
	caller auth.Caller
	start  time.Time
}

// observe wraps a handler with what every request gets: an id, a line in the
// log, metrics, an answer even where the handler panics, and the end of an answer
// that stands still for the time of idle.
func observe(next http.Handler, route func(*http.Request) string, log *slog.Logger, m *metrics.Requests, idle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{start: time.Now()}
		x.ResponseWriter, x.idle = w, idle

		id := chooseRequestID(r.Header.Get(headerRequestID))
		w.Header().Set(headerRequestID, id)
		ctx := context.WithValue(r.Context(), requestIDKey{}, id)
		r = r.WithContext(auth.WithCaller(ctx, &x.caller))
		if r.Body != nil && r.Body != http.NoBody {
			x.body.ReadCloser = r.Body
			r.Body = &x.body
			if r.ProtoMajor == 2 {
				// See newHTTPServer: what is for HTTP/1 there would end the body
				// here, also for a handler that reads it only later.
				_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			}
		}

		m.Begin()
		defer func() {
			aborted := x.finish(r, recover(), log, m)
			x.renew() // what is in buffers still has to go
			a := answered{
				request:  r,
				route:    route(r),
				status:   x.status,
				received: x.body.bytes,
				sent:     x.bytes,
				duration: time.Since(x.start),
				user:     x.caller.Name(),
			}
			m.Done(metrics.Answered{
				Route: a.route, Method: r.Method, Status: a.status,
				Duration: a.duration, Received: a.received, Sent: a.sent,
			})
			logAccess(log, a)
			if aborted {
				panic(http.ErrAbortHandler) // the server closes the connection, silently
			}
		}()
		next.ServeHTTP(&x.recorder, r)
	})
}

// finish makes an answer of a panic, if there was one. It reports whether the
// connection has to be cut, because the client would take the answer for whole
// otherwise.
func (x *exchange) finish(r *http.Request, panicked any, log *slog.Logger, m *metrics.Requests) (abort bool) {
	begun := x.status != 0
	if panicked == nil {
		x.started() // a handler that writes nothing answers 200
		return false
	}
	if panicked == http.ErrAbortHandler {
		// On purpose: the handler saw that it cannot finish what it began.
		x.started()
		return true
	}
	m.Panic()
	log.LogAttrs(r.Context(), slog.LevelError, "panic in a handler; this is a bug in Slipway",
		slog.String("panic", fmt.Sprint(panicked)),
		slog.String("stack", string(debug.Stack())),
	)
	if begun {
		return true
	}
	h := x.Header()
	h.Del("Content-Length")
	h.Del("Docker-Content-Digest")
	h.Del("ETag")
	writeError(&x.recorder, http.StatusInternalServerError, "UNKNOWN",
		"the registry failed to answer; its log tells more under the id in "+headerRequestID)
	return false
}

// writeError answers in the form of the OCI distribution specification.
func writeError(w http.ResponseWriter, status int, code, message string) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Errors []entry `json:"errors"`
	}{[]entry{{code, message}}})
	if err != nil {
		body = []byte(`{"errors":[]}`) // strings always encode
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
