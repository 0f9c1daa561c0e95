package registry

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta"
)

// interrupted is the error of a body that ended before its time. What arrived
// is part of the upload that comes with it.
type interrupted struct{ cause error }

func (e *interrupted) Error() string { return e.cause.Error() }
func (e *interrupted) Unwrap() error { return e.cause }

// receive appends the body of the request to the upload and returns the upload
// as it is then, not yet saved. On an error it is as it was before, except that
// with an *interrupted it has what arrived.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, up meta.Upload) (meta.Upload, error) {
	length, err := h.announced(r, up)
	if err != nil {
		return up, err
	}
	if up.Content.Size == 0 {
		// A session that has no bytes yet has no state of the store either.
		if up.Content, err = h.blobs.Begin(up.Content.Key, up.Content.Algorithm); err != nil {
			return up, err
		}
	}
	if length == 0 {
		return up, nil
	}
	limit := h.limits.BlobBytes
	if length > 0 {
		if length > limit-up.Content.Size {
			return up, h.errBlobTooLarge()
		}
		limit = up.Content.Size + length
	}
	body := h.newBody(w, r, h.expiry(up))
	// The store is not to stop for a client that went away: then it is the body
	// that ends, and what arrived counts.
	content, err := h.blobs.Append(context.WithoutCancel(r.Context()), up.Content, body, limit)
	body.done()

	var source *blob.SourceError
	switch {
	case errors.As(err, &source):
		up.Content = content
		return up, &interrupted{source.Err}
	case errors.Is(err, blob.ErrTooLarge) && length > 0:
		return up, errLength(length, "more")
	case errors.Is(err, blob.ErrTooLarge):
		return up, h.errBlobTooLarge()
	case errors.Is(err, blob.ErrLost):
		h.cancel(r.Context(), up)
		return up, errLost()
	case err != nil:
		return up, err
	case length > 0 && content.Size-up.Content.Size != length:
		return up, errLength(length, "fewer")
	}
	up.Content = content
	return up, nil
}

// announced returns how many bytes the body will have, or -1 if the client did
// not say, and checks that they are the ones that come next.
func (h *Handler) announced(r *http.Request, up meta.Upload) (int64, error) {
	header := r.Header.Get("Content-Range")
	if header == "" {
		return r.ContentLength, nil
	}
	cr, err := parseContentRange(header)
	if err != nil {
		return 0, err
	}
	if cr.start != up.Content.Size {
		e := fail(http.StatusRequestedRangeNotSatisfiable, CodeUploadInvalid,
			"the chunk begins at byte %d but the upload has %d bytes: send the chunk that begins there", cr.start, up.Content.Size)
		h.addProgress(e, up)
		return 0, e
	}
	if r.ContentLength >= 0 && r.ContentLength != cr.length() {
		return 0, fail(http.StatusBadRequest, CodeSizeInvalid,
			"the Content-Range %q means %d bytes but the Content-Length is %d: make them agree", header, cr.length(), r.ContentLength)
	}
	return cr.length(), nil
}

// keep saves what arrived of a body that was interrupted, so that the client
// can go on from there, and returns what to tell it.
func (h *Handler) keep(ctx context.Context, up meta.Upload, err error) error {
	var stop *interrupted
	if !errors.As(err, &stop) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	if up, err = h.meta.SaveUpload(ctx, up); err != nil {
		return err
	}
	var e *Error
	if isStalled(stop.cause) {
		e = fail(http.StatusRequestTimeout, CodeUploadInvalid,
			"no data came for %s: %d bytes of the blob are kept, go on from there", h.limits.BodyIdle, up.Content.Size)
	} else {
		e = fail(http.StatusBadRequest, CodeUploadInvalid,
			"the body ended early: %d bytes of the blob are kept, go on from there", up.Content.Size)
	}
	h.addProgress(e, up)
	return e
}

// addProgress lets a client recover from the error (regclient does).
func (h *Handler) addProgress(e *Error, up meta.Upload) {
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	h.setProgress(e.Header, up)
}

// drain reads a body that is not needed, as far as that is reasonable: clients
// that are still sending when the answer comes see a broken connection instead.
func (h *Handler) drain(w http.ResponseWriter, r *http.Request) {
	const most = 64 << 20
	body := h.newBody(w, r, h.clock().Add(h.limits.BodyIdle))
	_, _ = io.CopyN(io.Discard, body, most)
	body.done()
}

func (h *Handler) errBlobTooLarge() *Error {
	return fail(http.StatusRequestEntityTooLarge, CodeSizeInvalid,
		"the blob is larger than the %d bytes that this registry takes: split the layer, or ask the operator for a higher limit", h.limits.BlobBytes)
}

func errLength(want int64, what string) *Error {
	return fail(http.StatusBadRequest, CodeSizeInvalid,
		"the body has %s than the %d bytes it was announced with; nothing of it was kept, send the chunk again", what, want)
}
