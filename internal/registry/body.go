package registry

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// idleBody reads a request's body and ends it when the client stands still for
// too long, or when the time for all of it is up, so that no client holds a
// request for ever. Where the server has no read deadlines (a Lambda, whose
// bodies are there as a whole) it just reads.
type idleBody struct {
	r        io.Reader
	control  *http.ResponseController
	idle     time.Duration
	until    time.Time // the zero time: no end but the idle one
	extended time.Time // when the deadline was last moved
}

// newBody returns the body of the request. Whoever reads from it calls done.
func (h *Handler) newBody(w http.ResponseWriter, r *http.Request, until time.Time) *idleBody {
	return &idleBody{r: r.Body, control: http.NewResponseController(w), idle: h.limits.BodyIdle, until: until}
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
	return b.r.Read(p)
}

// done takes the deadline back: one that passes while the handler is still at
// work would cancel the request, and one that stays would end the connection.
func (b *idleBody) done() {
	if !b.extended.IsZero() {
		_ = b.control.SetReadDeadline(time.Time{})
	}
}

// isStalled reports whether reading a body ended because of its deadline.
func isStalled(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
