package server

import (
	"io"
	"math"
	"net/http"
	"sync"
	"time"
)

// answerPiece is how much of an answer has to get through in the time that it
// may stand still. The kernel tells that it took bytes, not that the client
// read them, and wakes a writer only when about a third of the socket's buffer
// (4 MiB at most by default) is free: so with the default of 2 min a client that
// reads 50 KB/s is safe with room to spare, and one below some 20 KB/s may be
// cut. Larger pieces make nothing faster: sendfile stops at the socket's buffer
// anyway.
const answerPiece = 1 << 20

// recorder notes status and size of an answer on its way to the client, and ends
// an answer that stands still because nobody reads it.
//
// It keeps what the server's own writer can do: ReadFrom goes through, so that
// a layer leaves the page cache for the socket (sendfile) without passing
// through this process, and Unwrap lets an http.ResponseController find the
// rest.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	idle   time.Duration // how long the answer may stand still; 0: for ever
	moved  time.Time     // when the deadline was last moved
}

var _ io.ReaderFrom = (*recorder)(nil)

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.renew()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (total int, err error) {
	w.started()
	for first := true; first || len(p) > 0; first = false {
		w.renew()
		n, err := w.ResponseWriter.Write(p[:min(len(p), answerPiece)])
		w.bytes += int64(n)
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

// ReadFrom copies r to the client, by the server's own ReadFrom where it has
// one (HTTP/1), else through a buffer (HTTP/2).
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	w.started()
	rf, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		buf := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buf)
		return io.CopyBuffer(onlyWriter{w}, onlyReader{r}, *buf)
	}
	// The kernel can send from a file, or from a limited file: no deeper.
	left := int64(math.MaxInt64)
	outer, limited := r.(*io.LimitedReader)
	if limited {
		r, left = outer.R, outer.N
	}
	var total int64
	for left > 0 {
		size := min(left, answerPiece)
		piece := &io.LimitedReader{R: r, N: size}
		w.renew()
		n, err := rf.ReadFrom(piece)
		w.bytes += n
		total += n
		left -= size - piece.N
		if limited {
			outer.N = left
		}
		if err != nil || n < size {
			return total, err
		}
	}
	return total, nil
}

// renew moves the deadline of the answer on. The server takes it back after the
// request.
func (w *recorder) renew() {
	// Not at every write: an answer of many small ones would pay for it.
	if now := time.Now(); w.idle > 0 && now.Sub(w.moved) > w.idle/8 {
		// A writer without deadlines is none that a client can hold.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.idle))
		w.moved = now
	}
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// started notes that the answer began without an explicit status.
func (w *recorder) started() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

// onlyWriter and onlyReader hide whatever else a value can do, so that
// io.CopyBuffer uses its buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 128<<10)
	return &b
}}
