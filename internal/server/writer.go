package server

import (
	"io"
	"net/http"
	"sync"
)

// recorder notes status and size of an answer on its way to the client.
//
// It keeps what the server's own writer can do: ReadFrom goes through, so that
// a layer leaves the page cache for the socket (sendfile) without passing
// through this process, and Unwrap lets an http.ResponseController find the
// rest.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

var _ io.ReaderFrom = (*recorder)(nil)

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.started()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom copies r to the client, by the server's own ReadFrom where it has
// one (HTTP/1), else through a buffer (HTTP/2).
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	w.started()
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err := rf.ReadFrom(r)
		w.bytes += n
		return n, err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(onlyWriter{w.ResponseWriter}, onlyReader{r}, *buf)
	w.bytes += n
	return n, err
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
