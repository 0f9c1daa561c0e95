package registry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta"
)

// startUpload answers the POST that every push of a blob begins with
// (distribution-spec end-4 and end-11):
//
//	?mount=<digest>[&from=<name>]    201 if it could be mounted, else as below
//	?digest=<digest>, with a body    201, the whole blob in one request
//	[?digest-algorithm=<algorithm>]  202 and the Location to upload to
func (h *Handler) startUpload(w http.ResponseWriter, r *http.Request, t target) error {
	q := r.URL.Query()
	algorithm := digest.SHA256
	switch {
	case q.Has("mount"):
		d, err := parseDigest(q.Get("mount"))
		if err != nil {
			return err
		}
		if done, err := h.mount(w, r, t.name, d, q.Get("from")); done || err != nil {
			return err
		}
		algorithm = d.Algorithm()
	case q.Has("digest"):
		return h.uploadAtOnce(w, r, t.name)
	}
	if s := q.Get("digest-algorithm"); s != "" {
		algorithm = digest.Algorithm(s)
		if algorithm != digest.SHA256 && algorithm != digest.SHA512 {
			return fail(http.StatusBadRequest, CodeDigestInvalid,
				"the digest-algorithm %.40q is not supported: use sha256 or sha512", s)
		}
	}
	up, err := h.meta.StartUpload(r.Context(), t.name, algorithm)
	if err != nil {
		return err
	}
	h.setProgress(w.Header(), up)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// uploadAtOnce takes a whole blob in the POST (distribution-spec, "Single
// POST"). The client knows no Location, so an upload that fails is cancelled.
func (h *Handler) uploadAtOnce(w http.ResponseWriter, r *http.Request, name string) error {
	d, err := digestParam(r.URL.Query())
	if err != nil {
		return err
	}
	up, err := h.meta.StartUpload(r.Context(), name, d.Algorithm())
	if err != nil {
		return err
	}
	up, err = h.receive(w, r, up)
	if err == nil {
		err = h.complete(r.Context(), up, d)
	}
	if err != nil {
		h.cancel(r.Context(), up)
		var stop *interrupted
		if errors.As(err, &stop) {
			return fail(http.StatusBadRequest, CodeUploadInvalid, "the body ended early or stood still: push the blob again")
		}
		return err
	}
	blobCreated(w, name, d)
	return nil
}

// patchUpload appends a chunk, or all of the blob as one stream
// (distribution-spec end-5).
func (h *Handler) patchUpload(w http.ResponseWriter, r *http.Request, t target) error {
	up, unlock, err := h.openUpload(r, t)
	if err != nil {
		return err
	}
	defer unlock()
	up, err = h.receive(w, r, up)
	if err != nil {
		return h.keep(r.Context(), up, err)
	}
	// The bytes are here: that the client may be gone by now loses nothing.
	if up, err = h.meta.SaveUpload(context.WithoutCancel(r.Context()), up); err != nil {
		return err
	}
	h.setProgress(w.Header(), up)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// putUpload ends the upload, with or without a last chunk or the whole blob
// (distribution-spec end-6). A PUT that is repeated because its answer was lost
// finds no upload but the blob, and is answered as the first one was.
func (h *Handler) putUpload(w http.ResponseWriter, r *http.Request, t target) error {
	d, err := digestParam(r.URL.Query())
	if err != nil {
		return err
	}
	up, unlock, err := h.openUpload(r, t)
	if errors.Is(err, meta.ErrUploadUnknown) && h.isThere(r.Context(), t.name, d) {
		h.drain(w, r)
		blobCreated(w, t.name, d)
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if up.Content.Size == 0 {
		// Nothing was hashed yet, so it can be hashed as it has to be in the end.
		up.Content.Algorithm = d.Algorithm()
	}
	up, err = h.receive(w, r, up)
	if err != nil {
		return h.keep(r.Context(), up, err)
	}
	if err := h.complete(r.Context(), up, d); err != nil {
		return err
	}
	blobCreated(w, t.name, d)
	return nil
}

// getUpload tells how far an upload is (distribution-spec end-13).
func (h *Handler) getUpload(w http.ResponseWriter, r *http.Request, t target) error {
	up, err := h.readUpload(r.Context(), t)
	if err != nil {
		return err
	}
	h.setProgress(w.Header(), up)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deleteUpload cancels an upload (distribution-spec end-14).
func (h *Handler) deleteUpload(w http.ResponseWriter, r *http.Request, t target) error {
	up, unlock, err := h.openUpload(r, t)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.meta.CancelUpload(r.Context(), up); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) readUpload(ctx context.Context, t target) (meta.Upload, error) {
	if !validUploadID(t.ref) {
		return meta.Upload{}, meta.ErrUploadUnknown
	}
	return h.meta.Upload(ctx, t.name, t.ref)
}

// openUpload reads the session and keeps other requests of this process from
// writing to it until unlock. Another process is noticed when the session is
// saved.
func (h *Handler) openUpload(r *http.Request, t target) (up meta.Upload, unlock func(), err error) {
	unlock, ok := h.writing.lock(r.Context(), t.ref, h.limits.UploadWait)
	if !ok {
		return meta.Upload{}, nil, errBusy()
	}
	if up, err = h.readUpload(r.Context(), t); err != nil {
		unlock()
		return meta.Upload{}, nil, err
	}
	return up, unlock, nil
}

// complete verifies the content and makes the blob visible. Content that is not
// what the client says it is, or that was lost, ends the session: nothing can
// be made of it any more.
func (h *Handler) complete(ctx context.Context, up meta.Upload, d digest.Digest) error {
	// A client that leaves now has sent everything; its retry should find it.
	ctx = context.WithoutCancel(ctx)
	err := h.blobs.Complete(ctx, up.Content, d)
	switch {
	case errors.Is(err, blob.ErrDigest):
		h.cancel(ctx, up)
		return fail(http.StatusBadRequest, CodeDigestInvalid,
			"the %d bytes that arrived do not have the digest %s: the upload was cancelled, push the blob again", up.Content.Size, d)
	case errors.Is(err, blob.ErrLost):
		h.cancel(ctx, up)
		return errLost()
	case err != nil:
		return err
	}
	_, err = h.meta.CommitUpload(ctx, up, d)
	if errors.Is(err, meta.ErrUploadUnknown) && h.isThere(ctx, up.Repository, d) {
		return nil
	}
	return err
}

// isThere reports whether the blob is visible in the repository. Where the
// table cannot tell, the error at hand is the better answer.
func (h *Handler) isThere(ctx context.Context, name string, d digest.Digest) bool {
	_, err := h.meta.Blob(ctx, name, d)
	return err == nil
}

// cancel ends a session of which the client was told that it is over. If that
// fails the session expires by itself.
func (h *Handler) cancel(ctx context.Context, up meta.Upload) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer stop()
	if err := h.meta.CancelUpload(ctx, up); err != nil && !errors.Is(err, meta.ErrUploadUnknown) && !errors.Is(err, meta.ErrUploadConflict) {
		h.log.WarnContext(ctx, "registry: cancel a failed upload", "repository", up.Repository, "upload", up.ID, "error", err)
	}
}

// afterwards is how long work may take that is done when the client is gone.
const afterwards = 10 * time.Second

// setProgress says how far the upload is and where to go on.
func (h *Handler) setProgress(header http.Header, up meta.Upload) {
	header.Set("Location", h.signer.location(up.ID, up.Repository, h.expiry(up)))
	header.Set("Range", rangeOf(up.Content.Size))
	header.Set("Docker-Upload-UUID", up.ID)
}

// expiry is when the upload's Location ends. It does not move while the upload
// goes on, so that a Location cannot be kept alive.
func (h *Handler) expiry(up meta.Upload) time.Time { return up.Started.Add(h.limits.UploadAge) }

// errBusy is 409, not 429: waiting does not help a client whose earlier request
// is still being read; looking how far that one came does.
func errBusy() *Error {
	return fail(http.StatusConflict, CodeUploadInvalid,
		"another request is writing this upload: ask for its status with GET and go on from there").with("Retry-After", "1")
}

func errLost() *Error {
	return fail(http.StatusNotFound, CodeUploadUnknown,
		"the registry lost bytes of this upload in a crash: start again with a POST")
}
