package registry

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// What is named by its digest never changes, but only who may read it may keep
// it: no shared cache does.
const cacheForever = "private, max-age=31536000, immutable"

// getBlob answers GET and HEAD of a blob (distribution-spec end-2): its bytes,
// or 307 to where they are. One read of the table and one call to the store.
func (h *Handler) getBlob(w http.ResponseWriter, r *http.Request, t target) error {
	d, err := parseDigest(t.ref)
	if err != nil {
		return err
	}
	b, err := h.meta.Blob(r.Context(), t.name, d)
	if err != nil {
		return err
	}
	access := blob.AccessGet
	if r.Method == http.MethodHead {
		access = blob.AccessHead
	}
	source, err := h.blobs.Open(r.Context(), b.Key, access)
	if err != nil {
		if errors.Is(err, blob.ErrNotFound) {
			// Either the blob was deleted since the read above, or bytes were
			// lost: the operator has to hear of the second.
			h.log.WarnContext(r.Context(), "registry: a blob has no object",
				"repository", t.name, "digest", d, "key", b.Key)
		}
		return err
	}
	header := w.Header()
	header.Set("Docker-Content-Digest", d.String())
	if source.Redirect != nil {
		// The URL ends some day, so the answer must not outlive it.
		header.Set("Cache-Control", "no-store")
		header.Set("Location", source.Redirect.URL)
		header.Set("Content-Length", "0")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return nil
	}
	defer source.Content.Close()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Cache-Control", cacheForever)
	header.Set("ETag", `"`+d.String()+`"`)
	serveContent(w, r, source.Content)
	return nil
}

// deleteBlob takes a blob out of the repository (distribution-spec end-10).
// One that a manifest there needs stays: 405.
func (h *Handler) deleteBlob(w http.ResponseWriter, r *http.Request, t target) error {
	d, err := parseDigest(t.ref)
	if err != nil {
		return err
	}
	if err := h.meta.DeleteBlob(r.Context(), t.name, d); err != nil {
		return err
	}
	accepted(w)
	return nil
}

// accepted answers a delete.
func accepted(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
}

// blobCreated answers a push or mount of a blob. containerd up to 2.1 fails
// without the digest.
func blobCreated(w http.ResponseWriter, name string, d digest.Digest) {
	w.Header().Set("Location", blobPath(name, d))
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

func blobPath(name string, d digest.Digest) string {
	return (&url.URL{Path: "/v2/" + name + "/blobs/" + d.String()}).EscapedPath()
}
