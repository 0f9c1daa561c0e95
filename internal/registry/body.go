package registry

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// A client that announces a body and does not send it holds a connection. What
// bounds that is the connection's read deadline, and it is needed longer than
// one would think: before net/http writes an answer it reads up to 256 KiB of
// what the handler left unread, and waits for it. (It takes the deadline back
// before the next request.)
//
//	before the handler     boundUnread   for handlers that read no body at all
//	while it reads         idleBody      moves on as long as bytes come
//	after the last byte    done          none: it would cancel the request
//	after an early end     done          a short one, for what is still to come

// lingering is how long an answer waits for the rest of a body that nobody
// wants. Clients that read no answer before they have sent everything need it.
const lingering = 5 * time.Second

// linger is lingering, but not longer than a body may stand still.
func (h *Handler) linger() time.Duration { return min(lingering, h.limits.BodyIdle) }

// boundUnread bounds how long a body is waited for that no handler reads. The
// longest a handler does something else first is waiting for an upload's lock.
//
// HTTP/2 needs no such bound, for it waits for nothing; a deadline that passed
// there would end the body for good.
func (h *Handler) boundUnread(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.limits.UploadWait + h.linger()))
	}
}

// idleBody reads a request's body and ends it when the client stands still for
// too long, or when the time for all of it is up, so that no client holds a
// request for ever. Where the server has no read deadlines (a Lambda, whose
// bodies are there as a whole) it just reads.
type idleBody struct {
	r        io.Reader
	control  *http.ResponseController
	idle     time.Duration
	linger   time.Duration
	until    time.Time // the zero time: no end but the idle one
	extended time.Time // when the deadline was last moved
	err      error     // how the last read ended
}

// newBody returns the body of the request. Whoever reads from it calls done.
func (h *Handler) newBody(w http.ResponseWriter, r *http.Request, until time.Time) *idleBody {
	return &idleBody{r: r.Body, control: http.NewResponseController(w), idle: h.limits.BodyIdle, linger: h.linger(), until: until}
}

func (b *idleBody) Read(p []byte) (int, error) {
	// Moving the deadline at every read would cost more than the read.
	if now := time.Now(); now.Sub(b.extended) > b.idle/8 {
		deadline := now.Add(b.idle)
		if !b.until.IsZero() && b.until.Before(deadline) {
			deadline = b.until
		}
		_ = b.control.SetReadDeadline(deadline)
		b.extended = now
	}
	var n int
	n, b.err = b.r.Read(p)
	return n, b.err
}

// done leaves the deadline that fits how the reading ended.
func (b *idleBody) done() {
	switch {
	case errors.Is(b.err, io.EOF):
		// From now on net/http watches the connection for the client's leaving,
		// and a deadline that passes looks like it.
		_ = b.control.SetReadDeadline(time.Time{})
	case isStalled(b.err):
		// It has passed: nothing more is waited for.
	case !b.extended.IsZero():
		_ = b.control.SetReadDeadline(time.Now().Add(b.linger))
	}
}

// isStalled reports whether reading a body ended because of its deadline.
func isStalled(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
