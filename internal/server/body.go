package server

import "io"

// meteredBody counts what is read of a request's body. How long a body may
// stand still is up to the handler, which knows what the body is.
type meteredBody struct {
	io.ReadCloser
	bytes int64
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	return n, err
}
